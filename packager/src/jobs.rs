//! The loop of one job slot: lease a job, run it, tell origin how it ended, ask again.
//!
//! When the program drains, no job is leased any more and a running one is given back at once: another packager
//! starts it anew sooner than this one would finish it.
//!
//! **Invariant.** While a job runs its lease is kept by the same task, so a lost lease ends the job and its
//! worker in the same instant.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::{Drain, ReadyPart};
use tidegate_contract::package_job::{FailureReason, LeaseRequest, PackageJob};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{failure::JobError, job::Packager, lease::Lease, origin_client::OriginClient};

/// Section `[jobs]`: how much is done at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How origin calls this packager; by default the host's name and the process's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Jobs at the same time. One: a worker uses all cores by itself, and two would each take twice as long to
    /// the first playable rendition.
    pub parallel: usize,
    /// How long to wait when there is no work.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// The longest wait between two requests while origin does not answer.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
}

/// What one slot needs.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Where jobs come from.
    pub client: OriginClient,
    /// What does them.
    pub packager: Packager,
    /// Who asks.
    pub name: String,
    /// When to ask.
    pub config: Config,
    /// Told once origin has answered.
    pub ready: ReadyPart,
}

enum Outcome {
    Complete,
    Failed { reason: FailureReason, detail: String },
    LeaseLost,
    Drained,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            parallel: 1,
            poll: Duration::from_secs(1),
            retry_max: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Says which one is out of range.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (1..=PARALLEL_MAX).contains(&self.parallel),
            "jobs.parallel is 1 to {PARALLEL_MAX}, not {}",
            self.parallel
        );
        anyhow::ensure!(
            !self.poll.is_zero(),
            "jobs.poll is zero: origin would be asked without end"
        );
        Ok(())
    }

    /// How origin calls this packager.
    #[must_use]
    pub fn packager_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname"));
            let host = host.unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        })
    }
}

impl Slot {
    /// Does jobs until the drain starts.
    ///
    /// # Errors
    /// Never; the type is that of a supervised task.
    pub async fn serve(self, drain: Drain) -> anyhow::Result<()> {
        let request = LeaseRequest { packager: self.name.clone() };
        let mut failures = 0;
        while !drain.is_started() {
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = self.client.lease(&request) => answer,
                () = drain.started() => break,
            };
            let pause = match answer {
                Ok(job) => {
                    self.ready.set(true);
                    failures = 0;
                    match job {
                        Some(job) => {
                            self.run(job, asked, &drain).await;
                            continue;
                        }
                        None => self.config.poll,
                    }
                }
                Err(error) => {
                    warn!(%error, "origin gives no jobs");
                    self.packager.metrics.origin_retries.inc();
                    failures += 1;
                    backoff(failures, self.config.retry_max)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = drain.started() => {}
            }
        }
        Ok(())
    }

    async fn run(&self, job: PackageJob, asked: Instant, drain: &Drain) {
        let metrics = &self.packager.metrics;
        metrics.jobs_running.inc();
        info!(job = %job.job, epoch = job.epoch, media = %job.media, bytes = job.source_bytes, "leased");
        let lease = Lease::new(self.client.clone(), job, asked, metrics.origin_retries.clone());
        let outcome = tokio::select! {
            outcome = self.packager.run(&lease) => outcome.into(),
            () = lease.keep() => Outcome::LeaseLost,
            () = drain.started() => Outcome::Drained,
        };
        let word = self.end(&lease, outcome, asked).await;
        metrics.jobs.with_label_values(&[word]).inc();
        metrics.jobs_running.dec();
    }

    /// Tells origin and the log; gives the word for the metric.
    async fn end(&self, lease: &Lease, outcome: Outcome, asked: Instant) -> &'static str {
        let job = &lease.job().job;
        match outcome {
            Outcome::Complete => {
                let seconds = asked.elapsed().as_secs_f64();
                self.packager.metrics.job_seconds.observe(seconds);
                info!(%job, seconds, "complete");
                "complete"
            }
            Outcome::Failed { reason, detail } => {
                warn!(%job, reason = reason.as_str(), %detail, "failed");
                lease.fail(reason, &detail).await;
                reason.as_str()
            }
            Outcome::LeaseLost => {
                warn!(%job, "given up: the lease is lost");
                "lease_lost"
            }
            Outcome::Drained => {
                info!(%job, "given back: draining");
                lease.fail(FailureReason::Internal, "given back by a packager that drains").await;
                "drained"
            }
        }
    }
}

impl From<Result<(), JobError>> for Outcome {
    fn from(result: Result<(), JobError>) -> Self {
        match result {
            Ok(()) => Self::Complete,
            Err(JobError::Failed { reason, detail }) => Self::Failed { reason, detail },
            Err(JobError::LeaseLost) => Self::LeaseLost,
        }
    }
}

/// Full jitter: a fleet that lost its origin does not come back in step.
fn backoff(failures: u32, limit: Duration) -> Duration {
    let ceiling = (RETRY_BASE * 2_u32.pow(failures.min(10))).min(limit);
    ceiling.mul_f64(rand::random_range(0.1..=1.0))
}

/// The most jobs at the same time.
pub const PARALLEL_MAX: usize = 64;
const RETRY_BASE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_and_is_bounded() {
        let limit = Duration::from_secs(10);
        assert!(backoff(1, limit) <= Duration::from_millis(200));
        for failures in [1, 7, 100, u32::MAX] {
            let pause = backoff(failures, limit);
            assert!(!pause.is_zero() && pause <= limit, "{failures}: {pause:?}");
        }
    }
}
