//! What moves through the listener, as few numbers: for the report to the control plane.
//!
//! Invariant: they are sums of the published metrics, so that both never disagree.

use super::metrics::Metrics;

/// Reads the sums.
#[derive(Clone)]
pub struct Traffic(pub(super) Metrics);

impl Traffic {
    /// Connections of clients now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.0.open_connections()
    }

    /// Connections that were cut or turned away since the start.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.0.cut_and_refused()
    }
}
