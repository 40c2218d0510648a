//! What another replica sees of a node.
//!
//! A node has its lanes where it likes. What it said elsewhere counts as if it had said it here, but for its lease: that
//! counts from what it was handed, wherever that was, and nobody here knows when.

use serde::{Deserialize, Serialize};

use super::node::{HealthReport, Nack};

/// One node as another replica sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elsewhere {
    /// The purge offset that it applied.
    pub applied: Option<u64>,
    /// How many of its subscriptions to purges are open there.
    pub purge_lanes: usize,
    /// Whether its configuration lane is open there.
    pub has_config_lane: bool,
    /// Its build, as it says.
    pub build: String,
    /// The generation that it runs.
    pub generation: u64,
    /// The generation that it refused last.
    pub nack: Option<Nack>,
    /// What it last said of itself.
    pub health: Option<HealthReport>,
}

impl Elsewhere {
    /// Adds what a further replica sees.
    pub fn merge(&mut self, other: Self) {
        let applied = self.applied.max(other.applied);
        let purge_lanes = self.purge_lanes + other.purge_lanes;
        if other.has_config_lane || !self.has_config_lane {
            *self = other;
        }
        (self.applied, self.purge_lanes) = (applied, purge_lanes);
    }

    /// Whether it says the same but for health, which changes all the time.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let without = |one: &Self| Self { health: None, ..one.clone() };
        without(self) == without(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_replicas_the_one_with_the_configuration_lane_knows_what_runs() {
        let with = Elsewhere {
            applied: Some(3),
            purge_lanes: 1,
            has_config_lane: true,
            generation: 9,
            ..Elsewhere::default()
        };
        let without = Elsewhere { applied: Some(5), purge_lanes: 1, ..Elsewhere::default() };
        for (mut one, other) in [(with.clone(), without.clone()), (without, with)] {
            one.merge(other);
            assert_eq!((one.applied, one.purge_lanes, one.generation), (Some(5), 2, 9));
            assert!(one.has_config_lane);
        }
    }
}
