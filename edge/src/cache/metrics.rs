//! What the tiers of the cache publish.
//!
//! Declared once per process. Invariant: label values are words of this program, never a URL or a key.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge};

/// Handles on the metrics of the tiers; clones count into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    /// Lookups that found something, by tier.
    pub memory_hits: IntCounter,
    /// As above, on disk.
    pub disk_hits: IntCounter,
    /// As above, in flight.
    pub in_flight_hits: IntCounter,
    /// Objects that came from disk into memory.
    pub promotions: IntCounter,
    /// Objects that left memory while they stand on disk.
    pub demotions: IntCounter,
    /// Objects that left memory and are nowhere any more.
    pub evictions: IntCounter,
    /// Bytes of all files of the disk tier.
    pub disk_bytes: IntGauge,
    /// Objects on disk.
    pub disk_objects: IntGauge,
    /// Objects written to disk.
    pub disk_writes: IntCounter,
    /// Objects that were not written although they were admitted, by reason.
    pub disk_dropped: IntCounterVec,
    /// Failures of the disk tier, by kind.
    pub disk_errors: IntCounterVec,
    /// How long the index took to come back at the last start.
    pub disk_recovery: Gauge,
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        let hits = counter_vec(
            registry,
            "edge_cache_tier_hits_total",
            "Lookups that found something, by tier: memory, disk, in_flight.",
            &["tier"],
        );
        let disk_recovery = Gauge::new(
            "edge_cache_disk_recovery_seconds",
            "How long the index of the disk tier took to come back at the last start.",
        )
        .expect("a plain name");
        registry.register(Box::new(disk_recovery.clone())).expect("declared once");
        Self {
            memory_hits: hits.with_label_values(&["memory"]),
            disk_hits: hits.with_label_values(&["disk"]),
            in_flight_hits: hits.with_label_values(&["in_flight"]),
            promotions: counter(
                registry,
                "edge_cache_promotions_total",
                "Objects that came from disk into memory.",
            ),
            demotions: counter(
                registry,
                "edge_cache_demotions_total",
                "Objects that left memory while they stand on disk.",
            ),
            evictions: counter(
                registry,
                "edge_cache_evictions_total",
                "Objects that left memory and are nowhere any more.",
            ),
            disk_bytes: gauge(
                registry,
                "edge_cache_disk_bytes",
                "Bytes of all files of the disk tier.",
            ),
            disk_objects: gauge(registry, "edge_cache_disk_objects", "Objects on disk."),
            disk_writes: counter(
                registry,
                "edge_cache_disk_writes_total",
                "Objects written to disk.",
            ),
            disk_dropped: counter_vec(
                registry,
                "edge_cache_disk_dropped_writes_total",
                "Objects that were admitted to disk and not written, by reason: queue (full), pause (after a \
                 failure), size.",
                &["reason"],
            ),
            disk_errors: counter_vec(
                registry,
                "edge_cache_disk_errors_total",
                "Failures of the disk tier, by kind: full, write, read, damaged, slow, busy (no read buffers), \
                 delete.",
                &["kind"],
            ),
            disk_recovery,
        }
    }

    /// Counts a failure of the disk tier.
    pub(super) fn disk_error(&self, kind: &str) {
        self.disk_errors.with_label_values(&[kind]).inc();
    }

    /// Counts a write that was given up.
    pub(super) fn dropped(&self, reason: &str) {
        self.disk_dropped.with_label_values(&[reason]).inc();
    }
}
