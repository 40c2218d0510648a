//! Which bytes a request asks for, and which a response has (RFC 9110 section 14, 13.1.5, 15.3.7).
//!
//! Pure. Invariants: a selected span lies within the representation; a request for many ranges costs no more than the
//! whole; a 206 is believed only where all it says agrees.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

pub use super::span::{ContentRange, Span, aligned, slices};
use super::{confirm::is_date_strong, entity_tag::EntityTag, list::members, span::number};

/// What of a representation of known length a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it, as 200.
    Whole,
    /// One span, as 206.
    One(Span),
    /// Several, as 206 with `multipart/byteranges`, in the order asked for.
    Many(Vec<Span>),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// What a request asks for when the length is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Everything, or ranges that are not followed.
    Whole,
    /// From a byte up to, but not including, another one, or up to the end.
    From(u64, Option<u64>),
    /// The last bytes.
    Last(u64),
    /// Several ranges, or conditions on them: the whole must be known first.
    Many,
}

/// Selects what a request gets of a stored whole.
#[must_use]
pub fn select(method: &Method, request: &HeaderMap, stored: &HeaderMap, length: u64) -> Selection {
    let Some(specs) = Specs::of(method, request).filter(|_| is_same_version(request, stored))
    else {
        return Selection::Whole;
    };
    let mut spans = specs.iter().filter_map(|spec| spec.within(length));
    let Some(first) = spans.next() else {
        // The last bytes of nothing are nothing, and 206 cannot say so.
        let is_of_nothing = length == 0 && specs.iter().any(|spec| matches!(spec, Spec::Last(1..)));
        return if is_of_nothing { Selection::Whole } else { Selection::Unsatisfiable };
    };
    let mut chosen = vec![first];
    chosen.extend(spans);
    if chosen.len() == 1 {
        return Selection::One(first);
    }
    let has_overlap =
        chosen.iter().enumerate().any(|(at, span)| chosen[..at].iter().any(|s| s.overlaps(span)));
    let bytes = chosen.iter().fold(0_u64, |sum, span| {
        sum.saturating_add(span.len()).saturating_add(PART_OVERHEAD_BYTES)
    });
    if has_overlap || bytes >= length { Selection::Whole } else { Selection::Many(chosen) }
}

/// What a request asks for, by itself.
#[must_use]
pub fn asked(method: &Method, request: &HeaderMap) -> Asked {
    let Some(specs) = Specs::of(method, request) else { return Asked::Whole };
    if request.contains_key(header::IF_RANGE) || specs.count > 1 {
        return Asked::Many;
    }
    match specs.specs[0] {
        Spec::From(start, end) => Asked::From(start, end),
        Spec::Last(count) => Asked::Last(count),
    }
}

/// What a 206 encloses; `None` unless it is one part and everything it says of it agrees.
#[must_use]
pub fn enclosed(response: &HeaderMap) -> Option<ContentRange> {
    let range = ContentRange::parse(single(response, &header::CONTENT_RANGE)?.as_bytes())?;
    let span = range.span?;
    if !response.contains_key(header::CONTENT_LENGTH) {
        return Some(range);
    }
    let length = number(single(response, &header::CONTENT_LENGTH)?.as_bytes())?;
    (length == span.len()).then_some(range)
}

/// The length of the whole that a 416 tells (RFC 9110 15.5.17).
#[must_use]
pub fn total_of_unsatisfied(status: StatusCode, response: &HeaderMap) -> Option<u64> {
    let range = ContentRange::parse(single(response, &header::CONTENT_RANGE)?.as_bytes())?;
    let is_unsatisfied = status == StatusCode::RANGE_NOT_SATISFIABLE && range.span.is_none();
    range.total.filter(|_| is_unsatisfied)
}

/// `If-Range`: whether the client has parts of this very representation.
fn is_same_version(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if !request.contains_key(header::IF_RANGE) {
        return true;
    }
    let Some(wanted) = single(request, &header::IF_RANGE) else { return false };
    let wanted = wanted.as_bytes().trim_ascii();
    if wanted.ends_with(b"\"") {
        let tag = EntityTag::read(wanted);
        let ours = stored.get(header::ETAG).map(|tag| EntityTag::read(tag.as_bytes()));
        return ours.is_some_and(|ours| ours.is_strongly(&tag));
    }
    // A date must be the very one, to the letter, and one that cannot stand for two versions (13.1.5).
    let changed = stored.get(header::LAST_MODIFIED).map(HeaderValue::as_bytes);
    changed == Some(wanted) && is_date_strong(stored)
}

