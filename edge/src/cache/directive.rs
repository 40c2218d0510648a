//! Reading `Cache-Control`: names and arguments, as RFC 9111 section 5.2 has them.
//!
//! Unknown directives are passed over. Without allocation. Invariant: what cannot be read never makes a response
//! fresher.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::list::members;

/// The directives of a response or request that this cache acts on. Where a directive occurs twice, the first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Directives {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache` for the whole response.
    pub no_cache: bool,
    /// `private` for the whole response.
    pub private: bool,
    /// `no-cache` or `private` for some fields alone.
    pub withholds_fields: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `only-if-cached`, in requests.
    pub only_if_cached: bool,
    /// `max-age`; an argument that cannot be read is zero.
    pub max_age: Option<Duration>,
    /// `s-maxage`; an argument that cannot be read is zero.
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861).
    pub stale_if_error: Option<Duration>,
    /// `min-fresh`, in requests.
    pub min_fresh: Option<Duration>,
    /// `max-stale`, in requests; without argument it is as long as can be.
    pub max_stale: Option<Duration>,
}

/// A directive that this cache knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    NoStore,
    NoCache,
    Private,
    Public,
    MustRevalidate,
    ProxyRevalidate,
    MustUnderstand,
    Immutable,
    OnlyIfCached,
    MaxAge,
    SMaxage,
    StaleWhileRevalidate,
    StaleIfError,
    MinFresh,
    MaxStale,
}

impl Directives {
    /// Reads every `Cache-Control` line.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for value in headers.get_all(http::header::CACHE_CONTROL) {
            for member in members(value.as_bytes()) {
                if member.is_open {
                    directives.take_broken(member.text);
                } else {
                    directives.take(member.text);
                }
            }
        }
        directives
    }

    /// Takes one directive as it is written.
    pub(super) fn take(&mut self, item: &[u8]) {
        let (name, argument) = split(item);
        let Some(name) = Name::of(name) else { return };
        if let Some(slot) = self.duration(name) {
            let all = (name == Name::MaxStale && argument.is_none())
                .then_some(Duration::from_secs(SECONDS_MAX));
            slot.get_or_insert(all.or_else(|| parse_seconds(argument?)).unwrap_or_default());
        } else {
            let is_of_fields = argument.is_some_and(|list| fields(list).next().is_some());
            self.set(name, is_of_fields);
        }
    }

    /// A quote without end: whatever in it could forbid something does so, nothing in it allows anything.
    fn take_broken(&mut self, text: &[u8]) {
        self.no_cache = true;
        for item in text.split(|byte| *byte == b',' || *byte == b'"') {
            match Name::of(split(item.trim_ascii()).0) {
                Some(Name::Public | Name::Immutable | Name::OnlyIfCached) | None => {}
                Some(name) => self.set(name, false),
            }
        }
    }

    pub(super) fn set(&mut self, name: Name, is_of_fields: bool) {
        match name {
            Name::NoCache | Name::Private if is_of_fields => self.withholds_fields = true,
            Name::NoStore => self.no_store = true,
            Name::NoCache => self.no_cache = true,
            Name::Private => self.private = true,
            Name::Public => self.public = true,
            Name::MustRevalidate => self.must_revalidate = true,
            Name::ProxyRevalidate => self.proxy_revalidate = true,
            Name::MustUnderstand => self.must_understand = true,
            Name::Immutable => self.immutable = true,
            Name::OnlyIfCached => self.only_if_cached = true,
            Name::MaxAge
            | Name::SMaxage
            | Name::StaleWhileRevalidate
            | Name::StaleIfError
            | Name::MinFresh
            | Name::MaxStale => {}
        }
    }

    /// Where the argument of a directive that takes seconds is kept.
    pub(super) fn duration(&mut self, name: Name) -> Option<&mut Option<Duration>> {
        match name {
            Name::MaxAge => Some(&mut self.max_age),
            Name::SMaxage => Some(&mut self.s_maxage),
            Name::StaleWhileRevalidate => Some(&mut self.stale_while_revalidate),
            Name::StaleIfError => Some(&mut self.stale_if_error),
            Name::MinFresh => Some(&mut self.min_fresh),
            Name::MaxStale => Some(&mut self.max_stale),
            _ => None,
        }
    }
}

impl Name {
    /// The directive of this name, whatever its case.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let known = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map(|(_, name)| *name)
    }
}

/// The first member of a header of whole seconds, such as `Age` (RFC 9111 5.1); `None` when it is absent or cannot
/// be read.
#[must_use]
pub fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    parse_seconds(members(headers.get(name)?.as_bytes()).next()?.text)
}

/// Seconds as digits, capped at [`SECONDS_MAX`].
pub(super) fn parse_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let seconds = text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })?;
    Some(Duration::from_secs(seconds.min(SECONDS_MAX)))
}

