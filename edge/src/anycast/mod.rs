//! What this PoP announces to the Internet: a speaker is told how strongly, and a dead man's switch beside the node takes
//! everything back when the node does not serve any more.
//!
//! Two hands that never touch the same thing: levels come from operators with a permit and belong to the node; the gate
//! belongs to the watch, which knows its own probes and nothing else. Invariant: nothing in this folder can tell whether
//! the control plane is reachable, so nothing here can act on it.

pub mod agent; // the tasks of the node
pub mod switch; // the dead man's switch: probes in, gate out
pub mod bird; // the first speaker: BIRD 2 over its control socket
mod levels; // the node's half: orders with permits
mod epochs; // which permits are old, also after a restart
mod views; // whether neighbours answer
pub mod dead_man; // when the gate is closed and opened again
pub mod permit; // whether an order may be followed
mod speaker; // what every speaker can do
pub mod self_test; // does this node serve?
mod config;

pub use self::{
    config::{Bfd, Config, ConfigError, Peer, PrefixConfig},
    levels::{Levels, Standing},
    speaker::{Speaker, SpeakerError, SpeakerState},
    views::Views,
};
