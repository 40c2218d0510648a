//! How far a map can be trusted, and what a node does that stands alone.
//!
//! While the control plane is silent the last map goes on being served, without the PoPs that this node sees dead. Once
//! the silence is longer than the map may be old, a node that stands in a PoP gives clients that PoP: whoever asks it is
//! near it, and its load is the one thing that can still be known (FastRoute, NSDI 2015). What that PoP cannot carry is
//! sent elsewhere, by lot among subnets: the share grows in proportion to the overload and shrinks slowly, since answers
//! are kept for 20 s and a step is felt late. A map that an operator holds stays as it is held.
//!
//! Invariant: a PoP that does not serve is never the one that a node answers alone.

use std::time::Duration;

use crate::world::Trust;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    /// For how long nothing was heard.
    pub(super) silent: Duration,
    /// For how long the map is good without a word.
    pub(super) alone_after: Duration,
    /// Whether an operator holds the map.
    pub(super) is_held: bool,
    /// The own PoP, when it is known and serves.
    pub(super) own: Option<u16>,
    /// The share that the own PoP cannot carry.
    pub(super) shed: f32,
}

/// How far the map can be trusted.
pub(super) fn trust(standing: Standing) -> Trust {
    match standing.own {
        _ if standing.is_held => Trust::Frozen,
        Some(own) if standing.silent > standing.alone_after => {
            Trust::Alone { own, shed: standing.shed }
        }
        _ => Trust::Current,
    }
}

/// The share to be shed after one that was in force for a step of [`SHED_EVERY`], by the load of the own PoP over its
/// capacity. A load that nobody knows changes nothing.
pub(super) fn next_shed(shed: f32, load: Option<f64>) -> f32 {
    let Some(load) = load.filter(|load| load.is_finite() && *load >= 0.0) else { return shed };
    let load = load as f32;
    let next = if load > LOAD_MAX {
        // What stays makes the load: as much less of it as the load is too much.
        let wanted = 1.0 - (1.0 - shed) * LOAD_MAX / load;
        wanted.min(shed + GROWS_MAX)
    } else if load < LOAD_RELAXED {
        shed - SHRINKS
    } else {
        shed
    };
    next.clamp(0.0, SHED_MAX)
}

/// A step of the share that is shed: answers are kept for 20 s, so a step is felt within two.
pub(super) const SHED_EVERY: Duration = Duration::from_secs(10);
/// Above this load there is too much, as in the plan of a map.
const LOAD_MAX: f32 = crate::map::PLANNED_SHARE as f32;
/// Below this one clients are taken back.
const LOAD_RELAXED: f32 = 0.70;
/// The most that one step sends away, and that it takes back.
const GROWS_MAX: f32 = 0.25;
const SHRINKS: f32 = 0.05;
/// Somebody always stays, so that the load goes on telling something.
const SHED_MAX: f32 = 0.95;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_node_is_alone_after_long_silence_when_it_stands_in_a_pop_that_serves() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        for (silent, is_held, own, expected) in [
            (minutes(0), false, Some(3), Trust::Current),
            (minutes(5), false, Some(3), Trust::Current),
            (minutes(6), false, Some(3), Trust::Alone { own: 3, shed: 0.5 }),
            (minutes(6), false, None, Trust::Current),
            (minutes(0), true, Some(3), Trust::Frozen),
            (minutes(6), true, Some(3), Trust::Frozen),
        ] {
            let alone_after = minutes(5);
            let standing = Standing { silent, alone_after, is_held, own, shed: 0.5 };
            assert_eq!(trust(standing), expected, "{standing:?}");
        }
    }

    #[test]
    fn what_nobody_measured_changes_nothing() {
        for load in [None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)] {
            assert_eq!(next_shed(0.3, load), 0.3);
        }
        assert_eq!((next_shed(0.02, Some(0.1)), next_shed(0.3, Some(0.8))), (0.0, 0.3));
    }

    proptest! {
        #[test]
        fn a_pop_with_too_many_clients_comes_to_rest_below_its_limit_and_takes_them_back(
            crowd in 0.9..10.0f64,
        ) {
            let mut shed = 0.0;
            for _ in 0..60 {
                let load = crowd * f64::from(1.0 - shed);
                shed = next_shed(shed, Some(load));
            }
            let load = crowd * f64::from(1.0 - shed);
            prop_assert!((0.65..=0.90).contains(&load), "{load} at {shed}");
            for _ in 0..20 {
                shed = next_shed(shed, Some(0.1));
            }
            prop_assert_eq!(shed, 0.0);
        }
    }
}
