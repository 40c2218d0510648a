//! One account for the buffers of all clients: what each of them could make grow is taken from it first.
//!
//! A connection takes little when it comes, more for each exchange, and more again for large bodies; what there is no room
//! for is refused (a connection, a request) or stays small (a window). Invariant: the sum of what is taken never
//! exceeds the limit, and what was taken comes back when its owner is dropped, however it ends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A handle on the account; all clones share it.
#[derive(Debug, Clone)]
pub struct Account(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    taken: AtomicU64,
}

/// Bytes taken from an account; given back on drop.
#[derive(Debug)]
pub(super) struct Grant {
    account: Account,
    bytes: u64,
}

impl Account {
    /// An account of so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared { limit, taken: AtomicU64::new(0) }))
    }

    /// The bytes taken now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Relaxed)
    }

    /// Takes bytes; `None` when they are not there.
    pub(super) fn grant(&self, bytes: u64) -> Option<Grant> {
        self.take(bytes).then(|| Grant { account: self.clone(), bytes })
    }

    /// Nothing taken yet.
    pub(super) fn nothing(&self) -> Grant {
        Grant { account: self.clone(), bytes: 0 }
    }

    /// Whether what is not needed now is better given back. Below, giving back and taking again costs more than it gains.
    pub(super) fn is_tight(&self) -> bool {
        self.taken() > self.0.limit / TIGHT_FROM
    }

    fn take(&self, bytes: u64) -> bool {
        let add = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0.taken.fetch_update(Relaxed, Relaxed, add).is_ok()
    }
}

impl Grant {
    /// Makes sure that at least so many bytes are taken in all; false when they are not there, and then nothing changed.
    pub(super) fn cover(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        if missing > 0 && !self.account.take(missing) {
            return false;
        }
        self.bytes += missing;
        true
    }

    /// Gives back what is above so many bytes.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        if surplus > 0 {
            self.bytes -= surplus;
            self.account.0.taken.fetch_sub(surplus, Relaxed);
        }
    }

    /// Gives everything back when the account is tight.
    pub(super) fn rest(&mut self) {
        if self.bytes > 0 && self.account.is_tight() {
            self.shrink(0);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// The part of the limit, as a divisor, from which on the account is tight: the rest must hold all connections idle.
const TIGHT_FROM: u64 = 4;
/// What an idle TCP connection holds at most: TLS, what was read ahead, and its task.
pub(super) const TCP_CONNECTION: u64 = 48 << 10;
/// What an idle QUIC connection holds at most: its state, and both windows at their smallest.
pub(super) const QUIC_CONNECTION: u64 = (32 << 10) + 2 * WINDOW_MIN;
/// The smallest window of a QUIC connection, either way, and of a stream's response on H2: a small answer fits.
pub(super) const WINDOW_MIN: u64 = 32 << 10;
/// What an exchange holds at most beside windows: a head, and the piece of a body that is on its way.
pub(super) const EXCHANGE: u64 = (96 << 10) + WINDOW_MIN;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_never_exceeds_the_limit() {
        let account = Account::new(100);
        let mut first = account.grant(40).unwrap();
        assert!(account.is_tight());
        assert!(first.cover(60) && first.cover(10), "it has more already");
        assert!(account.grant(41).is_none());
        assert!(!first.cover(101));
        let mut second = account.grant(40).unwrap();
        assert_eq!(account.taken(), 100);
        second.rest();
        assert_eq!(account.taken(), 60);
        first.shrink(20);
        first.rest();
        assert_eq!(account.taken(), 20, "not tight");
        drop((first, second));
        assert_eq!(account.taken(), 0);
        assert!(account.grant(u64::MAX).is_none());
    }

    proptest! {
        #[test]
        fn the_account_is_the_sum_of_its_grants(
            steps in prop::collection::vec((0_usize..4, 0_u64..60, any::<bool>()), 1..60),
        ) {
            let account = Account::new(100);
            let mut grants: Vec<Grant> = (0..4).map(|_| account.nothing()).collect();
            let mut expected = [0_u64; 4];
            for (who, bytes, is_cover) in steps {
                if !is_cover {
                    grants[who].shrink(bytes);
                    expected[who] = expected[who].min(bytes);
                } else {
                    let sum: u64 = expected.iter().sum();
                    let missing = bytes.saturating_sub(expected[who]);
                    prop_assert_eq!(grants[who].cover(bytes), sum + missing <= 100);
                    if sum + missing <= 100 {
                        expected[who] += missing;
                    }
                }
                prop_assert_eq!(account.taken(), expected.iter().sum::<u64>());
            }
        }
    }
}
