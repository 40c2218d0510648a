//! Which upstream is asked first: rendezvous hashing with bounded load for shields, preference for origins.
//!
//! Pure. Invariant: every upstream is in the order, once; who failed lately stands behind who did not, and between
//! them who is slow or says that something is wrong.

use super::standing::{Report, outliers};
use crate::cache::key::Key;

/// A shield and how it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) name: &'a str,
    pub(super) report: Report,
}

/// Shields for a key: highest hash first, overloaded ones behind the others, failing ones last.
///
/// When a shield comes or goes, only the keys that it had move. Overloaded is who has more than `load_percent_max`
/// of the mean in flight.
pub(super) fn by_hash(key: &Key, shields: &[Standing<'_>], load_percent_max: u32) -> Vec<usize> {
    let in_flight: u64 = shields.iter().map(|shield| shield.report.in_flight).sum();
    let is_overloaded = |shield: &Standing<'_>| {
        // One more than the mean's share, so that an idle fleet takes anything.
        let load = shield.report.in_flight.saturating_mul(100 * shields.len() as u64);
        load > (in_flight + shields.len() as u64).saturating_mul(load_percent_max.into())
    };
    let reports: Vec<_> = shields.iter().map(|shield| shield.report).collect();
    let grades = grades(&reports);
    let mut order: Vec<usize> = (0..shields.len()).collect();
    order.sort_by_cached_key(|place| {
        let shield = &shields[*place];
        (grades[*place], is_overloaded(shield), u64::MAX - weight(key, shield.name))
    });
    order
}

/// Origins in their order, doubtful ones behind, failing ones last.
pub(super) fn by_preference(origins: &[Report]) -> Vec<usize> {
    let grades = grades(origins);
    let mut order: Vec<usize> = (0..origins.len()).collect();
    order.sort_by_key(|place| grades[*place]);
    order
}

/// How good an upstream is: the less the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Good,
    Doubtful,
    Failing,
}

fn grades(reports: &[Report]) -> Vec<Grade> {
    let means: Vec<_> = reports.iter().map(|report| report.mean).collect();
    let is_slow = outliers(&means);
    let grade = |(report, is_slow): (&Report, bool)| {
        if !report.is_healthy {
            Grade::Failing
        } else if is_slow || report.is_bursting {
            Grade::Doubtful
        } else {
            Grade::Good
        }
    };
    reports.iter().zip(is_slow).map(grade).collect()
}

fn weight(key: &Key, name: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.0);
    hasher.update(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn report(in_flight: u64, is_healthy: bool) -> Report {
        Report { in_flight, is_healthy, ..Report::default() }
    }

    fn shield(name: &str, in_flight: u64, is_healthy: bool) -> Standing<'_> {
        Standing { name, report: report(in_flight, is_healthy) }
    }

    fn key(n: u32) -> Key {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Key(bytes)
    }

    #[test]
    fn keys_spread_and_only_those_of_a_lost_shield_move() {
        let all = [shield("a", 0, true), shield("b", 0, true), shield("c", 0, true)];
        let mut firsts = [0; 3];
        for n in 0..600 {
            let order = by_hash(&key(n), &all, 125);
            firsts[order[0]] += 1;
            let without_c = by_hash(&key(n), &all[..2], 125);
            if order[0] != 2 {
                assert_eq!(order[0], without_c[0]);
            }
        }
        assert!(firsts.iter().all(|count| (140..260).contains(count)), "{firsts:?}");
    }

    #[test]
    fn who_fails_or_has_too_much_is_asked_later() {
        for n in 0..20 {
            let failing = [shield("a", 0, false), shield("b", 0, true)];
            assert_eq!(by_hash(&key(n), &failing, 125), [1, 0]);
            let busy = [shield("a", 100, true), shield("b", 10, true)];
            assert_eq!(by_hash(&key(n), &busy, 125), [1, 0]);
            let both = [shield("a", 100, true), shield("b", 10, false)];
            assert_eq!(by_hash(&key(n), &both, 125), [0, 1]);
        }
    }

    #[test]
    fn origins_keep_their_order_but_for_doubtful_and_failing_ones() {
        let good = report(0, true);
        let bursting = Report { is_bursting: true, ..good };
        let takes = |ms| Report { mean: Some(Duration::from_millis(ms)), ..good };
        for (reports, expected) in [
            (vec![report(0, false), good, good], vec![1, 2, 0]),
            (vec![report(0, false), bursting, good], vec![2, 1, 0]),
            (vec![takes(900), takes(20), good], vec![1, 2, 0]),
            (vec![takes(900), good, good], vec![0, 1, 2]),
        ] {
            assert_eq!(by_preference(&reports), expected);
        }
    }

    proptest! {
        #[test]
        fn every_upstream_stands_in_the_order_once(
            n in any::<u32>(),
            reports in prop::collection::vec((0u64..1000, any::<bool>(), any::<bool>()), 0..20),
        ) {
            let names: Vec<_> = (0..reports.len()).map(|n| n.to_string()).collect();
            let of = |(in_flight, is_healthy, is_bursting)| Report { in_flight, is_healthy, is_bursting, mean: None };
            let reports: Vec<_> = reports.into_iter().map(of).collect();
            let shields: Vec<_> = names.iter().zip(&reports)
                .map(|(name, report)| Standing { name, report: *report }).collect();
            for order in [by_hash(&key(n), &shields, 125), by_preference(&reports)] {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..reports.len()).collect::<Vec<_>>());
                let first_failing = order.iter().position(|place| !reports[*place].is_healthy);
                let last_healthy = order.iter().rposition(|place| reports[*place].is_healthy);
                if let (Some(failing), Some(healthy)) = (first_failing, last_healthy) {
                    prop_assert!(healthy < failing);
                }
            }
        }
    }
}
