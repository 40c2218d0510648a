//! Which variant of a resource a request gets: a hash over the request headers that `Vary` names (RFC 9111 4.1).
//!
//! The names are prepared once per response; choosing for a request allocates nothing. Pure. Invariant: two requests
//! share a variant only when every named header means the same for both.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tidegate_contract::property::VaryPolicy;

use super::{
    acceptance::{self, Encodings, Languages},
    list::members,
};

/// By what a response varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Varies {
    /// By nothing.
    No,
    /// By these request headers.
    By(Vary),
    /// By something that no request header tells.
    Any,
}

/// The request headers that a response varies by: each once, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vary {
    names: Arc<[HeaderName]>,
}

impl Varies {
    /// Reads a response's `Vary`. A name that is none, or more than [`NAMES_MAX`] of them, cannot be followed.
    #[must_use]
    pub fn of(response: &HeaderMap) -> Self {
        let lines = response.get_all(header::VARY).iter().map(HeaderValue::as_bytes);
        let mut names = Vec::new();
        for member in lines.flat_map(members).filter(|member| !member.text.is_empty()) {
            match HeaderName::from_bytes(member.text) {
                Ok(name) if name.as_str() != "*" && names.len() < LISTED_MAX => names.push(name),
                _ => return Self::Any,
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        match names.len() {
            0 => Self::No,
            1..=NAMES_MAX => Self::By(Vary { names: names.into() }),
            _ => Self::Any,
        }
    }
}

impl Vary {
    /// The names, sorted, in lower case.
    #[must_use]
    pub fn names(&self) -> &Arc<[HeaderName]> {
        &self.names
    }

    /// The variant that a request gets.
    #[must_use]
    pub fn select(&self, request: &HeaderMap, policy: &VaryPolicy) -> [u8; 16] {
        let mut digest = Digest::new();
        for name in &*self.names {
            if policy.ignore.iter().any(|ignored| ignored == name.as_str()) {
                continue;
            }
            // No header name or value contains NUL, so no two different requests give the same bytes.
            digest.take(name.as_str().as_bytes());
            digest.take(b"\0");
            take(&mut digest, name, request, policy);
            digest.take(b"\0");
        }
        digest.finish()
    }
}

/// Gathers small pieces before they are hashed: most requests fit into one.
struct Digest {
    hasher: blake3::Hasher,
    pieces: [u8; 512],
    used: usize,
}

impl Digest {
    fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), pieces: [0; 512], used: 0 }
    }

    fn take(&mut self, piece: &[u8]) {
        if self.used + piece.len() > self.pieces.len() {
            self.hasher.update(&self.pieces[..self.used]);
            self.used = 0;
        }
        match self.pieces.get_mut(self.used..self.used + piece.len()) {
            Some(room) => {
                room.copy_from_slice(piece);
                self.used += piece.len();
            }
            None => {
                self.hasher.update(piece);
            }
        }
    }

    fn finish(mut self) -> [u8; 16] {
        self.hasher.update(&self.pieces[..self.used]);
        let mut out = [0; 16];
        out.copy_from_slice(&self.hasher.finalize().as_bytes()[..16]);
        out
    }
}

fn take(digest: &mut Digest, name: &HeaderName, request: &HeaderMap, policy: &VaryPolicy) {
    if !request.contains_key(name) {
        digest.take(b"absent");
    } else if *name == header::ACCEPT_ENCODING && policy.normalise_accept_encoding {
        match acceptance::encodings(request) {
            Some(Encodings { accepted, refused }) => {
                digest.take(b"codings");
                digest.take(&accepted.to_le_bytes());
                digest.take(&refused.to_le_bytes());
            }
            None => verbatim(digest, name, request),
        }
    } else if *name == header::ACCEPT_LANGUAGE {
        match acceptance::languages(request) {
            Some(languages) => take_languages(digest, &languages, policy),
            None => verbatim(digest, name, request),
        }
    } else if VERBATIM.contains(name) {
        verbatim(digest, name, request);
    } else {
        combined(digest, name, request);
    }
}

fn take_languages(digest: &mut Digest, languages: &Languages<'_>, policy: &VaryPolicy) {
    if policy.accept_language.is_empty() {
        digest.take(b"languages");
        languages.canonical(|bytes| digest.take(bytes));
    } else {
        digest.take(b"language");
        let best = languages.best(&policy.accept_language);
        digest.take(&best.map_or(u64::MAX, |at| at as u64).to_le_bytes());
    }
}

/// Lines count as one list, and the space around its members does not count (RFC 9111 4.1, RFC 9110 5.3).
fn combined(digest: &mut Digest, name: &HeaderName, request: &HeaderMap) {
    digest.take(b"list");
    let lines = request.get_all(name).iter().map(HeaderValue::as_bytes);
    for (at, member) in lines.flat_map(members).enumerate() {
        if at > 0 {
            digest.take(b",");
        }
        digest.take(member.text);
    }
}

fn verbatim(digest: &mut Digest, name: &HeaderName, request: &HeaderMap) {
    digest.take(b"lines");
    for line in request.get_all(name) {
        digest.take(line.as_bytes());
        digest.take(b"\0");
    }
}

