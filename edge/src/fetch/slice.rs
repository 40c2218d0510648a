//! Aligned slices of a resource: which one is asked for, and whether an answer is that one.
//!
//! Pure. Slices are kept under keys that name the validator of the whole, so that slices of different representations
//! never meet. Invariant: a part is believed only when it says where it belongs, how long the whole is, and which
//! representation it is of.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    admit::{self, Admitted, Circumstances},
    wanted::Wanted,
};
use crate::{
    cache::{
        arrival::Unstorable,
        confirm,
        key::Key,
        object::{Extent, Head},
        range::{Asked, ContentRange, Selection, Span, asked, enclosed, select},
    },
    upstream::Answer,
};

/// One aligned slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aligned {
    pub(super) number: u64,
    pub(super) slice_bytes: u64,
}

/// What is asked for instead of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// The slice that a range begins in.
    Slice(Aligned),
    /// The last byte, when a range counts from the end: its answer says how long the whole is, and so which slices
    /// are wanted.
    Last {
        /// How large they are.
        slice_bytes: u64,
    },
}

/// A part that is what it was asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) span: Span,
    pub(super) total: u64,
    pub(super) validator: Vec<u8>,
}

impl Instead {
    /// What to ask for when a range of something unknown is wanted; absent where the whole has to be asked for.
    pub(super) fn of(wanted: &Wanted) -> Option<Self> {
        let slice_bytes = slice_bytes(wanted)?;
        let first = match asked(&Method::GET, &wanted.headers) {
            Asked::From(start, _) => Some(start),
            Asked::Last(_) => None,
            Asked::Many => first_of_many(&wanted.headers)?,
            Asked::Whole => return None,
        };
        Some(match first {
            Some(start) => Self::Slice(Aligned { number: start / slice_bytes, slice_bytes }),
            None => Self::Last { slice_bytes },
        })
    }

    /// The `Range` that asks for it.
    pub(super) fn header(self) -> HeaderValue {
        match self {
            Self::Slice(aligned) => aligned.header(),
            Self::Last { .. } => HeaderValue::from_static("bytes=-1"),
        }
    }

    /// The bytes of a resource of this length.
    pub(super) fn span(self, total: u64) -> Span {
        match self {
            Self::Slice(aligned) => aligned.span(total),
            Self::Last { .. } => Span { start: total.saturating_sub(1), end: total },
        }
    }

    /// How large slices are.
    pub(super) fn slice_bytes(self) -> u64 {
        match self {
            Self::Slice(Aligned { slice_bytes, .. }) | Self::Last { slice_bytes } => slice_bytes,
        }
    }
}

impl Aligned {
    /// The slices of a resource whose whole is too large to be kept.
    pub(super) fn instead_of(wanted: &Wanted, answer: &Answer) -> Option<Self> {
        let accepts = answer.headers.get(header::ACCEPT_RANGES)?.as_bytes();
        let is_sliceable =
            answer.status == StatusCode::OK && accepts.eq_ignore_ascii_case(b"bytes");
        strong_validator(&answer.headers)?;
        let slice_bytes = slice_bytes(wanted)?;
        is_sliceable.then_some(Self { number: 0, slice_bytes })
    }

    /// The bytes of a resource of this length.
    pub(super) fn span(self, total: u64) -> Span {
        let start = self.number.saturating_mul(self.slice_bytes);
        Span { start: start.min(total), end: start.saturating_add(self.slice_bytes).min(total) }
    }

    /// The `Range` that asks for it.
    pub(super) fn header(self) -> HeaderValue {
        let Span { start, end } = self.span(u64::MAX);
        HeaderValue::try_from(format!("bytes={start}-{}", end.saturating_sub(1)))
            .expect("a range is of letters and digits")
    }

    /// The head that stands for the whole, from an answer that would have brought it.
    pub(super) fn head_of_whole(
        self,
        answer: &Answer,
        circumstances: &Circumstances<'_>,
    ) -> Result<Admitted, Unstorable> {
        let total = admit::length(&answer.headers).ok_or(Unstorable::Size)?;
        let extent = Extent::Sliced { total, slice_bytes: self.slice_bytes };
        admit::admit(answer.status, answer.headers.clone(), extent, None, circumstances)
    }
}

impl Part {
    /// Reads an answer to a request for a part; otherwise says how long the whole is, if that is known.
    pub(super) fn read(answer: &Answer, asked: Instead) -> Result<Self, Option<u64>> {
        let Some(ContentRange { span: Some(span), total: Some(total) }) = enclosed(&answer.headers)
        else {
            return Err(None);
        };
        match strong_validator(&answer.headers) {
            Some(validator) if span == asked.span(total) => Ok(Self { span, total, validator }),
            _ => Err(Some(total)),
        }
    }

