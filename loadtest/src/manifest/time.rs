//! Times as manifests write them: seconds with a fraction, dates (ISO 8601), durations of XML Schema. Exact, without
//! floating point.

use std::time::Duration;

use super::limit;

/// Decimal seconds: `6`, `6.006`, `.5`. Digits beyond nanoseconds are dropped; more than a day is refused.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { digits(whole)? };
    (whole <= limit::MAX_SEGMENT_SECONDS).then_some(Duration::new(whole, nanos(fraction)?))
}

/// Milliseconds since 1970 of a date and time; without a zone it is UTC.
pub(super) fn date_time(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut fields = date.split('-');
    let (year, month, day) = (fixed(fields.next()?, 4)?, fixed(fields.next()?, 2)?, fields.next()?);
    let day = fixed(day, 2)?;
    if fields.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, zone_minutes) = zone(rest)?;
    let mut fields = clock.split(':');
    let (hour, minute) = (fixed(fields.next()?, 2)?, fixed(fields.next()?, 2)?);
    let (second, fraction) = match fields.next() {
        Some(field) => field.split_once(['.', ',']).unwrap_or((field, "")),
        None => ("00", ""),
    };
    let second = fixed(second, 2)?;
    if fields.next().is_some() || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    Some((minutes * 60 + second) * 1000 + i64::from(nanos(fraction)? / 1_000_000))
}

/// A duration of XML Schema (`PT1H2M3.5S`). Years count 365 days and months 30, as players count them. At most a
/// hundred years; none is negative.
pub(super) fn xs_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim_ascii().strip_prefix('P')?;
    let (mut total, mut is_time, mut is_any) = (Duration::ZERO, false, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T').filter(|_| !is_time) {
            (rest, is_time) = (time, true);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = rest.split_at(end);
        let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, ""));
        let unit_seconds = match (unit.as_bytes()[0], is_time) {
            (b'Y', false) => 365 * 86_400,
            (b'M', false) => 30 * 86_400,
            (b'W', false) => 7 * 86_400,
            (b'D', false) => 86_400,
            (b'H', true) => 3_600,
            (b'M', true) => 60,
            (b'S', true) => 1,
            _ => return None,
        };
        if unit_seconds > 1 && number.len() > whole.len() {
            return None;
        }
        let whole = digits(whole)?.checked_mul(unit_seconds)?;
        total = total.checked_add(Duration::new(whole, nanos(fraction)?))?;
        (rest, is_any) = (&unit[1..], true);
    }
    (is_any && total.as_secs() <= limit::MAX_PRESENTATION_SECONDS).then_some(total)
}

/// Splits the zone off: minutes that the clock is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(sign) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, zone) = text.split_at(sign);
    let (hours, minutes) = match zone.len() {
        3 => (&zone[1..], "00"),
        5 => zone[1..].split_at_checked(2)?,
        6 => zone[1..].split_once(':')?,
        _ => return None,
    };
    let minutes = fixed(hours, 2)? * 60 + fixed(minutes, 2)?;
    Some((clock, if zone.starts_with('-') { -minutes } else { minutes }))
}

/// Days of the civil calendar, counted in eras of 400 years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A number of exactly so many digits.
fn fixed(text: &str, count: usize) -> Option<i64> {
    if text.len() != count {
        return None;
    }
    i64::try_from(digits(text)?).ok()
}

/// Digits only: no sign, no spaces.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The digits of a fraction of a second.
fn nanos(fraction: &str) -> Option<u32> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_are_exact() {
        let table = [
            ("6", Some(6_000_000_000)),
            ("6.006", Some(6_006_000_000)),
            ("6.", Some(6_000_000_000)),
            (".5", Some(500_000_000)),
            ("0.0000000019", Some(1)),
            ("86400", Some(86_400_000_000_000)),
            ("86401", None),
            ("99999999999999999999", None),
            ("-1", None),
            ("+1", None),
            ("NaN", None),
            ("inf", None),
            ("1e3", None),
            ("1.5.5", None),
            (".", None),
            ("", None),
        ];
        for (text, nanos) in table {
            assert_eq!(seconds(text).map(|d| d.as_nanos()), nanos, "{text}");
        }
    }

    #[test]
    fn dates_are_read_as_packagers_write_them() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-21T09:00:00.123Z", Some(1_795_251_600_123)),
            ("2026-11-21T09:00:00.123+0000", Some(1_795_251_600_123)),
            ("2026-11-21T10:30:00,1239+01:30", Some(1_795_251_600_123)),
            ("2026-11-21 07:00:00-02", Some(1_795_251_600_000)),
            ("2026-11-21T09:00:00", Some(1_795_251_600_000)),
            ("2026-11-21T09:00Z", Some(1_795_251_600_000)),
            ("2000-02-29T23:59:60Z", Some(951_868_800_000)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-21", None),
            ("2026-11-21T9:00:00Z", None),
            ("2026-11-21T09:00:00+1", None),
            ("+026-11-21T09:00:00Z", None),
            ("2026-11-2\u{fc}T09:00:00Z", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(date_time(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_of_xml_schema_are_exact_and_bounded() {
        let table = [
            ("PT8.5S", Some(8_500)),
            ("PT0H10M54.00S", Some(654_000)),
            ("P1DT2H", Some(93_600_000)),
            ("P0Y0M0DT0H0M1.25S", Some(1_250)),
            ("PT1004199059S", Some(1_004_199_059_000)),
            ("PT0S", Some(0)),
            ("P2W", Some(1_209_600_000)),
            (" PT2S ", Some(2_000)),
            ("P1Y", Some(31_536_000_000)),
            ("P101Y", None),
            ("PT18446744073709551615M", None),
            ("P9999999999999999Y", None),
            ("-PT1S", None),
            ("PT-1S", None),
            ("PT1.5H", None),
            ("PT1", None),
            ("P", None),
            ("PT", None),
            ("P1S", None),
            ("", None),
        ];
        for (text, expected) in table {
            let millis = xs_duration(text).map(|duration| duration.as_millis());
            assert_eq!(millis, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[PT0-9.:+\\-ZYMDHS ]{0,40}|.{0,20}") {
            let _ = (seconds(&text), date_time(&text), xs_duration(&text));
        }

        #[test]
        fn a_date_is_what_the_calendar_says(days in -100_000i64..1_000_000) {
            let date = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(days);
            let text = format!(
                "{:04}-{:02}-{:02}T00:00:00Z", date.year(), u8::from(date.month()), date.day()
            );
            prop_assert_eq!(date_time(&text), Some(days * 86_400_000));
        }
    }
}
