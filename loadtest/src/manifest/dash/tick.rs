//! Ticks of a media timescale, times and milliseconds, converted without floating point and without overflow.

use std::time::Duration;

use super::super::limit;

/// Whole ticks in a time.
pub(super) fn of_time(time: Duration, timescale: u64) -> u64 {
    let ticks = time.as_nanos().saturating_mul(u128::from(timescale)) / NANOS_PER_SECOND;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The time of so many ticks, to the nanosecond below.
pub(super) fn time(ticks: u64, timescale: u64) -> Duration {
    let rest = u128::from(ticks % timescale) * NANOS_PER_SECOND / u128::from(timescale);
    let rest = Duration::from_nanos(u64::try_from(rest).expect("less than a second"));
    Duration::from_secs(ticks / timescale).saturating_add(rest)
}

/// Ticks of one timescale as those of another.
pub(super) fn rescale(ticks: u64, from: u64, to: u64) -> u64 {
    u64::try_from(u128::from(ticks) * u128::from(to) / u128::from(from)).unwrap_or(u64::MAX)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(limit::MAX_NUMBER)
}

pub(super) fn add_millis(unix_ms: i64, time: Duration) -> i64 {
    unix_ms.saturating_add_unsigned(millis(time))
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_has_its_ticks(ticks in 0..limit::MAX_NUMBER, timescale in 1u64..1_000_000_000) {
            let there = time(ticks, timescale);
            let back = of_time(there, timescale);
            prop_assert!(back == ticks || back + 1 == ticks);
            prop_assert_eq!(rescale(ticks, timescale, timescale), ticks);
        }

        #[test]
        fn nothing_overflows(ticks: u64, timescale in 1..=u64::MAX, nanos: u64) {
            let _ = time(ticks, timescale);
            let _ = of_time(Duration::from_nanos(nanos), timescale);
            let _ = rescale(ticks, timescale, u64::MAX);
            let _ = add_millis(i64::MAX, Duration::MAX);
        }
    }
}
