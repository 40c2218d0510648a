//! The listener's metrics: connections and what was refused before a request reached the app.
//!
//! Invariant: labels are words of this code only, never anything a client chose.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

use super::downstream::Protocol;

/// Handles to the listener's metrics; clones count into the same numbers.
#[derive(Clone)]
pub(super) struct Metrics {
    open: IntGaugeVec,
    opened: IntCounterVec,
    refused: IntCounterVec,
    requests_refused: IntCounterVec,
    handshakes: IntCounterVec,
    cut: IntCounterVec,
    pub(super) round_trips: IntCounter,
    pub(super) subnets_left_out: IntCounterVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let open = IntGaugeVec::new(
            Opts::new("edge_connections", "Open client connections by protocol."),
            &["protocol"],
        )?;
        registry.register(Box::new(open.clone()))?;
        let round_trips = IntCounter::new(
            "edge_round_trips_total",
            "Round trips to clients that were measured for the DNS.",
        )?;
        registry.register(Box::new(round_trips.clone()))?;
        Ok(Self {
            round_trips,
            subnets_left_out: counter(
                "edge_round_trip_subnets_left_out_total",
                "Subnets of clients that the DNS was not told of, by reason: full (the table has no room), quiet (others \
                 had more traffic).",
                &["reason"],
            )?,
            open,
            opened: counter(
                "edge_connections_total",
                "Client connections since start by protocol.",
                &["protocol"],
            )?,
            refused: counter(
                "edge_connections_refused_total",
                "Client connections that never carried a request, by reason: limit (too many open), memory (no room \
                 for its buffers), client_limit (too many of one address), handshake (TLS or QUIC failed or was too slow), retry (asked to prove the \
                 address first).",
                &["reason"],
            )?,
            requests_refused: counter(
                "edge_requests_refused_total",
                "Requests answered or reset before the app saw them, by protocol and reason.",
                &["protocol", "reason"],
            )?,
            handshakes: counter(
                "edge_tls_handshakes_total",
                "Completed TLS handshakes over TCP by version and kind: full, or resumed with a ticket.",
                &["version", "kind"],
            )?,
            cut: counter(
                "edge_connections_cut_total",
                "Client connections that were cut, by protocol and reason: slow (moved less than it must), calm (too \
                 many resets, frames without content or malformed requests), malformed.",
                &["protocol", "reason"],
            )?,
        })
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

    /// Counts a completed TLS handshake.
    pub(super) fn handshake(&self, is_tls13: bool, is_resumed: bool) {
        let version = if is_tls13 { "1.3" } else { "1.2" };
        let kind = if is_resumed { "resumed" } else { "full" };
        self.handshakes.with_label_values(&[version, kind]).inc();
    }

    /// Open connections, over all protocols.
    pub(super) fn open_connections(&self) -> u64 {
        sum(&self.open)
    }

    /// Connections that were cut or turned away.
    pub(super) fn cut_and_refused(&self) -> u64 {
        sum(&self.cut) + sum(&self.refused)
    }

    /// Counts a connection that was cut.
    pub(super) fn cut(&self, protocol: Protocol, reason: &'static str) {
        self.cut.with_label_values(&[protocol.as_str(), reason]).inc();
    }
}

/// The sum over all labels.
fn sum(metric: &impl Collector) -> u64 {
    let families = metric.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let values =
        metrics.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value());
    values.sum::<f64>().max(0.0) as u64
}

/// One open connection in the gauge.
pub(super) struct OpenConnection(prometheus::IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
