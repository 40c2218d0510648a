//! Asks clients to go elsewhere without ending anything: a drain that can be undone.
//!
//! While it is asked for, H1 connections close after their response and H2 and H3 clients get GOAWAY; whoever comes all
//! the same is served once and sent on. Invariant: no connection is refused and no exchange is cut for it.

use std::sync::Arc;

use tokio::sync::watch;

/// The one switch of a listener; clones are the same.
#[derive(Debug, Clone)]
pub struct Leaving(Arc<watch::Sender<bool>>);

impl Default for Leaving {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Leaving {
    /// Asks, or asks no more. What was asked already is not asked again.
    pub fn set(&self, is_asked: bool) {
        self.0.send_if_modified(|now| std::mem::replace(now, is_asked) != is_asked);
    }

    /// Whether it is asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for; returns at once if it is.
    pub(super) async fn asked(&self) {
        self.until(true).await;
    }

    /// Waits until it is as said.
    pub(super) async fn until(&self, wanted: bool) {
        // The sender is ours: it does not go away.
        let _ = self.0.subscribe().wait_for(|now| *now == wanted).await;
    }
}