/// Headers whose commas and spaces belong to somebody's secret.
const VERBATIM: [HeaderName; 2] = [header::COOKIE, header::AUTHORIZATION];
/// The most names that a response varies by; more would not be shared by anyone.
pub const NAMES_MAX: usize = 16;
/// The most names that are read, doubles included.
const LISTED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::testing::headers;

    fn vary(value: &str) -> Vary {
        match Varies::of(&headers(&[("vary", value)])) {
            Varies::By(vary) => vary,
            other => panic!("{value}: {other:?}"),
        }
    }

    fn is_shared(vary: &Vary, a: &[(&str, &str)], b: &[(&str, &str)], policy: &VaryPolicy) -> bool {
        vary.select(&headers(a), policy) == vary.select(&headers(b), policy)
    }

    #[test]
    fn a_star_anywhere_varies_by_everything() {
        for lines in [
            vec!["*"],
            vec!["*, *"],
            vec!["*", "*"],
            vec![", *"],
            vec!["", "*"],
            vec!["*, Foo"],
            vec!["Foo, *"],
            vec!["Foo", " * "],
            vec!["Foo bar"],
            vec!["\"Foo, Bar\""],
        ] {
            let pairs: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert_eq!(Varies::of(&headers(&pairs)), Varies::Any, "{lines:?}");
        }
        for nothing in [vec![], vec![("vary", "")], vec![("vary", " , ")]] {
            assert_eq!(Varies::of(&headers(&nothing)), Varies::No);
        }
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| format!("x-{n}")).collect();
        assert_eq!(Varies::of(&headers(&[("vary", &many.join(","))])), Varies::Any);
    }

    #[test]
    fn order_case_and_doubles_of_names_do_not_count() {
        let two_lines = Varies::of(&headers(&[("vary", "Bar"), ("vary", "foo, BAR")]));
        assert_eq!(two_lines, Varies::By(vary("Foo, bar")));
    }

    #[test]
    fn only_the_named_headers_count() {
        let policy = VaryPolicy::default();
        let foo = vary("Foo");
        for (a, b, expected) in [
            (vec![("foo", "1")], vec![("foo", "1"), ("other", "2")], true),
            (vec![("foo", "1")], vec![("foo", "2")], false),
            (vec![("foo", "1")], vec![], false),
            (vec![("foo", "")], vec![], false),
            (vec![("foo", "1, 2")], vec![("foo", "1"), ("foo", "2")], true),
            (vec![("foo", "1,2")], vec![("foo", " 1, 2 ")], true),
            (vec![("foo", "\"1,2\"")], vec![("foo", "\"1, 2\"")], false),
            (vec![("foo", "1,2")], vec![("foo", "2,1")], false),
        ] {
            assert_eq!(is_shared(&foo, &a, &b, &policy), expected, "{a:?} {b:?}");
        }
        let two = vary("foo, bar");
        let swapped =
            is_shared(&two, &[("foo", "1"), ("bar", "2")], &[("foo", "2"), ("bar", "1")], &policy);
        assert!(!swapped);
        let cookie = vary("cookie");
        assert!(!is_shared(&cookie, &[("cookie", "a=1,2")], &[("cookie", "a=1, 2")], &policy));
    }

    #[test]
    fn codings_and_languages_are_compared_by_what_they_mean() {
        let vary = vary("accept-encoding, accept-language");
        let policy = VaryPolicy::default();
        let encoding = |value| [("accept-encoding", value)];
        let language = |value| [("accept-language", value)];
        assert!(is_shared(&vary, &encoding("gzip, br"), &encoding("BR;q=1.0,gzip;q=0.5"), &policy));
        assert!(!is_shared(&vary, &encoding("gzip"), &encoding("gzip, br"), &policy));
        let exact = VaryPolicy { normalise_accept_encoding: false, ..VaryPolicy::default() };
        assert!(!is_shared(&vary, &encoding("gzip, br"), &encoding("br, gzip"), &exact));
        for same in ["de, en", "eN, De", " en ,   de", "en;q=1.0,de;q=1"] {
            assert!(is_shared(&vary, &language("en, de"), &language(same), &policy), "{same}");
        }
        assert!(!is_shared(&vary, &language("en, de;q=0.5"), &language("en, de"), &policy));
        let known = VaryPolicy { accept_language: vec!["en".into(), "de".into()], ..policy };
        assert!(is_shared(&vary, &language("fr;q=0.5, de"), &language("de-AT, en;q=0.9"), &known));
        assert!(!is_shared(&vary, &language("de"), &language("en"), &known));
    }

    #[test]
    fn what_the_operator_ignores_does_not_count() {
        let policy = VaryPolicy { ignore: vec!["user-agent".into()], ..VaryPolicy::default() };
        let vary = vary("user-agent, foo");
        assert!(is_shared(&vary, &[("user-agent", "a")], &[("user-agent", "b")], &policy));
        assert!(!is_shared(&vary, &[("foo", "a")], &[("foo", "b")], &policy));
    }

    proptest! {
        #[test]
        fn any_request_has_a_variant(value in "[ -~]{0,60}") {
            let vary = vary("accept-encoding, accept-language, foo, cookie");
            let map = |text: &str| -> HeaderMap {
                ["accept-encoding", "accept-language", "foo", "cookie"]
                    .iter()
                    .map(|name| (name.parse::<HeaderName>().unwrap(), text.parse().unwrap()))
                    .collect()
            };
            let policy = VaryPolicy::default();
            prop_assert_eq!(vary.select(&map(&value), &policy), vary.select(&map(&value), &policy));
        }
    }
}
