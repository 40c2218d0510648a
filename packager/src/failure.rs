//! Why a job did not complete, and what each error below means for the upload.
//!
//! Two questions decide the reason that origin is told: is the upload to blame, and could another attempt end
//! better? A worker that breaks the protocol counts as killed, because it is broken or taken over by its input;
//! only disk, store and start failures are our own and may be tried again.

use std::time::Duration;

use tidegate_contract::package_job::FailureReason;

use crate::{
    assembly::AssemblyError, ladder::LadderError, lease::LeaseError, output::OutputError,
    picture::PictureError, source::SourceError, track::TrackError, worker_process::WorkerError,
};

/// Why a job did not complete.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The upload, the worker or this program is to blame; origin is told.
    #[error("{}: {detail}", reason.as_str())]
    Failed {
        /// For programs.
        reason: FailureReason,
        /// For people.
        detail: String,
    },
    /// Somebody else has the job, or will have it.
    #[error("the lease is lost")]
    LeaseLost,
}

impl JobError {
    /// A failure with its reason.
    #[must_use]
    pub fn failed(reason: FailureReason, detail: impl ToString) -> Self {
        Self::Failed { reason, detail: detail.to_string() }
    }

    /// A run that did not end in time.
    #[must_use]
    pub fn deadline(limit: Duration) -> Self {
        Self::failed(FailureReason::Deadline, format!("not done after {} s", limit.as_secs()))
    }
}

impl From<SourceError> for JobError {
    fn from(error: SourceError) -> Self {
        let reason = match &error {
            SourceError::TooLarge { .. } => FailureReason::TooLarge,
            _ => FailureReason::Internal,
        };
        Self::failed(reason, error)
    }
}

impl From<WorkerError> for JobError {
    fn from(error: WorkerError) -> Self {
        let reason = match &error {
            WorkerError::Killed(_) | WorkerError::Frame(_) => FailureReason::WorkerKilled,
            WorkerError::Start { .. } | WorkerError::Exited(_) => FailureReason::Internal,
        };
        Self::failed(reason, error)
    }
}

impl From<LadderError> for JobError {
    fn from(error: LadderError) -> Self {
        let reason = match &error {
            LadderError::TooSmall(..) => FailureReason::TooSmall,
            LadderError::NoEncoder(_) => FailureReason::Internal,
        };
        Self::failed(reason, error)
    }
}

impl From<AssemblyError> for JobError {
    fn from(error: AssemblyError) -> Self {
        let reason = match &error {
            AssemblyError::Content(TrackError::Output(error))
            | AssemblyError::Picture(PictureError::Output(error)) => output_reason(error),
            AssemblyError::Content(TrackError::Empty(_)) => FailureReason::Damaged,
            _ => FailureReason::WorkerKilled,
        };
        Self::failed(reason, error)
    }
}

impl From<LeaseError> for JobError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::LeaseLost,
            LeaseError::Origin(error) => Self::failed(FailureReason::Internal, error),
        }
    }
}

fn output_reason(error: &OutputError) -> FailureReason {
    match error {
        OutputError::TooLarge { .. } => FailureReason::TooLarge,
        OutputError::Store(_) => FailureReason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(error: impl Into<JobError>) -> FailureReason {
        match error.into() {
            JobError::Failed { reason, .. } => reason,
            JobError::LeaseLost => panic!("a failure"),
        }
    }

    #[test]
    fn only_our_own_faults_are_tried_again() {
        assert!(reason(WorkerError::Exited(3)).is_retryable());
        assert!(reason(SourceError::Hash).is_retryable());
        assert!(!reason(WorkerError::Killed(31)).is_retryable());
        assert!(!reason(AssemblyError::Unexpected("probe")).is_retryable());
        let too_large = OutputError::TooLarge { limit: 1 };
        assert!(!reason(AssemblyError::Content(TrackError::Output(too_large))).is_retryable());
    }
}
