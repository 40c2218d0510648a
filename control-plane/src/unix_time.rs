//! Times as they travel and are stored: milliseconds since 1970, UTC.
//!
//! Only wall clock times that leave the process are of this form; how long something takes is measured with the
//! monotonic clock.

use std::time::{Duration, SystemTime};

/// Milliseconds since 1970; 0 for times before.
#[must_use]
pub fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

/// A span in whole milliseconds; spans that do not fit are as long as can be.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
