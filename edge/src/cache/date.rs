//! HTTP dates in their three forms (RFC 9110 5.6.7): to the letter, except that case does not count.
//!
//! Pure, without allocation. Invariant: what is not one of the three forms is no date.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

/// The date in a header; `None` when it is absent, or cannot be read. Of several lines the first counts.
#[must_use]
pub fn of(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse(headers.get(name)?.as_bytes())
}

/// Reads a date.
#[must_use]
pub fn parse(text: &[u8]) -> Option<SystemTime> {
    let parts = imf_fixdate(text).or_else(|| rfc850(text)).or_else(|| asctime(text))?;
    parts.to_time()
}

struct Parts {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Parts> {
    let (weekday, rest) = text.split_at_checked(3)?;
    let [b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', rest @ ..] = rest else {
        return None;
    };
    let (hour, minute, second) = time_gmt(rest)?;
    is_short_weekday(weekday).then_some(())?;
    Some(Parts {
        year: digits(&[*y1, *y2, *y3, *y4])?,
        month: month(&[*m1, *m2, *m3])?,
        day: digits(&[*d1, *d2])?,
        hour,
        minute,
        second,
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8]) -> Option<Parts> {
    let comma = text.iter().position(|byte| *byte == b',')?;
    is_long_weekday(&text[..comma]).then_some(())?;
    let [b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, b' ', rest @ ..] = &text[comma + 1..] else {
        return None;
    };
    let (hour, minute, second) = time_gmt(rest)?;
    let year = digits(&[*y1, *y2])?;
    Some(Parts {
        // Two digits: the century that was meant when they were still written, and this one.
        year: if year < 70 { 2000 + year } else { 1900 + year },
        month: month(&[*m1, *m2, *m3])?,
        day: digits(&[*d1, *d2])?,
        hour,
        minute,
        second,
    })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Parts> {
    let [w1, w2, w3, b' ', m1, m2, m3, b' ', d1, d2, b' ', time @ ..] = text else { return None };
    let (time, [b' ', y1, y2, y3, y4]) = time.split_at_checked(8)? else { return None };
    is_short_weekday(&[*w1, *w2, *w3]).then_some(())?;
    let (hour, minute, second) = clock(time)?;
    Some(Parts {
        year: digits(&[*y1, *y2, *y3, *y4])?,
        month: month(&[*m1, *m2, *m3])?,
        day: digits(&[if *d1 == b' ' { b'0' } else { *d1 }, *d2])?,
        hour,
        minute,
        second,
    })
}

/// `08:49:37 GMT`
fn time_gmt(text: &[u8]) -> Option<(u64, u64, u64)> {
    let (time, zone) = text.split_at_checked(8)?;
    zone.eq_ignore_ascii_case(b" GMT").then(|| clock(time))?
}

/// `08:49:37`
fn clock(text: &[u8]) -> Option<(u64, u64, u64)> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    Some((digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

fn month(text: &[u8]) -> Option<u64> {
    let at = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    Some(at as u64 + 1)
}

fn is_short_weekday(text: &[u8]) -> bool {
    WEEKDAYS.iter().any(|name| name[..3].eq_ignore_ascii_case(text))
}

fn is_long_weekday(text: &[u8]) -> bool {
    WEEKDAYS.iter().any(|name| name.eq_ignore_ascii_case(text))
}

impl Parts {
    fn to_time(&self) -> Option<SystemTime> {
        let is_possible = self.hour < 24
            && self.minute < 60
            && self.second <= 60 // a leap second
            && self.year >= YEAR_MIN
            && (1..=self.days_of_month()).contains(&self.day);
        is_possible.then_some(())?;
        let seconds = self.hour * 3600 + self.minute * 60 + self.second;
        let days = self.days_since_year_0();
        let from_zero = Duration::from_secs(days * SECONDS_PER_DAY + seconds);
        let epoch = Duration::from_secs(EPOCH_DAYS * SECONDS_PER_DAY);
        match from_zero.checked_sub(epoch) {
            Some(after) => SystemTime::UNIX_EPOCH.checked_add(after),
            None => SystemTime::UNIX_EPOCH.checked_sub(epoch - from_zero),
        }
    }

    fn days_of_month(&self) -> u64 {
        match self.month {
            2 if is_leap(self.year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Days from 1 January of the year 0 of the Gregorian calendar.
    fn days_since_year_0(&self) -> u64 {
        let before = self.year - 1;
        let leap_days = before / 4 - before / 100 + before / 400 + 1; // the year 0 is one
        let of_months = DAYS_BEFORE_MONTH[usize::try_from(self.month - 1).unwrap_or_default()];
        let leap_day = u64::from(self.month > 2 && is_leap(self.year));
        self.year * 365 + leap_days + of_months + leap_day + self.day - 1
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const MONTHS: [&[u8]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];
const WEEKDAYS: [&[u8]; 7] =
    [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];
const DAYS_BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// 1 January 1970, counted from the year 0.
const EPOCH_DAYS: u64 = 719_528;
/// Since when the calendar is this one; earlier years are mistakes.
const YEAR_MIN: u64 = 1601;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        let time = parse(text.as_bytes())?;
        Some(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap(),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap(),
        })
    }

    #[test]
    fn three_forms_are_read_whatever_their_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gMT",
            "sunday, 06-nov-94 08:49:37 GmT",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
        assert_eq!(seconds("Thursday, 18-Aug-50 02:01:18 GMT"), Some(2_544_400_878));
        assert_eq!(seconds("Wed, 31 Dec 1969 23:59:59 GMT"), Some(-1));
        assert_eq!(seconds("Sat, 29 Feb 2020 00:00:00 GMT"), Some(1_582_934_400));
        assert_eq!(seconds("Sun, 21 Nov 2286 04:46:39 GMT"), Some(10_000_039_599));
    }

    #[test]
    fn everything_else_is_no_date() {
        for text in [
            "",
            "0",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 0050 02:01:18 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_u64..253_402_300_799) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(httpdate::fmt_http_date(time).as_bytes()), Some(time));
        }

        #[test]
        fn no_text_panics(text in "[ a-zA-Z0-9:,-]{0,40}") {
            let _ = parse(text.as_bytes());
        }
    }
}
