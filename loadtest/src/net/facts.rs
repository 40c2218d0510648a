//! What an answer's head says of the way it took: from whose cache, how old, whose clock.
//!
//! Invariant: what a server writes is taken up to a limit, and what cannot be read says nothing.

use std::{net::IpAddr, time::Duration};

use http::{
    HeaderMap, HeaderName,
    header::{AGE, DATE, ETAG, RETRY_AFTER, VIA},
};

use super::Facts;

impl Facts {
    /// Reads a head that came from an address.
    pub(super) fn read(status: u16, headers: &HeaderMap, from: Option<IpAddr>) -> Self {
        let cache = last(headers, "cache-status").and_then(|value| CacheStatus::read(&value));
        let age = text(headers, &AGE).and_then(|value| value.trim().parse().ok());
        let via = || via(&last(headers, VIA.as_str())?);
        let (is_hit, name) = match cache {
            Some(cache) => (cache.is_hit, Some(cache.name)),
            None => (None, None),
        };
        Self {
            status: Some(status),
            is_hit: is_hit
                .or_else(|| x_cache(&last(headers, "x-cache")?))
                .or_else(|| age.map(|age| age > 0)),
            age,
            pop: name.or_else(via).or_else(|| from.map(|address| address.to_string())),
            date: text(headers, &DATE).and_then(unix_seconds),
            etag: text(headers, &ETAG).map(bounded),
            retry_after: retry_after(headers),
        }
    }
}

/// Seconds since 1970 of an HTTP date.
fn unix_seconds(date: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(date).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Seconds, or a date by the clock of whoever wrote it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?.trim();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let own = text(headers, &DATE).and_then(unix_seconds)?;
            u64::try_from(unix_seconds(value)? - own).ok()?
        }
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// One member of `Cache-Status`, RFC 9211 section 2.
struct CacheStatus {
    name: String,
    is_hit: Option<bool>,
}

impl CacheStatus {
    fn read(member: &str) -> Option<Self> {
        let mut parts = split(member, ';');
        let name = unquoted(parts.next()?.trim());
        if name.is_empty() {
            return None;
        }
        let (mut is_hit, mut is_forwarded) = (None, false);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, "?1"));
            match key.trim() {
                "hit" => is_hit = Some(value.trim() == "?1"),
                "fwd" => is_forwarded = true,
                _ => {}
            }
        }
        let is_hit = is_hit.or(is_forwarded.then_some(false));
        Some(Self { name: bounded(&name), is_hit })
    }
}

/// The last member of a field that is a list: the cache nearest to us.
fn last(headers: &HeaderMap, name: &str) -> Option<String> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let start = line.len().saturating_sub(LINE_MAX);
    let line = line.get(start..)?;
    split(line, ',').map(str::trim).rfind(|member| !member.is_empty()).map(str::to_owned)
}

/// `HIT from name`, `Hit from cloudfront`, `TCP_MISS`, `MISS, HIT`.
fn x_cache(member: &str) -> Option<bool> {
    let word = member.to_ascii_lowercase();
    match word {
        word if word.contains("hit") => Some(true),
        word if ["miss", "pass", "expired", "bypass"].iter().any(|no| word.contains(no)) => {
            Some(false)
        }
        _ => None,
    }
}

/// The name in `1.1 name (comment)`.
fn via(member: &str) -> Option<String> {
    member.split_whitespace().nth(1).map(bounded)
}

/// Parts between separators that stand outside quotes.
fn split(text: &str, separator: char) -> impl DoubleEndedIterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            letter if letter == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter()
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace('\\', ""),
        None => text.to_owned(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn bounded(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

/// Characters of a name or an entity tag that are kept.
const NAME_MAX: usize = 64;
/// A day: whoever names more means never, and no run lasts so long.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// What is read of a list, from its end.
const LINE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Facts {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Facts::read(200, &headers, Some(IpAddr::from([192, 0, 2, 1])))
    }

    #[test]
    fn the_nearest_cache_says_whether_it_was_a_hit() {
        for (value, is_hit, pop) in [
            ("edge-1; hit; ttl=30", Some(true), "edge-1"),
            ("origin; hit, edge-1; fwd=miss; stored", Some(false), "edge-1"),
            ("origin;fwd=uri-miss,\"edge, 2; x\";hit", Some(true), "edge, 2; x"),
            ("e; hit=?0", Some(false), "e"),
            ("e; fwd=stale; fwd-status=304; detail=\"hit; hit\"", Some(false), "e"),
            ("e", None, "e"),
            ("e;ttl=3, ", None, "e"),
            (", ,", None, "192.0.2.1"),
            ("\"e\\\"x\"; hit", Some(true), "e\"x"),
        ] {
            let facts = read(&[("cache-status", value)]);
            assert_eq!((facts.is_hit, facts.pop.as_deref()), (is_hit, Some(pop)), "{value}");
        }
    }

    #[test]
    fn without_it_older_headers_say_it() {
        for (lines, is_hit, pop) in [
            (&[("x-cache", "HIT"), ("age", "0")][..], Some(true), "192.0.2.1"),
            (&[("x-cache", "Miss from cloudfront"), ("age", "5")], Some(false), "192.0.2.1"),
            (&[("x-cache", "MISS, HIT")], Some(true), "192.0.2.1"),
            (&[("x-cache", "?"), ("age", "9")], Some(true), "192.0.2.1"),
            (&[("age", "0"), ("via", "1.1 far, 2 near (x)")], Some(false), "near"),
            (&[("age", "-1"), ("via", "1.1")], None, "192.0.2.1"),
            (&[("cache-status", "e"), ("age", "7")], Some(true), "e"),
        ] {
            let facts = read(lines);
            assert_eq!((facts.is_hit, facts.pop.as_deref()), (is_hit, Some(pop)), "{lines:?}");
        }
    }

    #[test]
    fn times_and_tags_are_read_within_limits() {
        let facts =
            read(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("age", "12"), ("etag", "\"abc\"")]);
        assert_eq!((facts.date, facts.age), (Some(784_111_777), Some(12)));
        assert_eq!(facts.etag.as_deref(), Some("\"abc\""));

        let long = HeaderValue::from_bytes(&[b'x'; 10_000]).unwrap();
        let mut headers = HeaderMap::new();
        for name in ["cache-status", "via", "etag", "age", "date"] {
            headers.insert(name, long.clone());
        }
        let facts = Facts::read(200, &headers, None);
        assert!(facts.pop.is_none_or(|pop| pop.len() <= NAME_MAX));
        assert_eq!(facts.etag.unwrap().len(), NAME_MAX);
        assert_eq!((facts.age, facts.date), (None, None));
    }
}
