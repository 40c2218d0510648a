//! Scenarios: who comes, to watch what, how; what is broken meanwhile; what must hold. TOML, in layers.
//!
//! A scenario is a built-in or a file. Over it lie the command line's flags. Places in it that differ from machine to
//! machine (`${target}`, `${purge}`) are variables.
//!
//! Invariant: a key that does not exist is refused with its line; a scenario that was read can be run.

mod builtin;
mod layer;
mod variable;
mod model;
mod check;

pub use self::{
    builtin::{Builtin, builtins},
    layer::{Overrides, ScenarioError, load},
    model::{
        Arrivals, Fault, Freshness, Knee, Link, LinkStep, Mix, Probe, Purge, RigLimits, Scenario,
        Sessions, Target, Token, TokenPlace,
    },
    variable::Variables,
};
