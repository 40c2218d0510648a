//! What the tests of the pure rules write often.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

/// Headers in the order given.
pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

/// So many seconds after some moment.
pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

/// That moment as an HTTP date; negative seconds are before it.
pub(super) fn date(seconds: i64) -> String {
    let moment = if seconds < 0 {
        at(0) - Duration::from_secs(seconds.unsigned_abs())
    } else {
        at(seconds.unsigned_abs())
    };
    httpdate::fmt_http_date(moment)
}
