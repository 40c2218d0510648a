//! A moment as people type it: a time, or how long ago it was.
//!
//! What is neither is refused before anything is asked of a server.

use std::time::SystemTime;

use crate::unix_time::unix_ms;

/// A time, or how long ago it was, as milliseconds since 1970.
pub(super) fn parse_since(text: &str) -> Result<u64, String> {
    let time = match humantime::parse_duration(text) {
        Ok(age) => SystemTime::now().checked_sub(age).ok_or("that is too long ago")?,
        Err(_) => humantime::parse_rfc3339_weak(text)
            .map_err(|_| "it is neither a time like 2026-05-04T10:00:00Z nor an age like 10m")?,
    };
    Ok(unix_ms(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        assert_eq!(parse_since("1970-01-01T00:00:10Z"), Ok(10_000));
        let now = unix_ms(SystemTime::now());
        let hour_ago = parse_since("1h").expect("an age");
        assert!((now - 3_700_000..=now).contains(&hour_ago), "{hour_ago}");
        for bad in ["", "yesterday", "10", "999999999999y"] {
            assert!(parse_since(bad).is_err(), "{bad:?}");
        }
    }
}
