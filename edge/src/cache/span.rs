//! A run of bytes of a representation, and `Content-Range` (RFC 9110 14.4).
//!
//! Pure. Invariant: a span is never empty, and no arithmetic on spans overflows.

use std::{fmt, ops::Range};

use http::HeaderValue;

/// The bytes from `start` up to, but not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// The byte after the last; larger than `start`.
    pub end: u64,
}

/// What a `Content-Range` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes are there; `None` in a 416.
    pub span: Option<Span>,
    /// How many the whole has, where it is known.
    pub total: Option<u64>,
}

impl Span {
    /// The bytes of a half-open range; `None` when there are none.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// How many bytes it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a span is never empty")]
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has all bytes of another.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether both have a byte in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// It as the value of a `Range` header.
    #[must_use]
    pub fn to_range(&self) -> HeaderValue {
        let text = format!("bytes={}-{}", self.start, self.end.saturating_sub(1));
        HeaderValue::try_from(text).expect("digits and signs")
    }
}

/// The span widened to whole slices; the last one may reach beyond the end of the representation.
#[must_use]
pub fn aligned(span: Span, slice_bytes: u64) -> Span {
    let slices = slices(span, slice_bytes);
    let slice_bytes = slice_bytes.max(1);
    Span {
        start: slices.start.saturating_mul(slice_bytes),
        end: slices.end.saturating_mul(slice_bytes),
    }
}

/// The numbers of the slices that have bytes of a span.
#[must_use]
pub fn slices(span: Span, slice_bytes: u64) -> Range<u64> {
    let slice_bytes = slice_bytes.max(1);
    span.start / slice_bytes..span.end.div_ceil(slice_bytes)
}

impl ContentRange {
    /// The span of a whole of known length.
    #[must_use]
    pub fn of(span: Span, total: u64) -> Self {
        Self { span: Some(span), total: Some(total) }
    }

    /// Reads a header value; `None` when it says nothing that can be relied on.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (unit, rest) = text.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let (range, total) = (&rest[..slash], &rest[slash + 1..]);
        let total = if total == b"*" { None } else { Some(number(total)?) };
        if range == b"*" {
            return total.map(|total| Self { span: None, total: Some(total) });
        }
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let end = number(&range[dash + 1..])?.checked_add(1)?;
        let span = Span::new(number(&range[..dash])?, end)?;
        let fits = total.is_none_or(|total| span.end <= total);
        fits.then_some(Self { span: Some(span), total })
    }

    /// It as a header value.
    #[must_use]
    pub fn format(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("digits and signs")
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span {
            Some(span) => write!(f, "bytes {}-{}/", span.start, span.end.saturating_sub(1))?,
            None => f.write_str("bytes */")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

/// Digits as a number; `None` when there are none, or more than a `u64` holds.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span::new(start, end).unwrap()
    }

    #[test]
    fn a_content_range_reads_as_it_was_written() {
        for (text, start, end, total) in [
            ("bytes 0-4/10", 0, 5, Some(10)),
            ("bytes 9-9/10", 9, 10, Some(10)),
            ("bytes 0-4/*", 0, 5, None),
        ] {
            let range = ContentRange { span: Span::new(start, end), total };
            assert_eq!(ContentRange::parse(text.as_bytes()), Some(range), "{text}");
            assert_eq!(range.format(), text);
        }
        let unsatisfied = ContentRange { span: None, total: Some(10) };
        assert_eq!(ContentRange::parse(b"bytes */10"), Some(unsatisfied));
        assert_eq!(unsatisfied.format(), "bytes */10");
        for text in [
            "",
            "bytes",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes */*",
            "items 0-4/10",
            "bytes 0-4",
            "bytes -4/10",
            "bytes 0-/10",
            "bytes 0-4/",
            "bytes 0 -4/10",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(ContentRange::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn slices_cover_a_span() {
        for (start, end, first, last) in
            [(0, 1, 0, 1), (0, 100, 0, 1), (99, 101, 0, 2), (200, 300, 2, 3)]
        {
            assert_eq!(slices(span(start, end), 100), first..last);
            assert_eq!(aligned(span(start, end), 100), span(first * 100, last * 100));
        }
        assert_eq!(span(5, 7).to_range(), "bytes=5-6");
    }

    proptest! {
        #[test]
        fn an_aligned_span_contains_the_span(start in any::<u64>(), len in 1_u64.., slice in any::<u64>()) {
            let Some(span) = Span::new(start, start.saturating_add(len)) else { return Ok(()) };
            let aligned = aligned(span, slice);
            prop_assert!(aligned.contains(&span));
            prop_assert!(aligned.start.is_multiple_of(slice.max(1)));
            prop_assert!(aligned.len() >= span.len());
        }

        #[test]
        fn what_is_formatted_is_read(start in any::<u64>(), len in 1_u64.., total in any::<Option<u64>>()) {
            let Some(span) = Span::new(start, start.saturating_add(len)) else { return Ok(()) };
            let range = ContentRange { span: Some(span), total: total.map(|t| t.max(span.end)) };
            prop_assert_eq!(ContentRange::parse(range.format().as_bytes()), Some(range));
        }
    }
}
