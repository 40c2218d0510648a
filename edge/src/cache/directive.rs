//! Reading `Cache-Control`: names and arguments, as RFC 9111 section 5.2 has them.
//!
//! Unknown directives are passed over. Invariant: what cannot be read never makes a response fresher.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The directives of a response or request that this cache acts on. Where a directive occurs twice, the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, with or without field names.
    pub no_cache: bool,
    /// `private`, with or without field names.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate` or `proxy-revalidate`.
    pub must_revalidate: bool,
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
}

impl Directives {
    /// Reads every `Cache-Control` line.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for value in headers.get_all(http::header::CACHE_CONTROL) {
            for item in items(value.as_bytes()) {
                directives.take(item);
            }
        }
        directives
    }

    fn take(&mut self, item: &[u8]) {
        let (name, argument) = match item.iter().position(|b| *b == b'=') {
            Some(at) => (&item[..at], Some(&item[at + 1..])),
            None => (item, None),
        };
        let name = name.trim_ascii().to_ascii_lowercase();
        match name.as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
            b"immutable" => self.immutable = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => first(&mut self.max_age, argument),
            b"s-maxage" => first(&mut self.s_maxage, argument),
            b"stale-while-revalidate" => first(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => first(&mut self.stale_if_error, argument),
            _ => {}
        }
    }
}

/// A header of whole seconds, such as `Age`; `None` when it is absent or cannot be read.
#[must_use]
pub fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    parse_seconds(headers.get(name)?.as_bytes())
}

/// Seconds as digits, capped at [`SECONDS_MAX`].
fn parse_seconds(text: &[u8]) -> Option<Duration> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than a u64 holds are more than the cap as well.
    let seconds = std::str::from_utf8(text).ok()?.parse().unwrap_or(SECONDS_MAX);
    Some(Duration::from_secs(seconds.min(SECONDS_MAX)))
}

fn first(slot: &mut Option<Duration>, argument: Option<&[u8]>) {
    let unquoted = |text: &[u8]| {
        let text = text.trim_ascii();
        text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(text).to_vec()
    };
    slot.get_or_insert_with(|| {
        argument.and_then(|text| parse_seconds(&unquoted(text))).unwrap_or_default()
    });
}

/// The items of a comma-separated list; commas inside quotes do not separate.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    value.split(move |b| {
        is_quoted ^= *b == b'"';
        *b == b',' && !is_quoted
    })
}

/// The most seconds that a directive can say (RFC 9111 section 1.2.2): about 68 years.
const SECONDS_MAX: u64 = 1 << 31;

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
    fn a_comma_in_quotes_belongs_to_the_argument() {
        let directives = read(&["no-cache=\"a, no-store\", max-age=1"]);
        assert!(directives.no_cache && !directives.no_store);
        assert_eq!(directives.max_age, secs(1));
    }

    #[test]
    fn ages_that_cannot_be_read_are_zero_and_the_first_one_counts() {
        for (text, expected) in [
            ("max-age=abc", secs(0)),
            ("max-age", secs(0)),
            ("max-age=-1", secs(0)),
            ("max-age=1.5", secs(0)),
            ("max-age=5, max-age=9", secs(5)),
            ("max-age=99999999999999999999999", secs(SECONDS_MAX)),
        ] {
            assert_eq!(read(&[text]).max_age, expected, "{text}");
        }
    }
}
