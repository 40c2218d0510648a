//! The listener's metrics: connections and what was refused before a request reached the app.
//!
//! Invariant: labels are words of this code only, never anything a client chose.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::downstream::Protocol;

/// Handles to the listener's metrics; clones count into the same numbers.
#[derive(Clone)]
pub(super) struct Metrics {
    open: IntGaugeVec,
    opened: IntCounterVec,
    refused: IntCounterVec,
    requests_refused: IntCounterVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            open: IntGaugeVec::new(
                Opts::new("edge_connections", "Open client connections by protocol."),
                &["protocol"],
            )?,
            opened: IntCounterVec::new(
                Opts::new("edge_connections_total", "Client connections since start by protocol."),
                &["protocol"],
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "edge_connections_refused_total",
                    "Client connections that never carried a request, by reason: limit (too many \
                     open), handshake (TLS or QUIC failed or was too slow), retry (asked to prove \
                     the address first).",
                ),
                &["reason"],
            )?,
            requests_refused: IntCounterVec::new(
                Opts::new(
                    "edge_requests_refused_total",
                    "H2 and H3 requests answered or reset before the proxy saw them, by reason.",
                ),
                &["protocol", "reason"],
            )?,
        };
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.opened.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.requests_refused.clone()))?;
        Ok(metrics)
    }

    /// Counts a connection as open until the guard is dropped.
    pub(super) fn connection(&self, protocol: Protocol) -> OpenConnection {
        self.opened.with_label_values(&[protocol.as_str()]).inc();
        let gauge = self.open.with_label_values(&[protocol.as_str()]);
        gauge.inc();
        OpenConnection(gauge)
    }

    /// Counts a connection that was turned away.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Counts a request that was turned away.
    pub(super) fn request_refused(&self, protocol: Protocol, reason: &'static str) {
        self.requests_refused.with_label_values(&[protocol.as_str(), reason]).inc();
    }
}

/// One open connection in the gauge.
pub(super) struct OpenConnection(prometheus::IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
