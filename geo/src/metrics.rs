//! Numbers of the world that answers are made from.
//!
//! Invariant: exactly one of the words of trust is 1.

use std::time::SystemTime;

use prometheus::{IntGauge, IntGaugeVec, Registry};
use tidegate_chassis::metrics::{gauge, gauge_vec};

use crate::world::{Trust, World};

/// Handles on every metric.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    round: IntGauge,
    age: IntGauge,
    trust: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        Self {
            round: gauge(
                registry,
                "geo_world_round",
                "Number of the round that made the map in use.",
            ),
            age: gauge(
                registry,
                "geo_world_age_seconds",
                "Time since what the map is made from was heard last.",
            ),
            trust: gauge_vec(
                registry,
                "geo_world_trust",
                "1 for how far the map is trusted: current, frozen or alone; 0 for the others.",
                &["trust"],
            ),
        }
    }

    /// Says how it stands now.
    pub(crate) fn world(&self, world: &World, now: SystemTime) {
        self.round.set(i64::try_from(world.round).unwrap_or(i64::MAX));
        let age = now.duration_since(world.heard).map_or(0, |age| age.as_secs());
        self.age.set(i64::try_from(age).unwrap_or(i64::MAX));
        let word = match world.trust {
            Trust::Current => "current",
            Trust::Frozen => "frozen",
            Trust::Alone { .. } => "alone",
        };
        for each in ["current", "frozen", "alone"] {
            self.trust.with_label_values(&[each]).set(i64::from(each == word));
        }
    }
}