    /// The heads to store: of the whole, and of this slice.
    pub(super) fn admit(
        &self,
        answer: &Answer,
        slice_bytes: u64,
        circumstances: &Circumstances<'_>,
    ) -> Result<(Admitted, Head), Unstorable> {
        let mut headers = answer.headers.clone();
        headers.remove(header::CONTENT_RANGE);
        headers.remove(header::CONTENT_LENGTH);
        let extent = Extent::Sliced { total: self.total, slice_bytes };
        let whole = admit::admit(StatusCode::OK, headers, extent, None, circumstances)?;
        let slice = self.head(&whole.head);
        Ok((whole, slice))
    }

    /// The head of this slice, for a whole with this head.
    pub(super) fn head(&self, whole: &Head) -> Head {
        Head {
            status: StatusCode::PARTIAL_CONTENT,
            length: Some(self.span.end - self.span.start),
            extent: Extent::Slice { span: self.span, total: Some(self.total) },
            headers: HeaderMap::new(),
            public: Default::default(),
            ..whole.clone()
        }
    }

    /// The name of a slice of this representation.
    pub(super) fn key(&self, whole: &Key, number: u64) -> Key {
        whole.slice(&self.validator, number)
    }
}

/// What tells one representation of a resource from another for certain. A date does not tell variants apart.
pub(super) fn strong_validator(headers: &HeaderMap) -> Option<Vec<u8>> {
    let is_tagged = headers.contains_key(header::ETAG);
    let validator = confirm::strong_validator(headers);
    let validator = validator.filter(|_| is_tagged || !headers.contains_key(header::VARY));
    validator.map(|validator| validator.as_bytes().to_vec())
}

fn slice_bytes(wanted: &Wanted) -> Option<u64> {
    let slice = wanted.route.property().cache.slice;
    let slice = slice.filter(|_| wanted.route.class.is_sliced())?;
    (wanted.method == Method::GET).then(|| slice.as_u64())
}

/// The first byte of several ranges, or of one under a condition, as if the resource were endless; only a range that
/// counts from the end lies behind any file then, for which it is `Some(None)`. `None` where the whole is wanted.
fn first_of_many(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut only_range = HeaderMap::new();
    only_range.insert(header::RANGE, headers.get(header::RANGE)?.clone());
    let start = match select(&Method::GET, &only_range, &HeaderMap::new(), ENDLESS) {
        Selection::One(span) => span.start,
        Selection::Many(spans) => spans.iter().map(|span| span.start).min()?,
        Selection::Whole | Selection::Unsatisfiable => return None,
    };
    Some((start < ENDLESS / 2).then_some(start))
}

/// Longer than any file.
const ENDLESS: u64 = u64::MAX / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::wanted;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(parse).collect()
    }

    #[test]
    fn a_slice_lies_where_its_number_says() {
        let slice = Aligned { number: 2, slice_bytes: 1 << 20 };
        assert_eq!(slice.header(), "bytes=2097152-3145727");
        assert_eq!(slice.span(2_600_000), Span { start: 2_097_152, end: 2_600_000 });
        assert_eq!(slice.span(10), Span { start: 10, end: 10 });
        let last = Aligned { number: u64::MAX, slice_bytes: 1 << 20 };
        assert_eq!(last.span(u64::MAX).end, u64::MAX);
    }

    #[test]
    fn a_range_begins_in_a_slice_or_counts_from_the_end() {
        let slice = |number| Some(Instead::Slice(Aligned { number, slice_bytes: 1 << 20 }));
        let end = Instead::Last { slice_bytes: 1 << 20 };
        let last = Some(end);
        for (pairs, expected) in [
            (vec![("range", "bytes=3000000-")], slice(2)),
            (vec![("range", "bytes=-500")], last),
            (vec![("range", "bytes=-500"), ("if-range", "\"a\"")], last),
            (vec![("range", "bytes=3000000-3000001,-500")], slice(2)),
            (vec![("range", "bytes=5-,9-")], None),
            (vec![("range", "lines=1-2")], None),
            (vec![], None),
        ] {
            let wanted = Wanted { headers: headers(&pairs), ..wanted("/m.mp4") };
            assert_eq!(Instead::of(&wanted), expected, "{pairs:?}");
        }
        assert_eq!(end.span(700), Span { start: 699, end: 700 });
    }

    #[test]
    fn only_a_strong_validator_holds_slices_together() {
        let (early, late) = ("Fri, 21 Nov 2025 02:57:00 GMT", "Fri, 21 Nov 2025 02:58:00 GMT");
        for (pairs, expected) in [
            (vec![("etag", "\"a\"")], Some("\"a\"")),
            (vec![("etag", "W/\"a\"")], None),
            (vec![("etag", "W/\"a\""), ("last-modified", early), ("date", late)], None),
            (vec![("last-modified", early), ("date", late)], Some(early)),
            (vec![("last-modified", early), ("date", early)], None),
            (vec![("last-modified", early)], None),
            (vec![("last-modified", early), ("date", late), ("vary", "origin")], None),
            (vec![("etag", "\"a\""), ("vary", "origin")], Some("\"a\"")),
            (vec![], None),
        ] {
            let found = strong_validator(&headers(&pairs));
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{pairs:?}");
        }
    }
}
