//! How far a plan is, from the pixels that were encoded.
//!
//! A frame of a large rung is more work than one of a small rung, so pixels are counted. A container that does not
//! say its length gives no progress before the end. Progress never goes back and reaches 1000 only with the end.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// Counts work of all rungs.
#[derive(Debug)]
pub(super) struct Progress {
    expected: u64,
    done: AtomicU64,
    told: AtomicU16,
}

impl Progress {
    /// For this many pixels in all; 0 when unknown.
    pub(super) fn new(expected: u64) -> Self {
        Self { expected, done: AtomicU64::new(0), told: AtomicU16::new(0) }
    }

    /// Counts pixels; gives the thousandths when they are worth telling.
    pub(super) fn add(&self, pixels: u64) -> Option<u16> {
        let done = self.done.fetch_add(pixels, Ordering::Relaxed).saturating_add(pixels);
        let permille = done.saturating_mul(1000).checked_div(self.expected)?.min(PERMILLE_MAX);
        let permille = u16::try_from(permille).ok()?;
        let told = self.told.load(Ordering::Relaxed);
        let is_due = permille >= told.saturating_add(STEP);
        let is_mine = is_due
            && self
                .told
                .compare_exchange(told, permille, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_mine.then_some(permille)
    }
}

/// Told in steps of one percent.
const STEP: u16 = 10;
/// The rest is told by the end itself.
const PERMILLE_MAX: u64 = 999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_steps_of_a_percent_and_never_reaches_the_end() {
        let progress = Progress::new(1000);
        let told: Vec<u16> = (0..2000).filter_map(|_| progress.add(1)).collect();
        assert_eq!(told[..3], [10, 20, 30]);
        assert_eq!(told.last(), Some(&990));
        assert!(told.is_sorted());
    }

    #[test]
    fn an_unknown_length_tells_nothing() {
        assert_eq!(Progress::new(0).add(1_000_000), None);
    }
}
