//! What `Accept-Encoding` and `Accept-Language` mean, however they are written (RFC 9110 12.5.3, 12.5.4).
//!
//! Two requests that accept the same codings may share a response, whichever they prefer; for languages the weights
//! count, the order does not. Pure, without allocation. Invariant: what is not understood is not compared by meaning,
//! but as it is written.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::list::members;

/// The codings that a request accepts and refuses, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encodings {
    pub(super) accepted: u16,
    pub(super) refused: u16,
}

/// The languages that a request accepts: best first, those of one weight by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Languages<'a> {
    ranges: [Weighted<'a>; LANGUAGES_MAX],
    count: usize,
}

/// A member of an `Accept` header with its weight in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weighted<'a> {
    name: &'a [u8],
    weight: u16,
}

/// The codings; `None` when one is unknown here or cannot be read: whoever accepts it may get what others cannot read.
pub(super) fn encodings(request: &HeaderMap) -> Option<Encodings> {
    let (mut accepted, mut refused) = (0, 0);
    for member in weighted(request, &header::ACCEPT_ENCODING) {
        let Weighted { name, weight } = member?;
        let is_it = |names: &[&[u8]]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let bit = 1 << CODINGS.iter().position(|names| is_it(names))?;
        if weight > 0 {
            accepted |= bit;
        } else {
            refused |= bit;
        }
    }
    if accepted & refused != 0 {
        return None; // both at once: whatever that means
    }
    // What would not be accepted anyway need not be refused, and the identity is accepted unless it is refused.
    refused &= if accepted & REST != 0 { u16::MAX } else { IDENTITY | REST };
    accepted &= if refused & REST != 0 { u16::MAX } else { !IDENTITY };
    Some(Encodings { accepted, refused })
}

/// The languages; `None` when there are more than [`LANGUAGES_MAX`], or one cannot be read.
pub(super) fn languages(request: &HeaderMap) -> Option<Languages<'_>> {
    let mut languages = Languages { ranges: [Weighted::default(); LANGUAGES_MAX], count: 0 };
    for member in weighted(request, &header::ACCEPT_LANGUAGE) {
        let member = member?;
        let is_tag = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'*';
        if !member.name.iter().all(is_tag) {
            return None;
        }
        *languages.ranges.get_mut(languages.count)? = member;
        languages.count += 1;
    }
    languages.ranges[..languages.count].sort_unstable_by(|a, b| {
        let names = || a.name.iter().map(u8::to_ascii_lowercase);
        let others = || b.name.iter().map(u8::to_ascii_lowercase);
        b.weight.cmp(&a.weight).then_with(|| names().cmp(others()))
    });
    Some(languages)
}

impl Languages<'_> {
    /// Hands out the bytes of the one way to write them.
    pub(super) fn canonical(&self, mut each: impl FnMut(&[u8])) {
        for Weighted { name, weight } in &self.ranges[..self.count] {
            for byte in *name {
                each(&[byte.to_ascii_lowercase()]);
            }
            each(b";");
            each(&weight.to_le_bytes());
        }
    }

    /// The one of these languages that fits best, by its index; of two that fit alike the earlier one.
    pub(super) fn best(&self, offered: &[String]) -> Option<usize> {
        let weights = offered.iter().map(|tag| self.weight(tag.as_bytes()));
        let best = weights.enumerate().filter(|(_, weight)| *weight > 0);
        best.max_by_key(|(at, weight)| (*weight, std::cmp::Reverse(*at))).map(|(at, _)| at)
    }

    /// How much a language is wanted: the weight of the longest range that it is in (RFC 4647 3.3.1), else of one that
    /// is narrower (`de-AT` takes `de`), else of `*`.
    fn weight(&self, tag: &[u8]) -> u16 {
        let ranges = || self.ranges[..self.count].iter();
        let wider = ranges().filter(|range| is_in(tag, range.name)).max_by_key(|r| r.name.len());
        let narrower = || ranges().filter(|range| is_in(range.name, tag)).max_by_key(|r| r.weight);
        let any = || ranges().find(|range| range.name == b"*");
        wider.or_else(narrower).or_else(any).map_or(0, |range| range.weight)
    }
}

