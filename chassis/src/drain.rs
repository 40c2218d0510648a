//! The drain: stop taking new work, finish what has begun.
//!
//! One signal that everyone holds a clone of. It only ever goes from "not started" to "started"; how long the
//! rest may take is the business of `run`.

use tokio_util::sync::CancellationToken;

/// The drain of a process. Clones are the same drain.
#[derive(Debug, Clone, Default)]
pub struct Drain(CancellationToken);

impl Drain {
    /// A drain of its own, not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the drain starts; returns at once if it has. May be dropped and called again.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Starts the drain. A second call changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_drain_start() {
        let drain = Drain::new();
        let other = drain.clone();
        let waiting = tokio::spawn(async move { other.started().await });
        assert!(!drain.is_started());
        drain.begin();
        drain.begin();
        waiting.await.unwrap();
        assert!(drain.is_started());
        drain.started().await;
    }
}
