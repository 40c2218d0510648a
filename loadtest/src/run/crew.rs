//! The workers of one run: they get ready, begin at a time that is named only then, and what they measured is added up.
//!
//! Invariant: what was measured is handed out even when the run was stopped or a worker failed; then the results say so.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch as latest},
    time::sleep,
};

use super::{
    fault::Faults,
    health::{memory_peak_bytes, process_cpu, raise_files_limit, saturation},
    plan::{RunError, RunPlan},
    seconds::Seconds,
    stop::Stop,
    time_of_day::rfc3339,
    watch::Watch,
    worker::{Heard, Start, Task, work},
};
use crate::{results::Results, scenario::Scenario};

/// Workers that wait for their start. Dropped, they go home.
pub struct Crew {
    plan: Arc<RunPlan>,
    stop: Stop,
    threads: Vec<JoinHandle<Result<Results, RunError>>>,
    heard: mpsc::Receiver<Heard>,
    say_start: latest::Sender<Option<Start>>,
}

impl Crew {
    /// Starts the workers, and waits until each of them could begin. `wants_totals`: see [`Watch::wants_totals`].
    ///
    /// # Errors
    /// When one of them cannot.
    pub async fn ready(plan: &RunPlan, stop: &Stop, wants_totals: bool) -> Result<Self, RunError> {
        let _ = raise_files_limit();
        let plan = Arc::new(plan.clone());
        let workers = worker_count(&plan.scenario);
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let (say_start, start) = latest::channel(None);
        let mut crew =
            Self { plan: plan.clone(), stop: stop.clone(), threads: Vec::new(), heard, say_start };
        for number in 0..workers {
            let task = Task {
                plan: plan.clone(),
                number,
                workers,
                start: start.clone(),
                stop: stop.clone(),
                wants_totals,
                tell: tell.clone(),
            };
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            let thread = thread.spawn(move || work(&task));
            let failed = |reason: std::io::Error| RunError::Worker {
                worker: number,
                reason: reason.to_string(),
            };
            crew.threads.push(thread.map_err(failed)?);
        }
        drop((tell, start));
        for _ in 0..workers {
            if !matches!(crew.heard.recv().await, Some(Heard::Ready)) {
                return Err(crew.go_home());
            }
        }
        Ok(crew)
    }

    /// Runs from the start to the end. What lies before now is late, and measured so. Must run in a `LocalSet`.
    pub async fn play(mut self, start: Start, watch: &mut dyn Watch) -> Results {
        let scenario = &self.plan.scenario;
        let mut seconds = Seconds::new(self.threads.len() as u32, scenario);
        let cpu_before = process_cpu();
        let _ = self.say_start.send(Some(start));
        let faults = Faults::begin(&self.plan, start, &self.stop);
        loop {
            tokio::select! {
                said = self.heard.recv() => match said {
                    Some(Heard::Tick(tick)) => seconds.take(*tick, watch),
                    Some(Heard::Ended(worker)) => seconds.end(worker, watch),
                    Some(Heard::Ready) => {}
                    None => break,
                },
                () = sleep(NOTE_EVERY) => {}
            }
            faults.pass_notes(watch);
            if watch.is_stop_asked() {
                self.stop.give();
            }
        }
        let mut results = Results::new(scenario.name.clone(), scenario.seed);
        results.scenario_text.clone_from(&self.plan.scenario_text);
        results.rig_version = rig_version();
        let warm_up_ms = scenario.arrivals.warm_up.as_millis() as i64;
        results.started_at = rfc3339(start.unix_ms + warm_up_ms);
        for (number, thread) in self.threads.into_iter().enumerate() {
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
        results
    }

    /// Sends the workers home; whichever could not get ready says why.
    fn go_home(self) -> RunError {
        drop(self.say_start);
        let first = self.threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).next();
        let unsaid = || RunError::Worker { worker: 0, reason: "no worker is ready".to_owned() };
        first.unwrap_or_else(unsaid)
    }
}

/// Version and commit of the rig.
#[must_use]
pub fn rig_version() -> String {
    let commit = option_env!("TIDEGATE_COMMIT").unwrap_or("unknown");
    format!("{} ({commit})", env!("CARGO_PKG_VERSION"))
}

fn worker_count(scenario: &Scenario) -> u32 {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match scenario.rig.workers {
        0 => u32::try_from(cores).unwrap_or(1).min(WORKERS_MAX),
        workers => workers,
    }
}

/// Ticks and news of workers that wait for the coordinator.
const HEARD_MAX: usize = 1_024;
/// How soon notes of faults are shown.
const NOTE_EVERY: Duration = Duration::from_millis(200);
const WORKERS_MAX: u32 = 256;
