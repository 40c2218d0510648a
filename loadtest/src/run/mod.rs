//! One run on this machine: workers that begin sessions by schedule, faults beside them, results at the end.
//!
//! Every worker is a thread with a runtime, connections and a recorder of its own; nothing is shared between them but
//! the plan. The coordinator adds their intervals, injects faults, and judges.
//!
//! Invariant: a run that was begun gives results, also when it is interrupted or a part of it fails; undo commands of
//! faults that were injected are run before they are handed out.

mod execute;
mod climb;
mod crew;
mod seconds;
mod fault;
mod worker;
mod session;
mod shared;
mod alarm;
mod draw;
mod knee;
mod purge;
mod command;
mod health;
mod prepare;
mod plan;
mod watch;
mod stop;
mod time_of_day;

pub use self::{
    climb::{find_knee, judge},
    crew::{Crew, rig_version},
    execute::execute,
    fault::{Faults, HOOK_VARIABLES},
    health::{FilesLimit, raise_files_limit, saturation},
    plan::{Inputs, RunError, RunPlan},
    prepare::prepare,
    seconds::Seconds,
    stop::Stop,
    time_of_day::{rfc3339, unix_ms},
    watch::Watch,
    worker::{Start, Tick},
};