/// Whether a tag is a range or begins with it and a hyphen.
fn is_in(tag: &[u8], range: &[u8]) -> bool {
    let Some((head, tail)) = tag.split_at_checked(range.len()) else { return false };
    head.eq_ignore_ascii_case(range) && tail.first().is_none_or(|byte| *byte == b'-')
}

/// The members with their weights, each `None` when it cannot be read; empty ones are left out.
fn weighted<'a>(
    request: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<Weighted<'a>>> {
    let lines = request.get_all(name).iter().map(HeaderValue::as_bytes);
    lines.flat_map(members).filter(|member| !member.text.is_empty()).map(|member| {
        let Some(at) = member.text.iter().position(|byte| *byte == b';') else {
            return Some(Weighted { name: member.text, weight: WEIGHT_MAX });
        };
        let (name, parameter) =
            (member.text[..at].trim_ascii(), member.text[at + 1..].trim_ascii());
        let q = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
        Some(Weighted { name, weight: weight(q)? })
    })
}

/// `1`, `0.5`, `1.000` in thousandths.
fn weight(text: &[u8]) -> Option<u16> {
    let (whole, part) = match text {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', part @ ..] if part.len() <= 3 => (*whole, part),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0') * WEIGHT_MAX;
    for (byte, unit) in part.iter().zip([100, 10, 1]) {
        thousandths += byte.is_ascii_digit().then(|| u16::from(byte - b'0'))? * unit;
    }
    (thousandths <= WEIGHT_MAX).then_some(thousandths)
}

const WEIGHT_MAX: u16 = 1000;
/// Codings that are told apart, with their other names.
const CODINGS: [&[&[u8]]; 9] = [
    &[b"*"],
    &[b"identity"],
    &[b"gzip", b"x-gzip"],
    &[b"br"],
    &[b"zstd"],
    &[b"deflate"],
    &[b"compress", b"x-compress"],
    &[b"dcb"],
    &[b"dcz"],
];
const REST: u16 = 1;
const IDENTITY: u16 = 2;
/// The most languages that are compared by meaning.
const LANGUAGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    #[test]
    fn codings_are_a_set() {
        let read = |value| encodings(&headers(&[("accept-encoding", value)]));
        let both = read("gzip, br");
        assert!(both.is_some());
        for same in [
            "br,gzip",
            "GZIP;q=0.1, br",
            "x-gzip, br;q=1.000",
            "br, gzip, zstd;q=0",
            "br,,gzip",
            "br, gzip, identity",
        ] {
            assert_eq!(read(same), both, "{same}");
        }
        for other in ["", "gzip", "br, gzip, *", "br, gzip, identity;q=0", "br, gzip, *;q=0"] {
            assert_ne!(read(other), both, "{other}");
        }
        assert_ne!(read("*, br;q=0"), read("*"), "the rest does not include what is refused");
        assert_ne!(read("identity, *;q=0"), read("*;q=0"), "the identity is of the rest");
        assert_eq!(read("identity"), read(""));
        assert_eq!(read("br, br;q=0"), None);
        for unknown in ["gzip, foo", "gzip;q=2", "gzip;q=0.1234", "gzip;level=1", "gzip;q="] {
            assert_eq!(read(unknown), None, "{unknown}");
        }
        let lines = headers(&[("accept-encoding", "br"), ("accept-encoding", "gzip")]);
        assert_eq!(encodings(&lines), both);
    }

    #[test]
    fn the_best_language_is_the_one_that_is_wanted_most() {
        let offered: Vec<String> = ["en", "de", "pt-br"].map(String::from).into();
        for (value, expected) in [
            ("de", Some(1)),
            ("en, de", Some(0)),
            ("en;q=0.5, de", Some(1)),
            ("de-AT", Some(1)),
            ("pt", Some(2)),
            ("fr", None),
            ("fr, *;q=0.1", Some(0)),
            ("*, en;q=0", Some(1)),
            ("de;q=0, de-AT", None),
            ("PT-BR;q=0.9, en;q=0.8", Some(2)),
        ] {
            let map = headers(&[("accept-language", value)]);
            assert_eq!(languages(&map).unwrap().best(&offered), expected, "{value}");
        }
        for unreadable in ["de;q=x", "d\"e\"", &["de"; LANGUAGES_MAX + 1].join(",")] {
            assert!(languages(&headers(&[("accept-language", unreadable)])).is_none());
        }
    }
}
