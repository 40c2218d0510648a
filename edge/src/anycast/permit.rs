//! Whether an order about a prefix may be followed.
//!
//! Pure. Less is announced only with a permit that has not ended and is not older than one that was seen; more is
//! announced with any permit that is not older. Invariant: without an order nothing changes, whatever the time is.

use tidegate_contract::{anycast::Level, telemetry::LevelOrder};

/// What to do about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is so already.
    Keep,
    /// Do it.
    Follow,
    /// Do not.
    Refuse(Refusal),
}

/// Why an order is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody has given a later one.
    #[error("the permit is of epoch {0}, {1} was seen")]
    Old(u64, u64),
    /// It came too late to begin anything.
    #[error("the permit has ended")]
    Ended,
}

/// Judges an order about a prefix that is announced at a level, if that is known.
#[must_use]
pub fn judge(
    order: &LevelOrder,
    current: Option<&Level>,
    newest_epoch: u64,
    now_unix_ms: u64,
) -> Verdict {
    if order.epoch < newest_epoch {
        return Verdict::Refuse(Refusal::Old(order.epoch, newest_epoch));
    }
    if current == Some(&order.level) {
        return Verdict::Keep;
    }
    // An unknown level may be the strongest.
    let is_less = current.is_none_or(|current| order.level.rank() >= current.rank());
    if is_less && order.level != Level::Normal && now_unix_ms > order.expires_unix_ms {
        return Verdict::Refuse(Refusal::Ended);
    }
    Verdict::Follow
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(level: &str, epoch: u64, expires_unix_ms: u64) -> LevelOrder {
        LevelOrder { level: level.parse().unwrap(), epoch, expires_unix_ms }
    }

    #[test]
    fn less_needs_a_permit_that_holds_and_more_only_one_that_is_not_old() {
        for (current, wanted, epoch, now, expected) in [
            ("normal", "withdrawn", 5, 100, Verdict::Follow),
            ("normal", "withdrawn", 5, 101, Verdict::Refuse(Refusal::Ended)),
            ("normal", "withdrawn", 4, 100, Verdict::Refuse(Refusal::Old(4, 5))),
            ("withdrawn", "withdrawn", 5, 999, Verdict::Keep),
            ("withdrawn", "normal", 5, 999, Verdict::Follow),
            ("withdrawn", "normal", 4, 100, Verdict::Refuse(Refusal::Old(4, 5))),
            ("gshut", "prepend-2", 6, 999, Verdict::Follow),
            ("prepend-1", "prepend-2", 6, 999, Verdict::Refuse(Refusal::Ended)),
            ("prepend-1", "prepend-2", 6, 1, Verdict::Follow),
        ] {
            let current: Level = current.parse().unwrap();
            let judged = judge(&order(wanted, epoch, 100), Some(&current), 5, now);
            assert_eq!(judged, expected, "{current} to {wanted}");
        }
        assert_eq!(judge(&order("gshut", 5, 1), None, 5, 2), Verdict::Refuse(Refusal::Ended));
        assert_eq!(judge(&order("normal", 5, 1), None, 5, 2), Verdict::Follow);
    }

    proptest! {
        #[test]
        fn nothing_is_withdrawn_with_a_permit_that_is_old_or_has_ended(
            epoch in 0u64..10, newest in 0u64..10, expires in 0u64..10, now in 0u64..10,
            from in prop::sample::select(vec!["normal", "no-export:a", "prepend-1", "prepend-3", "gshut"]),
        ) {
            let from: Level = from.parse().unwrap();
            let judged = judge(&order("withdrawn", epoch, expires), Some(&from), newest, now);
            prop_assert_eq!(judged == Verdict::Follow, epoch >= newest && now <= expires);
        }
    }
}
