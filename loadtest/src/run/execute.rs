//! The coordinator: starts the workers, hears them, injects the faults, adds up, judges.
//!
//! Invariant: what was measured is handed out even when the run was stopped or a worker failed; then the results say so.

use std::{
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    climb::find_knee,
    fault::Faults,
    health::{memory_peak_bytes, process_cpu, raise_files_limit, saturation},
    plan::{RunError, RunPlan},
    seconds::Seconds,
    stop::Stop,
    worker::{Heard, Start, Task, work},
};
use crate::{
    results::{Interval, Results},
    scenario::Scenario,
};

/// Whoever watches a run.
pub trait Watch {
    /// Whether `totals` of `second` are wanted; they cost the workers time.
    fn wants_totals(&self) -> bool {
        false
    }

    /// A second is over. `at_s` of the warm-up is negative.
    fn second(&mut self, interval: &Interval, totals: Option<&Results>);

    /// Something that a person should know.
    fn note(&mut self, text: &str);

    /// Whether whoever watches wants the run to end.
    fn is_stop_asked(&mut self) -> bool {
        false
    }
}

/// Runs a plan: once, or as often as the search for a knee wants. Must run in a `LocalSet`.
///
/// # Errors
/// When nothing could be begun; what goes wrong later is in the results.
pub async fn execute(
    plan: &RunPlan,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Results, RunError> {
    let _ = raise_files_limit();
    let mut results = match &plan.scenario.knee {
        None => once(plan, stop, watch).await?,
        Some(knee) => find_knee(plan, knee, stop, watch, once).await?,
    };
    results.is_interrupted = stop.is_given();
    Ok(results)
}

async fn once(plan: &RunPlan, stop: &Stop, watch: &mut dyn Watch) -> Result<Results, RunError> {
    let plan = Arc::new(plan.clone());
    let scenario = &plan.scenario;
    let workers = worker_count(scenario);
    let (tell, mut heard) = mpsc::channel(HEARD_MAX);
    let (say_start, start) = tokio::sync::watch::channel(None);
    let mut threads = Vec::new();
    for number in 0..workers {
        let task = Task {
            plan: plan.clone(),
            number,
            workers,
            start: start.clone(),
            stop: stop.clone(),
            wants_totals: watch.wants_totals(),
            tell: tell.clone(),
        };
        let thread = thread::Builder::new().name(format!("worker-{number}"));
        let thread = thread.spawn(move || work(&task));
        threads.push(
            thread
                .map_err(|error| RunError::Worker { worker: number, reason: error.to_string() })?,
        );
    }
    drop((tell, start));
    let mut seconds = Seconds::new(workers, scenario);
    let start = match all_ready(workers, &mut heard).await {
        true => start_of(&plan),
        false => Err(RunError::Worker { worker: 0, reason: "no worker is ready".to_owned() }),
    };
    let start = match start {
        Ok(start) => start,
        Err(error) => {
            // Workers that wait for their start go home; whichever could not get ready says why.
            drop(say_start);
            let first = threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).next();
            return Err(first.unwrap_or(error));
        }
    };
    let _ = say_start.send(Some(start));
    let cpu_before = process_cpu();
    let faults = Faults::begin(&plan, start, stop);
    loop {
        tokio::select! {
            said = heard.recv() => match said {
                Some(Heard::Tick(tick)) => seconds.take(*tick, watch),
                Some(Heard::Ended(worker)) => seconds.end(worker, watch),
                Some(Heard::Ready) => {}
                None => break,
            },
            () = sleep(NOTE_EVERY) => {}
        }
        faults.pass_notes(watch);
        if watch.is_stop_asked() {
            stop.give();
        }
    }
    let mut results = Results::new(scenario.name.clone(), scenario.seed);
    results.scenario_text.clone_from(&plan.scenario_text);
    results.rig_version = rig_version();
    let warm_up_ms = scenario.arrivals.warm_up.as_millis() as i64;
    results.started_at = rfc3339(start.unix_ms + warm_up_ms);
    for (number, thread) in threads.into_iter().enumerate() {
        match thread.join() {
            Ok(Ok(part)) => results.merge(part),
            Ok(Err(error)) => results.failed.push(error.to_string()),
            Err(_) => results.failed.push(format!("worker {number} broke (a panic)")),
        }
    }
    faults.end(&mut results, watch).await;
    results.intervals = seconds.into_kept(watch);
    results.rig.cpu_s = process_cpu().saturating_sub(cpu_before).as_secs_f64();
    results.rig.memory_peak_bytes = memory_peak_bytes();
    results.rig.saturated = saturation(&results, &scenario.rig);
    Ok(results)
}

/// Waits until every worker is ready to begin. `false` when one cannot.
async fn all_ready(workers: u32, heard: &mut mpsc::Receiver<Heard>) -> bool {
    for _ in 0..workers {
        if !matches!(heard.recv().await, Some(Heard::Ready)) {
            return false;
        }
    }
    true
}

/// The beginning of the run on both clocks: soon, or when the plan says.
fn start_of(plan: &RunPlan) -> Result<Start, RunError> {
    let now_ms = unix_ms();
    let now = Instant::now();
    let Some(unix_ms) = plan.start_unix_ms else {
        let soon = START_AFTER;
        return Ok(Start { at: now + soon, unix_ms: now_ms + soon.as_millis() as i64 });
    };
    match u64::try_from(unix_ms - now_ms) {
        Ok(wait) => Ok(Start { at: now + Duration::from_millis(wait), unix_ms }),
        Err(_) => Err(RunError::Late(Duration::from_millis(unix_ms.abs_diff(now_ms)))),
    }
}

fn worker_count(scenario: &Scenario) -> u32 {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match scenario.rig.workers {
        0 => u32::try_from(cores).unwrap_or(1).min(WORKERS_MAX),
        workers => workers,
    }
}

/// Version and commit of the rig.
#[must_use]
pub fn rig_version() -> String {
    let commit = option_env!("TIDEGATE_COMMIT").unwrap_or("unknown");
    format!("{} ({commit})", env!("CARGO_PKG_VERSION"))
}

/// The time of day, in milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time of day as text.
#[must_use]
pub fn rfc3339(unix_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Ticks and news of workers that wait for the coordinator.
const HEARD_MAX: usize = 1_024;
/// Between all workers being ready and the first arrival.
const START_AFTER: Duration = Duration::from_millis(20);
/// How soon notes of faults are shown.
const NOTE_EVERY: Duration = Duration::from_millis(200);
const WORKERS_MAX: u32 = 256;
