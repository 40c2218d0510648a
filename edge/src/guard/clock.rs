//! Time as tokens say it.
//!
//! Invariant: a time before 1970 is 1970, so that no clock makes a check fail open.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970.
#[must_use]
pub fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