/// The field names in the argument of `no-cache` or `private`.
pub(super) fn fields(list: &[u8]) -> impl Iterator<Item = HeaderName> {
    list.split(|byte| *byte == b',')
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// Name and argument, without its quotes. Space around `=` is no part of the syntax: such an argument cannot be read.
pub(super) fn split(item: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = item.iter().position(|byte| *byte == b'=') else { return (item, None) };
    let (name, argument) = (&item[..at], &item[at + 1..]);
    let bare = name.trim_ascii_end();
    if bare.len() != name.len() {
        return (bare, Some(b""));
    }
    let unquoted = argument.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    (name, Some(unquoted.unwrap_or(argument)))
}

const NAMES: [(&[u8], Name); 15] = [
    (b"max-age", Name::MaxAge),
    (b"public", Name::Public),
    (b"immutable", Name::Immutable),
    (b"s-maxage", Name::SMaxage),
    (b"stale-while-revalidate", Name::StaleWhileRevalidate),
    (b"stale-if-error", Name::StaleIfError),
    (b"no-cache", Name::NoCache),
    (b"no-store", Name::NoStore),
    (b"private", Name::Private),
    (b"must-revalidate", Name::MustRevalidate),
    (b"proxy-revalidate", Name::ProxyRevalidate),
    (b"must-understand", Name::MustUnderstand),
    (b"only-if-cached", Name::OnlyIfCached),
    (b"min-fresh", Name::MinFresh),
    (b"max-stale", Name::MaxStale),
];

/// The most seconds that a directive can say (RFC 9111 section 1.2.2): about 68 years.
pub(super) const SECONDS_MAX: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(http::header::CACHE_CONTROL, line.parse().unwrap());
        }
        Directives::read(&headers)
    }

    fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn names_have_no_case_and_lines_add_up() {
        let directives = read(&["PUBLIC, Max-Age=60", "s-maxage=\"30\" , immutable,x=y"]);
        let expected = Directives {
            public: true,
            immutable: true,
            max_age: secs(60),
            s_maxage: secs(30),
            ..Directives::default()
        };
        assert_eq!(directives, expected);
    }

    #[test]
    fn fields_may_be_named_and_a_comma_in_quotes_belongs_to_the_argument() {
        let directives = read(&["no-cache=\"a, no-store\", max-age=1"]);
        assert!(directives.withholds_fields && !directives.no_cache && !directives.no_store);
        assert_eq!(directives.max_age, secs(1));
        assert!(read(&["private=a"]).withholds_fields);
        for whole in ["no-cache", "no-cache=\"\"", "no-cache=\" , \"", "no-cache=a, no-cache"] {
            assert!(read(&[whole]).no_cache, "{whole}");
        }
    }

    #[test]
    fn a_quote_without_end_allows_nothing_and_forbids_what_is_in_it() {
        let directives = read(&["public, x=\"max-age=60, no-store, immutable"]);
        let expected =
            Directives { public: true, no_store: true, no_cache: true, ..Directives::default() };
        assert_eq!(directives, expected);
        assert_eq!(read(&["x=\"a\\\", max-age=9\", max-age=1"]).max_age, secs(1));
    }

    #[test]
    fn ages_that_cannot_be_read_are_zero_and_the_first_one_counts() {
        for (text, expected) in [
            ("max-age=abc", secs(0)),
            ("max-age", secs(0)),
            ("max-age=-1", secs(0)),
            ("max-age=1.5", secs(0)),
            ("max-age='60'", secs(0)),
            ("max-age =60", secs(0)),
            ("max-age= 60", secs(0)),
            ("max-age=0060", secs(60)),
            ("max-age=5, max-age=9", secs(5)),
            ("max-age=99999999999999999999999", secs(SECONDS_MAX)),
            ("x=\"max-age=60\"", None),
        ] {
            assert_eq!(read(&[text]).max_age, expected, "{text}");
        }
        assert_eq!(read(&["max-stale"]).max_stale, secs(SECONDS_MAX));
        assert_eq!(read(&["max-stale=x"]).max_stale, secs(0));
    }

    #[test]
    fn of_an_age_the_first_member_counts() {
        for (lines, expected) in [
            (vec!["7200"], secs(7200)),
            (vec!["7200, 0"], secs(7200)),
            (vec!["0, 7200"], secs(0)),
            (vec!["7200", "0"], secs(7200)),
            (vec!["abc"], None),
            (vec!["-1"], None),
            (vec!["7200.0"], None),
            (vec!["1;a=b"], None),
            (vec!["2147483649"], secs(SECONDS_MAX)),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(http::header::AGE, line.parse().unwrap());
            }
            assert_eq!(seconds(&headers, &http::header::AGE), expected, "{lines:?}");
        }
    }
}
