//! The bytes that fills in flight may hold together.
//!
//! A fill takes what its response announces before it begins and more as it grows. Invariant: the sum of what is
//! taken never exceeds the limit, and what was taken is given back when the fill ends, however it ends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A handle on the budget; all clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    taken: AtomicU64,
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { shared: Arc::new(Shared { limit, taken: AtomicU64::new(0) }) }
    }

    /// Takes bytes; `None` when they are not there.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        self.take(bytes).then(|| Reservation { budget: self.clone(), bytes })
    }

    /// The bytes taken now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let add = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.shared.limit);
        self.shared.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

impl Reservation {
    /// Makes sure that at least so many bytes are taken in all; false when they are not there.
    pub fn cover(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        if missing == 0 {
            return true;
        }
        let is_taken = self.budget.take(missing);
        if is_taken {
            self.bytes += missing;
        }
        is_taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.shared.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_never_exceeds_the_limit() {
        let budget = Budget::new(10);
        let mut first = budget.reserve(4).unwrap();
        assert!(first.cover(4) && first.cover(6));
        assert!(budget.reserve(5).is_none());
        let second = budget.reserve(4).unwrap();
        assert!(!first.cover(7));
        assert_eq!(budget.taken(), 10);
        drop(first);
        assert_eq!(budget.taken(), 4);
        drop(second);
        assert_eq!(budget.taken(), 0);
        assert!(budget.reserve(u64::MAX).is_none());
    }
}
