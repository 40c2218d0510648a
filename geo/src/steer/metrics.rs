//! What is counted of steering. Names of policies and PoPs are no labels: a player may ask for any.

use prometheus::{IntCounterVec, IntGauge, Registry};
use tidegate_chassis::metrics::{counter_vec, gauge};

/// The metrics of steering; clones share the numbers.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) answers: IntCounterVec,
    pub(super) connections: IntGauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            answers: counter_vec(
                registry,
                "geo_steering_answers_total",
                "Questions of players, by what became of the session: began, stayed, moved, unserved, unknown, refused.",
                &["outcome"],
            ),
            connections: gauge(
                registry,
                "geo_steering_connections",
                "Open connections of the steering listener.",
            ),
        }
    }
}
