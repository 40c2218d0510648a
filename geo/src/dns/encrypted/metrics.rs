//! What encrypted transports count; queries are counted where all are.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge_vec};

use crate::dns::transport::Transport;

/// What encrypted transports count.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    connections: IntGaugeVec,
    ended: IntCounterVec,
    pub(super) reload_failures: IntCounter,
}

/// Why a connection ended before it was of use, or before the client ended it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    /// There was no place.
    Full,
    /// Its client had too many.
    Client,
    /// The handshake failed or took too long.
    Handshake,
    /// It had no query for too long.
    Idle,
    /// It had as many queries as one may have.
    Queries,
    /// It broke the rules of its protocol.
    Protocol,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            connections: gauge_vec(
                registry,
                "geo_encrypted_connections",
                "Connections that are open, by transport.",
                &["transport"],
            ),
            ended: counter_vec(
                registry,
                "geo_encrypted_connections_ended_total",
                "Connections that were ended here, by transport and reason: full, client, handshake, idle, queries, protocol.",
                &["transport", "reason"],
            ),
            reload_failures: counter(
                registry,
                "geo_encrypted_certificate_reload_failures_total",
                "Times that changed certificate files were not taken because something about them is wrong.",
            ),
        }
    }

    pub(super) fn connections(&self, transport: Transport) -> IntGauge {
        self.connections.with_label_values(&[transport.as_str()])
    }

    pub(super) fn ended(&self, transport: Transport, reason: Ended) {
        let reason = match reason {
            Ended::Full => "full",
            Ended::Client => "client",
            Ended::Handshake => "handshake",
            Ended::Idle => "idle",
            Ended::Queries => "queries",
            Ended::Protocol => "protocol",
        };
        self.ended.with_label_values(&[transport.as_str(), reason]).inc();
    }
}
