//! Offsets of a purge stream, and what becomes of them when a log is restored from a backup.
//!
//! The bits above [`EPOCH_SHIFT`] of an offset are the epoch of its log. A log that is restored goes on in the next
//! epoch, so that whatever was given out before, also what the backup does not know of, lies below everything that
//! comes. A node whose position lies below the new epoch then finds that the log does not hold what follows it, and
//! treats everything that can change as purged: the same rule as for a log that was trimmed. Invariant: offsets of a
//! stream only grow, for nodes, headers between tiers and journals alike, and inside of an epoch they have no holes.

/// Where the epoch begins in an offset: room for 2^40 purges, a thousand a second for 34 years, before a restore.
pub const EPOCH_SHIFT: u32 = 40;
/// The newest epoch that there can be: offsets stay below 2^53, so that they are exact in every reader of JSON.
pub const EPOCH_MAX: u64 = (1 << 13) - 1;

/// The epoch of an offset; 0 until the log was restored for the first time.
#[must_use]
pub fn epoch(offset: u64) -> u64 {
    offset >> EPOCH_SHIFT
}

/// The head of a log that goes on after a restore; `known` is the highest offset that the backup or anybody else
/// knows. Nothing has this offset itself: the first purge of the epoch comes behind it. `None` when there is no
/// epoch left.
#[must_use]
pub fn head_after_restore(known: u64) -> Option<u64> {
    let next = epoch(known) + 1;
    (next <= EPOCH_MAX).then_some(next << EPOCH_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_log_goes_on_above_everything_that_was_given_out() {
        for (known, head) in [
            (0, Some(1 << 40)),
            (900, Some(1 << 40)),
            ((1 << 40) - 1, Some(1 << 40)),
            (1 << 40, Some(2 << 40)),
            ((7 << 40) + 3, Some(8 << 40)),
            (EPOCH_MAX << 40, None),
        ] {
            assert_eq!(head_after_restore(known), head, "{known}");
        }
        assert_eq!((epoch(900), epoch((7 << 40) + 3)), (0, 7));
    }
}
