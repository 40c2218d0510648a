//! Which upstream is asked first: rendezvous hashing with bounded load for shields, preference for origins.
//!
//! Pure. Invariant: every upstream is in the order, once; who failed lately stands behind who did not.

use super::health::Report;
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
    let mut order: Vec<usize> = (0..shields.len()).collect();
    order.sort_by_cached_key(|place| {
        let shield = &shields[*place];
        (!shield.report.is_healthy, is_overloaded(shield), u64::MAX - weight(key, shield.name))
    });
    order
}

/// Origins in their order, failing ones last.
pub(super) fn by_preference(origins: &[Report]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..origins.len()).collect();
    order.sort_by_key(|place| !origins[*place].is_healthy);
    order
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
    use super::*;

    fn shield(name: &str, in_flight: u64, is_healthy: bool) -> Standing<'_> {
        Standing { name, report: Report { in_flight, is_healthy } }
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
    fn origins_keep_their_order_but_for_failing_ones() {
        let report = |is_healthy| Report { in_flight: 0, is_healthy };
        let reports = [report(false), report(true), report(true)];
        assert_eq!(by_preference(&reports), [1, 2, 0]);
    }
}
