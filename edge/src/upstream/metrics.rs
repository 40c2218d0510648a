//! The numbers of upstreams.
//!
//! Invariant: label values are words of enums; no upstream's name is a label.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge_vec, histogram_vec};

/// Handles on every number of upstreams; clones count into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    /// Requests sent upstream by tier.
    pub requests: IntCounterVec,
    /// Requests that failed, by tier and kind.
    pub errors: IntCounterVec,
    /// Requests that were repeated after a failure.
    pub retries: IntCounter,
    /// Requests that were not repeated because the budget was used up.
    pub retries_refused: IntCounter,
    /// Hedges by whether the second request won.
    pub hedges: IntCounterVec,
    /// Connections and streams taken, by protocol and whether they were kept from before.
    pub connections: IntCounterVec,
    /// Time to the head of an answer.
    pub first_byte_seconds: HistogramVec,
    /// Known upstreams by how they stand.
    pub standings: IntGaugeVec,
    /// Health checks by result.
    pub checks: IntCounterVec,
    /// Interim responses that found no room.
    pub interim_dropped: IntCounter,
}

impl Metrics {
    /// Declares every number.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            requests: counter_vec(
                registry,
                "edge_upstream_requests_total",
                "Requests sent upstream, repeats and hedges included, by tier (sibling, shield, origin).",
                &["tier"],
            ),
            errors: counter_vec(
                registry,
                "edge_upstream_errors_total",
                "Upstream requests that failed, by tier and kind.",
                &["tier", "kind"],
            ),
            retries: counter(
                registry,
                "edge_upstream_retries_total",
                "Upstream requests that were repeated after a failure.",
            ),
            retries_refused: counter(
                registry,
                "edge_upstream_retries_refused_total",
                "Upstream requests that were neither repeated nor hedged because the budget was used up.",
            ),
            hedges: counter_vec(
                registry,
                "edge_upstream_hedges_total",
                "Second requests sent because the first was slow, by whether the second won (yes, no).",
                &["won"],
            ),
            connections: counter_vec(
                registry,
                "edge_upstream_connections_total",
                "Connections and H2 streams taken for requests, by protocol (h1, h2) and by whether the connection \
                 was kept from before (yes, no).",
                &["protocol", "reused"],
            ),
            first_byte_seconds: histogram_vec(
                registry,
                "edge_upstream_first_byte_seconds",
                "Seconds from an upstream request to the head of its answer, connecting included, by tier; held \
                 requests left out.",
                &["tier"],
                SECONDS,
            ),
            standings: gauge_vec(
                registry,
                "edge_upstreams",
                "Upstreams that were asked lately, by standing: closed, half_open, open.",
                &["standing"],
            ),
            checks: counter_vec(
                registry,
                "edge_upstream_checks_total",
                "Health checks by result: well, failed.",
                &["result"],
            ),
            interim_dropped: counter(
                registry,
                "edge_upstream_interim_dropped_total",
                "Interim responses that were dropped because the client takes them slower than they come.",
            ),
        }
    }
}

/// From a shield in the same city to a held request.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
