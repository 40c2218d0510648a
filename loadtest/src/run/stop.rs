//! The one signal that ends a run early.
//!
//! Invariant: once it is given it stays given.

use tokio_util::sync::CancellationToken;

/// Ends a run early; whoever holds a clone may give it.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    pub fn give(&self) {
        self.0.cancel();
    }

    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when it is given.
    pub async fn given(&self) {
        self.0.cancelled().await;
    }
}
