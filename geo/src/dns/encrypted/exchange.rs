//! A query in, its padded answer out: what all encrypted transports do alike.
//!
//! Answers are not limited in rate here, for whoever asks has shown that it is who it says, and cookies prove nothing more.
//! Invariant: every answer that leaves has been padded.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidegate_chassis::Drain;

use super::{
    config::Config,
    message,
    metrics::{Ended, Metrics},
    places::{Place, Places},
};
use crate::dns::{handler::Handler, transport::Transport};

/// What a listener of one transport has.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) transport: Transport,
    pub(super) config: Arc<Config>,
    pub(super) drain: Drain,
    pub(super) places: Arc<Places>,
    pub(super) metrics: Metrics,
    handler: Arc<Handler>,
}

impl Desk {
    pub(super) fn new(
        transport: Transport,
        config: &Arc<Config>,
        handler: &Arc<Handler>,
        metrics: &Metrics,
        drain: Drain,
    ) -> Self {
        Self {
            transport,
            config: config.clone(),
            drain,
            places: Places::new(config, transport, metrics),
            metrics: metrics.clone(),
            handler: handler.clone(),
        }
    }

    /// The answer to a message; `None`: there is none.
    pub(super) fn answer(&self, query: &[u8], client: SocketAddr) -> Option<Vec<u8>> {
        let mut answer = self.handler.answer_bytes(query, client, self.transport)?;
        message::pad(&mut answer);
        Some(answer)
    }

    /// A place for a connection whose client cannot be forged.
    pub(super) fn place(&self, client: SocketAddr) -> Option<Place> {
        let Some(mut place) = self.places.take() else {
            self.ended(Ended::Full);
            return None;
        };
        if !place.is_granted(client.ip()) {
            self.ended(Ended::Client);
            return None;
        }
        Some(place)
    }

    pub(super) fn ended(&self, reason: Ended) {
        self.metrics.ended(self.transport, reason);
    }
}

/// The largest query: a question with all options there are stays far below.
pub(super) const QUERY_MAX: usize = 4096;
/// How long the rest of a query may take, or a client to take its answer.
pub(super) const EXCHANGE_WAIT: Duration = Duration::from_secs(5);
/// The wait after a failed accept (out of file descriptors, mostly).
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
