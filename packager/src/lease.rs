//! Keeping the right to work on a job.
//!
//! [`Lease::keep`] renews at a third of the lease's length for as long as it is polled and ends only when the
//! lease is lost: origin said so, or no renewal got through in time. What runs beside it (the job) is dropped
//! then, which kills its worker. Time is counted from before a request is sent, so this side always gives up
//! before origin does.
//!
//! **Invariant.** Nothing is published after the lease was lost: origin refuses an old epoch, and here every
//! publication ends with the lease.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::IntCounter;
use tidegate_contract::package_job::{
    DETAIL_BYTES_MAX, Failure, FailureReason, JobStage, LeaseReply, PackageJob, Publication,
    Renewal,
};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::origin_client::{OriginClient, OriginError};

/// The right to work on one job.
#[derive(Debug)]
pub struct Lease {
    client: OriginClient,
    job: PackageJob,
    state: Mutex<State>,
    retries: IntCounter,
}

#[derive(Debug, Clone, Copy)]
struct State {
    expires: Instant,
    length: Duration,
    stage: JobStage,
    progress_permille: u16,
}

/// Why a publication did not happen.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has the job now, or will have it.
    #[error("the lease of the job is lost")]
    Lost,
    /// Origin refused what was sent.
    #[error(transparent)]
    Origin(OriginError),
}

impl Lease {
    /// Holds a job that was leased by a request sent at `asked`.
    #[must_use]
    pub fn new(client: OriginClient, job: PackageJob, asked: Instant, retries: IntCounter) -> Self {
        let length = job.lease.clamp(LEASE_MIN, LEASE_MAX);
        let state = State {
            expires: asked + length,
            length,
            stage: JobStage::Probing,
            progress_permille: 0,
        };
        Self { client, job, state: Mutex::new(state), retries }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &PackageJob {
        &self.job
    }

    /// What the next renewal tells origin.
    pub fn report(&self, stage: JobStage, progress_permille: u16) {
        self.change(|state| {
            state.stage = stage;
            state.progress_permille = progress_permille.min(1000);
        });
    }

    /// Renews until the lease is lost.
    pub async fn keep(&self) {
        let mut told = (JobStage::Probing, 0);
        loop {
            self.wait_for_news_or_due(told).await;
            let state = self.state();
            let renewal = Renewal {
                epoch: self.job.epoch,
                stage: state.stage,
                progress_permille: state.progress_permille,
            };
            let asked = Instant::now();
            tokio::select! {
                reply = self.client.renew(&self.job.job, &renewal) => match reply {
                    Ok(reply) => {
                        told = (renewal.stage, renewal.progress_permille);
                        self.extend(asked, &reply);
                    }
                    Err(OriginError::LeaseLost) => return,
                    Err(error) => {
                        debug!(job = %self.job.job, %error, "renewal failed");
                        self.retries.inc();
                        sleep((state.length / 20).min(RETRY_MAX)).await;
                    }
                },
                () = sleep_until(state.expires) => {}
            }
            if Instant::now() >= self.state().expires {
                warn!(job = %self.job.job, "no renewal got through before the lease ended");
                return;
            }
        }
    }

    /// Publishes, trying again for as long as the lease lasts.
    ///
    /// # Errors
    /// The lease is lost, or origin refuses the publication itself.
    pub async fn publish(&self, publication: &Publication) -> Result<(), LeaseError> {
        let mut pause = RETRY_MIN;
        loop {
            let asked = Instant::now();
            match self.client.publish(&self.job.job, publication).await {
                Ok(reply) => {
                    self.extend(asked, &reply);
                    return Ok(());
                }
                Err(OriginError::LeaseLost) => return Err(LeaseError::Lost),
                Err(error) if error.is_temporary() => {
                    warn!(job = %self.job.job, %error, "publication is tried again");
                    self.retries.inc();
                }
                Err(error) => return Err(LeaseError::Origin(error)),
            }
            if Instant::now() + pause >= self.state().expires {
                return Err(LeaseError::Lost);
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Gives the job up with a reason. Tried once more when origin does not answer; after that the lease simply
    /// runs out, which has the same effect later.
    pub async fn fail(&self, reason: FailureReason, detail: &str) {
        let detail = cut(detail, DETAIL_BYTES_MAX);
        let failure = Failure { epoch: self.job.epoch, reason, detail: detail.to_owned() };
        for attempt in 1..=FAIL_ATTEMPTS {
            match self.client.fail(&self.job.job, &failure).await {
                Ok(()) | Err(OriginError::LeaseLost) => return,
                Err(error) => {
                    warn!(job = %self.job.job, %error, attempt, "origin did not take the failure");
                }
            }
            self.retries.inc();
            sleep(RETRY_MIN * attempt).await;
        }
    }

    /// Waits for the time of the next renewal, or for a stage or progress worth telling earlier: people watch.
    async fn wait_for_news_or_due(&self, told: (JobStage, u16)) {
        loop {
            let state = self.state();
            let due = state.expires - state.length * 2 / 3;
            let is_news = state.stage != told.0
                || state.progress_permille >= told.1.saturating_add(NEWS_PERMILLE);
            if is_news || Instant::now() >= due {
                return;
            }
            sleep_until(due.min(Instant::now() + NEWS_CHECK)).await;
        }
    }

    fn extend(&self, asked: Instant, reply: &LeaseReply) {
        let length = reply.lease.clamp(LEASE_MIN, LEASE_MAX);
        self.change(|state| {
            state.length = length;
            state.expires = state.expires.max(asked + length);
        });
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The longest beginning of a text that fits and ends between two characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Bounds for what origin may ask: neither a busy loop nor a lease that outlives everything.
const LEASE_MIN: Duration = Duration::from_millis(200);
const LEASE_MAX: Duration = Duration::from_secs(3600);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const NEWS_CHECK: Duration = Duration::from_millis(250);
const NEWS_PERMILLE: u16 = 50;
const FAIL_ATTEMPTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_cut_between_characters() {
        assert_eq!(cut("aü", 2), "a");
        assert_eq!(cut("aü", 3), "aü");
        assert_eq!(cut("", 3), "");
    }
}
