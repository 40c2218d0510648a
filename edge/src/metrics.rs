//! Numbers of exchanges and of the node as a whole; every folder below declares its own beside its code.
//!
//! Declared once per process. Invariant: label values are words of this program's enums; no URL, address or id.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry, core::Collector};
use tidegate_chassis::metrics::{counter_vec, gauge, gauge_vec, histogram_vec};

/// Handles on every metric; clones count into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    /// Client exchanges that ended, by protocol and by how the cache handled them.
    pub requests: IntCounterVec,
    /// Answers to clients by class of status.
    pub responses: IntCounterVec,
    /// Time from the request's head to the end of the exchange.
    pub request_seconds: HistogramVec,
    /// Body bytes sent to clients.
    pub response_bytes: IntCounterVec,
    /// What the cache holds, in bytes.
    pub cache_bytes: IntGaugeVec,
    /// Objects in the memory tier.
    pub cache_objects: IntGauge,
    /// Fills in flight.
    pub fills_in_flight: IntGauge,
    /// Purges applied by target and kind.
    pub purges: IntCounterVec,
    /// Names that the purge table holds.
    pub purged_names: IntGauge,
    /// Whether every purge is known here.
    pub lease_certain: IntGauge,
    /// Purges that are accepted but not yet applied here.
    pub purge_lag: IntGauge,
    /// Bytes that the buffers of clients may hold, as granted.
    pub client_buffers: IntGauge,
    /// The most memory that the settings allow, and what there is.
    pub memory_limits: IntGaugeVec,
    /// Handovers to a new process by how they ended.
    pub upgrades: IntCounterVec,
    totals: Arc<Totals>,
}

/// Sums over all labels, for the health report.
#[derive(Debug, Default)]
struct Totals {
    requests: AtomicU64,
    hits: AtomicU64,
    errors: AtomicU64,
}

/// What the health report says of exchanges since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExchangeTotals {
    /// All of them.
    pub requests: u64,
    /// Answered from the cache.
    pub hits: u64,
    /// Answered with a status of 500 or above, or not at all for our or upstream's fault.
    pub errors: u64,
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            requests: counter_vec(
                registry,
                "edge_requests_total",
                "Client exchanges that ended, by protocol and by how the cache handled them.",
                &["protocol", "cache_status"],
            ),
            responses: counter_vec(
                registry,
                "edge_responses_total",
                "Answers to clients by class of status (1xx to 5xx; none: the client left first).",
                &["class"],
            ),
            request_seconds: histogram_vec(
                registry,
                "edge_request_seconds",
                "Seconds from a request's head to the end of its exchange, by cache status.",
                &["cache_status"],
                SECONDS,
            ),
            response_bytes: counter_vec(
                registry,
                "edge_response_bytes_total",
                "Body bytes sent to clients by protocol.",
                &["protocol"],
            ),
            cache_bytes: gauge_vec(
                registry,
                "edge_cache_bytes",
                "Bytes that the cache holds, by tier: memory, in_flight.",
                &["tier"],
            ),
            cache_objects: gauge(registry, "edge_cache_objects", "Objects in the memory tier."),
            fills_in_flight: gauge(registry, "edge_fills_in_flight", "Fills that are running."),
            purges: counter_vec(
                registry,
                "edge_purges_total",
                "Purges applied, by target (url, key, prefix, property, all) and kind (hard, soft).",
                &["target", "kind"],
            ),
            purged_names: gauge(
                registry,
                "edge_purged_names",
                "Names that the purge table remembers.",
            ),
            lease_certain: gauge(
                registry,
                "edge_lease_certain",
                "1 while every purge is known here, 0 while one may have been missed.",
            ),
            purge_lag: gauge(
                registry,
                "edge_purge_lag_orders",
                "Purges that the control plane accepted and that are not applied here yet.",
            ),
            client_buffers: gauge(
                registry,
                "edge_client_buffer_bytes",
                "Bytes that the buffers of clients may hold now, of listen.limits.buffers.",
            ),
            memory_limits: gauge_vec(
                registry,
                "edge_memory_limit_bytes",
                "The most memory that the settings allow (worst_case), and what there is for them (max).",
                &["limit"],
            ),
            upgrades: counter_vec(
                registry,
                "edge_upgrades_total",
                "Handovers to a new process by how they ended: done, failed, refused.",
                &["outcome"],
            ),
            totals: Arc::default(),
        }
    }

    /// Adds an exchange to the sums of the health report.
    pub fn count_exchange(&self, is_hit: bool, is_error: bool) {
        self.totals.requests.fetch_add(1, Ordering::Relaxed);
        self.totals.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
        self.totals.errors.fetch_add(u64::from(is_error), Ordering::Relaxed);
    }

    /// Body bytes sent to clients, over all protocols.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        let families = self.response_bytes.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics.map(|metric| metric.get_counter().get_value()).sum::<f64>() as u64
    }

    /// The sums of the health report.
    #[must_use]
    pub fn exchange_totals(&self) -> ExchangeTotals {
        ExchangeTotals {
            requests: self.totals.requests.load(Ordering::Relaxed),
            hits: self.totals.hits.load(Ordering::Relaxed),
            errors: self.totals.errors.load(Ordering::Relaxed),
        }
    }
}

/// From a hit in memory to a slow origin.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