fn single<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    Some(value)
}

/// One range as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// From a byte up to, but not including, another one, or up to the end.
    From(u64, Option<u64>),
    /// The last bytes.
    Last(u64),
}

/// The ranges of a request; at least one.
struct Specs {
    specs: [Spec; RANGES_MAX],
    count: usize,
}

impl Specs {
    /// `None` when the request asks for the whole, or for ranges that are to be ignored: malformed, in another unit, or
    /// too many (RFC 9110 14.2).
    fn of(method: &Method, request: &HeaderMap) -> Option<Self> {
        let value = single(request, &header::RANGE).filter(|_| method == Method::GET)?.as_bytes();
        let (unit, set) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let mut specs = Self { specs: [Spec::Last(0); RANGES_MAX], count: 0 };
        for member in members(set).filter(|member| !member.text.is_empty()) {
            *specs.specs.get_mut(specs.count)? = Spec::read(member.text)?;
            specs.count += 1;
        }
        (specs.count > 0).then_some(specs)
    }

    fn iter(&self) -> std::slice::Iter<'_, Spec> {
        self.specs[..self.count].iter()
    }
}

impl Spec {
    fn read(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(digits(last)?)),
            (false, true) => Some(Self::From(digits(first)?, None)),
            (false, false) => {
                let (first, last) = (digits(first)?, digits(last)?);
                (first <= last).then(|| Self::From(first, Some(last.saturating_add(1))))
            }
        }
    }

    fn within(&self, length: u64) -> Option<Span> {
        match *self {
            Self::From(start, end) => Span::new(start, end.unwrap_or(length).min(length)),
            Self::Last(count) => Span::new(length.saturating_sub(count), length),
        }
    }
}

/// Digits as a number; what is larger than any length is as large as can be.
fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| number(text).unwrap_or(u64::MAX))
}

