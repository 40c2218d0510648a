//! Where a connection of HTTP/1.1 goes when it is free again.
//!
//! Pingora keeps it: closes it after a while, or when the upstream says something unasked.

use std::{sync::Arc, time::Duration};

use pingora::{connectors::TransportConnector, protocols::Stream};

/// The place in the pool that a connection came from.
pub(super) struct Home {
    pub(super) connector: Arc<TransportConnector>,
    pub(super) key: u64,
    pub(super) idle_timeout: Duration,
}

impl Home {
    /// Keeps a connection that nothing is under way on.
    pub(super) fn keep(&self, stream: Stream) {
        self.connector.release_stream(stream, self.key, Some(self.idle_timeout));
    }
}
