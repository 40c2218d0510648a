//! What signing counts.

use prometheus::{IntCounter, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, gauge};

/// What signing counts.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) made: IntCounter,
    pub(super) reused: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) kept: IntGauge,
    pub(super) zones: IntGauge,
    pub(super) reload_failures: IntCounter,
    pub(super) sets_taken: IntCounter,
    pub(super) sets_refused: IntCounter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            made: counter(
                registry,
                "geo_dnssec_signatures_made_total",
                "Signatures that were made.",
            ),
            reused: counter(
                registry,
                "geo_dnssec_signatures_reused_total",
                "Sets that were answered with signatures made before.",
            ),
            refused: counter(
                registry,
                "geo_dnssec_signatures_refused_total",
                "Answers that were not given since too many signatures were being made.",
            ),
            kept: gauge(registry, "geo_dnssec_signatures_kept", "Sets whose signatures are kept."),
            zones: gauge(registry, "geo_dnssec_zones", "Zones that have keys."),
            reload_failures: counter(
                registry,
                "geo_dnssec_key_reload_failures_total",
                "Times that changed keys were not taken because something about them is wrong.",
            ),
            sets_taken: counter(
                registry,
                "geo_dnssec_key_sets_taken_total",
                "Steps of roll-overs that were taken from the control plane.",
            ),
            sets_refused: counter(
                registry,
                "geo_dnssec_key_sets_refused_total",
                "Steps of roll-overs of the control plane that were not taken; the log says why.",
            ),
        }
    }
}
