//! Why a run ends without a result.
//!
//! Two kinds: a verdict that the packager is told (the upload or a limit is to blame, or we are), and a packager
//! that cannot be told anything any more. What libav says goes into the detail, never the upload's own text.

use ffmpeg_next::Error as LibavError;
use tidegate_contract::package_job::FailureReason;

use crate::wire::WireError;

/// The end of a run without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Becomes a failure frame.
    #[error("{name}: {detail}", name = reason.as_str())]
    Failed {
        /// For programs.
        reason: FailureReason,
        /// For people.
        detail: String,
    },
    /// Nobody is left to report to.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl RunError {
    /// A verdict.
    pub(crate) fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self::Failed { reason, detail: detail.into() }
    }

    /// The upload cannot be decoded.
    pub(crate) fn damaged(detail: impl Into<String>) -> Self {
        Self::new(FailureReason::Damaged, detail)
    }

    /// Our own fault.
    pub(crate) fn internal(what: &str, error: LibavError) -> Self {
        Self::new(FailureReason::Internal, format!("{what}: {error}"))
    }

    /// The plan asks for what cannot be made.
    pub(crate) fn plan(detail: impl Into<String>) -> Self {
        Self::new(FailureReason::Internal, detail)
    }
}
