//! What all connections of a running listener share: the app, the limits, the drain.
//!
//! Invariant: a connection holds its place for its whole life, so the limits on connections hold over all workers and
//! protocols together.

use std::{net::SocketAddr, sync::Arc};

use tidegate_chassis::Drain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::{
    account::{Account, Grant},
    clients::{Clients, Counted},
    config::{Config, Limits},
    leaving::Leaving,
    metrics::Metrics,
    quic,
    round_trip::Measurements,
};

/// Shared by the accept loops and their connections.
pub(super) struct Serving<A> {
    pub(super) app: Arc<A>,
    pub(super) limits: Limits,
    pub(super) quic: quic::Config,
    pub(super) has_h2c: bool,
    pub(super) drain: Drain,
    pub(super) leaving: Leaving,
    /// Every connection and every exchange that waits; the drain waits for it.
    pub(super) tasks: TaskTracker,
    pub(super) metrics: Metrics,
    pub(super) measurements: Measurements,
    pub(super) account: Account,
    connections: Arc<Semaphore>,
    clients: Arc<Clients>,
}

/// The place of one connection; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _connection: OwnedSemaphorePermit,
    _client: Counted,
    _room: Grant,
}

impl<A> Serving<A> {
    pub(super) fn new(
        app: Arc<A>,
        config: &Config,
        account: Account,
        drain: Drain,
        metrics: Metrics,
        measurements: Measurements,
    ) -> Self {
        let limits = &config.limits;
        let places = limits.connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            app,
            limits: limits.clone(),
            quic: config.quic.clone(),
            has_h2c: config.h2c,
            drain,
            leaving: Leaving::default(),
            tasks: TaskTracker::new(),
            metrics,
            measurements,
            account,
            connections: Arc::new(Semaphore::new(places)),
            clients: Clients::new(limits.connections_per_client_max),
        }
    }

    /// A place for one more connection of this client, which holds so many bytes, or `None` at a limit.
    pub(super) fn admit(&self, client: SocketAddr, bytes: u64) -> Option<Place> {
        let Some(client) = self.clients.admit(client.ip()) else {
            self.metrics.refused("client_limit");
            return None;
        };
        let Ok(connection) = self.connections.clone().try_acquire_owned() else {
            self.metrics.refused("limit");
            return None;
        };
        let Some(room) = self.account.grant(bytes) else {
            self.metrics.refused("memory");
            return None;
        };
        Some(Place { _connection: connection, _client: client, _room: room })
    }
}
