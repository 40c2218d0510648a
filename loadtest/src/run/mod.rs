//! One run on this machine: workers that begin sessions by schedule, faults beside them, results at the end.
//!
//! Every worker is a thread with a runtime, connections and a recorder of its own; nothing is shared between them but
//! the plan. The coordinator adds their intervals, injects faults, and judges.
//!
//! Invariant: a run that was begun gives results, also when it is interrupted or a part of it fails; undo commands of
//! faults that were injected are run before they are handed out.

mod execute;
mod seconds;
mod worker;
mod session;
mod shared;
mod alarm;
mod draw;
mod climb;
mod knee;
mod purge;
mod fault;
mod command;
mod health;
mod prepare;
mod plan;
mod stop;

pub use self::{
    climb::{find_knee, judge},
    execute::{Watch, execute, rfc3339, rig_version, unix_ms},
    fault::{Faults, HOOK_VARIABLES},
    health::{FilesLimit, raise_files_limit, saturation},
    plan::{Inputs, RunError, RunPlan},
    prepare::prepare,
    seconds::Seconds,
    stop::Stop,
    worker::{Start, Tick},
};
