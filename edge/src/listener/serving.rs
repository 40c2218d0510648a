//! What all connections of a running listener share: the app, the limits, the drain.
//!
//! Invariant: a connection holds its permit for its whole life, so `connections_max` holds over
//! all protocols together.

use std::sync::Arc;

use pingora::server::ShutdownWatch;
use tidegate_chassis::Drain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::config::{Config, Limits, Quic};
use super::metrics::Metrics;

/// Shared by the accept loops and their connections.
pub(super) struct Serving<A> {
    pub(super) app: Arc<A>,
    pub(super) limits: Limits,
    pub(super) quic: Quic,
    pub(super) drain: Drain,
    /// The drain once more, in the form that Pingora's apps take.
    pub(super) shutdown: ShutdownWatch,
    /// Every connection and exchange; the drain waits for it.
    pub(super) tasks: TaskTracker,
    pub(super) metrics: Metrics,
    connections: Arc<Semaphore>,
}

impl<A> Serving<A> {
    pub(super) fn new(
        app: Arc<A>,
        config: &Config,
        drain: Drain,
        shutdown: ShutdownWatch,
        metrics: Metrics,
    ) -> Self {
        Self {
            app,
            limits: config.limits.clone(),
            quic: config.quic.clone(),
            drain,
            shutdown,
            tasks: TaskTracker::new(),
            metrics,
            connections: Arc::new(Semaphore::new(
                config.limits.connections_max.min(Semaphore::MAX_PERMITS),
            )),
        }
    }

    /// A place for one more connection, or `None` at the limit.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = self.connections.clone().try_acquire_owned().ok();
        if permit.is_none() {
            self.metrics.refused("limit");
        }
        permit
    }
}