/// The most ranges of one request; more are answered with the whole.
pub const RANGES_MAX: usize = 16;
/// About what a part of `multipart/byteranges` costs beside its bytes.
const PART_OVERHEAD_BYTES: u64 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::testing::{date, headers};

    fn get(range: &str, length: u64) -> Selection {
        select(&Method::GET, &headers(&[("range", range)]), &headers(&[]), length)
    }

    fn one(start: u64, end: u64) -> Selection {
        Selection::One(Span { start, end })
    }

    #[test]
    fn one_range() {
        for (range, length, expected) in [
            ("bytes=0-1", 11, one(0, 2)),
            ("bytes=1-", 11, one(1, 11)),
            ("bytes=-1", 11, one(10, 11)),
            ("bytes=-99", 11, one(0, 11)),
            ("bytes=0-", 11, one(0, 11)),
            ("bytes=0-99999999999999999999999", 11, one(0, 11)),
            ("Bytes=0-0", 11, one(0, 1)),
            ("bytes= 0-1 ,", 11, one(0, 2)),
            ("bytes=99-, 0-1", 11, one(0, 2)),
            ("bytes=11-", 11, Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", 11, Selection::Unsatisfiable),
            ("bytes=-0", 11, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=-5", 0, Selection::Whole),
            ("bytes=-0", 0, Selection::Unsatisfiable),
        ] {
            assert_eq!(get(range, length), expected, "{range} of {length}");
        }
    }

    #[test]
    fn what_is_no_range_asks_for_the_whole() {
        for range in [
            "bytes=",
            "bytes=-",
            "bytes=1-0",
            "bytes=a-b",
            "bytes=0-1, x",
            "bytes 0-1",
            "items=0-1",
            "bytes=0 - 1",
            "bytes=+1-2",
            "bytes=--1",
            "",
        ] {
            assert_eq!(get(range, 11), Selection::Whole, "{range}");
        }
        let range = headers(&[("range", "bytes=0-1")]);
        assert_eq!(select(&Method::HEAD, &range, &headers(&[]), 11), Selection::Whole);
        let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=3-4")]);
        assert_eq!(select(&Method::GET, &twice, &headers(&[]), 11), Selection::Whole);
    }

    #[test]
    fn many_ranges_come_in_their_order_unless_they_cost_more_than_the_whole() {
        let spans = [(500, 600), (0, 100)].map(|(start, end)| Span { start, end });
        assert_eq!(get("bytes=500-599,0-99", 1000), Selection::Many(spans.into()));
        for whole in ["bytes=0-99,50-149", "bytes=0-499,500-999", "bytes=0-,0-,0-,0-"] {
            assert_eq!(get(whole, 1000), Selection::Whole, "{whole}");
        }
        let many = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
            get(&format!("bytes={}", ranges.join(",")), 1_000_000)
        };
        assert!(matches!(many(16), Selection::Many(spans) if spans.len() == 16));
        assert_eq!(many(17), Selection::Whole);
    }

    #[test]
    fn parts_are_given_only_of_the_version_that_the_client_has() {
        let (changed, made) = (date(0), date(9));
        let strong = [("etag", "\"a\""), ("last-modified", &*changed), ("date", &*made)];
        let young = [("last-modified", &*changed), ("date", &*changed)];
        for (if_range, stored, is_part) in [
            ("\"a\"", &strong[..], true),
            ("\"b\"", &strong, false),
            ("W/\"a\"", &strong, false),
            (&changed, &strong, true),
            (&made, &strong, false),
            (&changed, &young, false),
            ("\"a\"", &young, false),
            ("x", &strong, false),
        ] {
            let request = headers(&[("range", "bytes=0-1"), ("if-range", if_range)]);
            let selection = select(&Method::GET, &request, &headers(stored), 11);
            assert_eq!(selection == one(0, 2), is_part, "{if_range} of {stored:?}");
        }
    }

    #[test]
    fn a_cold_request_is_read_by_itself() {
        for (pairs, expected) in [
            (vec![], Asked::Whole),
            (vec![("range", "bytes=5-9")], Asked::From(5, Some(10))),
            (vec![("range", "bytes=5-")], Asked::From(5, None)),
            (vec![("range", "bytes=-5")], Asked::Last(5)),
            (vec![("range", "bytes=0-1,5-6")], Asked::Many),
            (vec![("range", "bytes=0-1"), ("if-range", "\"a\"")], Asked::Many),
            (vec![("range", "x")], Asked::Whole),
        ] {
            assert_eq!(asked(&Method::GET, &headers(&pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_part_is_believed_only_when_all_agrees() {
        let range = ContentRange::of(Span { start: 0, end: 5 }, 10);
        for (pairs, expected) in [
            (vec![("content-range", "bytes 0-4/10")], Some(range)),
            (vec![("content-range", "bytes 0-4/10"), ("content-length", "5")], Some(range)),
            (vec![("content-range", "bytes 4-9/10"), ("content-length", "5")], None),
            (vec![("content-range", "bytes 0-4/10"), ("content-range", "bytes 0-4/10")], None),
            (vec![("content-range", "bytes */10")], None),
            (vec![("content-type", "multipart/byteranges; boundary=x")], None),
        ] {
            assert_eq!(enclosed(&headers(&pairs)), expected, "{pairs:?}");
        }
        let unsatisfied = headers(&[("content-range", "bytes */10")]);
        assert_eq!(total_of_unsatisfied(StatusCode::RANGE_NOT_SATISFIABLE, &unsatisfied), Some(10));
        assert_eq!(total_of_unsatisfied(StatusCode::OK, &unsatisfied), None);
    }

    proptest! {
        #[test]
        fn what_is_selected_is_there(
            ranges in proptest::collection::vec("([0-9]{0,4}|[0-9]{18,22})-([0-9]{0,4}|[0-9]{18,22})", 1..20),
            length in 0_u64..2000,
        ) {
            let spans = match get(&format!("bytes={}", ranges.join(",")), length) {
                Selection::Whole | Selection::Unsatisfiable => vec![],
                Selection::One(span) => vec![span],
                Selection::Many(spans) => {
                    prop_assert!(spans.len() <= RANGES_MAX);
                    prop_assert!(spans.iter().map(Span::len).sum::<u64>() < length);
                    spans
                }
            };
            for span in spans {
                prop_assert!(span.start < span.end && span.end <= length);
            }
        }
    }
}
