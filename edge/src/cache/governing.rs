//! Which header governs this cache: `CDN-Cache-Control` (RFC 9213), else `Surrogate-Control`, else `Cache-Control`.
//!
//! The first that is valid and says something counts alone; what stands in the others is for somebody else, except
//! that `Cache-Control: private` also holds against `Surrogate-Control`, which no standard defines. Invariant: a
//! header that cannot be read governs nothing.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    directive::{Directives, Name, SECONDS_MAX, fields, parse_seconds, split},
    list::members,
    structured::{Bare, Item, Value, dictionary},
};

/// Where the directives stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `CDN-Cache-Control`.
    CdnCacheControl,
    /// `Surrogate-Control`.
    SurrogateControl,
    /// `Cache-Control`, or nowhere.
    CacheControl,
}

/// The directives that count for this cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Governing {
    /// What they say.
    pub directives: Directives,
    /// Where they stood.
    pub source: Source,
}

impl Governing {
    /// Finds them in a response.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        if let Some(directives) = cdn_cache_control(headers) {
            return Self { directives, source: Source::CdnCacheControl };
        }
        let plain = Directives::read(headers);
        match surrogate_control(headers) {
            Some(mut directives) => {
                directives.private |= plain.private;
                Self { directives, source: Source::SurrogateControl }
            }
            None => Self { directives: plain, source: Source::CacheControl },
        }
    }

    /// Whether the response itself says how long it is fresh. Where a targeted header governs, `Expires` does not count
    /// (RFC 9213 2.2).
    #[must_use]
    pub fn is_explicit(&self, headers: &HeaderMap) -> bool {
        let Self { directives, source } = self;
        directives.s_maxage.is_some()
            || directives.max_age.is_some()
            || (*source == Source::CacheControl && headers.contains_key(http::header::EXPIRES))
    }
}

/// Hands out the names of the fields that the governing header withholds from reuse (`no-cache="a"`, `private="a"`).
pub fn withheld(headers: &HeaderMap, mut each: impl FnMut(HeaderName)) {
    let governing = Governing::of(headers);
    if !governing.directives.withholds_fields {
        return;
    }
    let is_list = |name: &[u8]| matches!(Name::of(name), Some(Name::NoCache | Name::Private));
    match governing.source {
        Source::CdnCacheControl => {
            for line in headers.get_all(CDN_CACHE_CONTROL) {
                // It was read when it was found to govern.
                for (name, value) in dictionary(line.as_bytes(), MEMBERS_MAX).unwrap_or_default() {
                    if let Value::Item(Item { bare: Bare::Text(list), .. }) = value
                        && is_list(name.as_bytes())
                    {
                        fields(list.as_bytes()).for_each(&mut each);
                    }
                }
            }
        }
        Source::SurrogateControl | Source::CacheControl => {
            let name = match governing.source {
                Source::SurrogateControl => SURROGATE_CONTROL,
                _ => http::header::CACHE_CONTROL,
            };
            for member in headers.get_all(name).iter().flat_map(|line| members(line.as_bytes())) {
                if let (name, Some(list)) = split(member.text)
                    && is_list(name)
                {
                    fields(list).for_each(&mut each);
                }
            }
        }
    }
}

/// RFC 9213 2.1 and 2.2: a dictionary; `None` when it is absent, empty or invalid.
fn cdn_cache_control(headers: &HeaderMap) -> Option<Directives> {
    let mut directives = Directives::default();
    let (mut members, mut is_valid) = (0, true);
    for line in headers.get_all(CDN_CACHE_CONTROL) {
        let Ok(read) = dictionary(line.as_bytes(), MEMBERS_MAX) else { return None };
        for (name, value) in read {
            members += 1;
            is_valid &= take_member(&mut directives, name.as_bytes(), &value);
        }
    }
    (members > 0 && is_valid).then_some(directives)
}

/// Takes one member; false when its type is not that of the directive.
fn take_member(directives: &mut Directives, key: &[u8], value: &Value<'_>) -> bool {
    let Some(name) = Name::of(key) else { return true };
    // `None` for a list.
    let bare = match value {
        Value::Item(item) => Some(&item.bare),
        Value::List(_) => None,
    };
    if let Some(slot) = directives.duration(name) {
        let Some(Bare::Integer(seconds)) = bare else { return false };
        // Of two members with one name the later one counts, unlike in Cache-Control.
        let seconds = u64::try_from(*seconds).unwrap_or_default().min(SECONDS_MAX);
        *slot = Some(Duration::from_secs(seconds));
        return true;
    }
    match bare {
        Some(Bare::Boolean(true)) => directives.set(name, false),
        Some(Bare::Boolean(false)) => {}
        Some(Bare::Text(list)) if matches!(name, Name::NoCache | Name::Private) => {
            directives.set(name, fields(list.as_bytes()).next().is_some());
        }
        // Nobody has said what these mean; whoever writes them wants to forbid something.
        Some(Bare::Token(_)) | None if matches!(name, Name::NoCache | Name::Private) => {
            directives.set(name, false);
        }
        _ => return false,
    }
    true
}

/// As surrogates read it: directives as in `Cache-Control`; `max-age=30+60` grants 60 s in which it may be served
/// stale; what is addressed to one surrogate (`;name`) is not for this one. `None` when it says nothing of storing,
/// as when it only announces `content`.
fn surrogate_control(headers: &HeaderMap) -> Option<Directives> {
    let mut directives = Directives::default();
    let mut says_something = false;
    let lines = headers.get_all(SURROGATE_CONTROL).iter().map(HeaderValue::as_bytes);
    for member in lines.flat_map(members) {
        if member.is_open || is_addressed(member.text) {
            continue;
        }
        let (name, argument) = split(member.text);
        says_something |= is_of_storing(name);
        if name.eq_ignore_ascii_case(b"no-store-remote") {
            directives.no_store = true;
        } else if let Some((lifetime, window)) = argument.and_then(with_window) {
            if Name::of(name) == Some(Name::MaxAge) && directives.max_age.is_none() {
                directives.max_age = Some(lifetime);
                directives.stale_while_revalidate.get_or_insert(window);
            }
        } else {
            directives.take(member.text);
        }
    }
    says_something.then_some(directives)
}

fn is_addressed(text: &[u8]) -> bool {
    let mut is_quoted = false;
    text.iter().any(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b';' && !is_quoted
    })
}

fn is_of_storing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"no-store-remote")
        || matches!(
            Name::of(name),
            Some(Name::MaxAge | Name::SMaxage | Name::NoStore | Name::NoCache | Name::Private)
        )
}

/// `30+60`
fn with_window(argument: &[u8]) -> Option<(Duration, Duration)> {
    let plus = argument.iter().position(|byte| *byte == b'+')?;
    Some((parse_seconds(&argument[..plus])?, parse_seconds(&argument[plus + 1..])?))
}

/// For the caches of content delivery networks (RFC 9213 3.1).
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// For surrogates alone; it is not passed on to clients.
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// As many as every reader of dictionaries takes (RFC 9651 3.2).
const MEMBERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn the_most_targeted_valid_header_counts_alone() {
        let cdn = ("cdn-cache-control", "max-age=3");
        let surrogate = ("surrogate-control", "max-age=2");
        let plain = ("cache-control", "max-age=1, no-store");
        for (pairs, source, max_age) in [
            (vec![cdn, surrogate, plain], Source::CdnCacheControl, 3),
            (vec![surrogate, plain], Source::SurrogateControl, 2),
            (vec![plain], Source::CacheControl, 1),
            (vec![("cdn-cache-control", ""), surrogate], Source::SurrogateControl, 2),
            (vec![("cdn-cache-control", "max-age=3, &&"), plain], Source::CacheControl, 1),
            (vec![("cdn-cache-control", "max-age=\"3\""), plain], Source::CacheControl, 1),
            (vec![("cdn-cache-control", "max-age=3, no-store=1"), plain], Source::CacheControl, 1),
            (vec![("surrogate-control", "content=\"ESI/1.0\""), plain], Source::CacheControl, 1),
            (vec![("surrogate-control", "max-age=9;other"), plain], Source::CacheControl, 1),
        ] {
            let governing = Governing::of(&headers(&pairs));
            assert_eq!(governing.source, source, "{pairs:?}");
            assert_eq!(governing.directives.max_age, secs(max_age), "{pairs:?}");
            let is_plain = source == Source::CacheControl;
            assert_eq!(governing.directives.no_store, is_plain, "{pairs:?}");
        }
    }

    #[test]
    fn a_dictionary_says_what_its_types_allow() {
        let read = |text| Governing::of(&headers(&[("cdn-cache-control", text)])).directives;
        assert_eq!(read("max-age=1, max-age=99999999999").max_age, secs(SECONDS_MAX));
        assert_eq!(read("max-age=-1").max_age, secs(0));
        assert!(read("foo").max_age.is_none());
        assert!(!read("no-store=?0").no_store && read("no-store").no_store);
        assert!(read("private=\"set-cookie\"").withholds_fields);
        assert!(read("private=(a b)").private && read("no-cache=a").no_cache);
        let two_lines = [("cdn-cache-control", "max-age=1"), ("cdn-cache-control", "no-cache")];
        assert!(Governing::of(&headers(&two_lines)).directives.no_cache);
    }

    #[test]
    fn surrogates_have_their_own_habits() {
        let read = |text| Governing::of(&headers(&[("surrogate-control", text)])).directives;
        let both = read("max-age=30+60, content=\"ESI/1.0\"");
        assert_eq!((both.max_age, both.stale_while_revalidate), (secs(30), secs(60)));
        assert!(read("no-store-remote").no_store);
        assert_eq!(read("max-age=1, stale-if-error=9").stale_if_error, secs(9));
        let private = headers(&[("surrogate-control", "max-age=9"), ("cache-control", "private")]);
        assert!(Governing::of(&private).directives.private);
    }

    #[test]
    fn withheld_fields_stand_in_the_header_that_governs() {
        for (pairs, expected) in [
            (
                vec![("cache-control", "no-cache=\"A, b\", private=c, max-age=1")],
                vec!["a", "b", "c"],
            ),
            (vec![("cache-control", "no-cache=\"a\""), ("cdn-cache-control", "max-age=1")], vec![]),
            (vec![("cdn-cache-control", "max-age=1, private=\"x-a\"")], vec!["x-a"]),
            (vec![("surrogate-control", "max-age=1, private=\"x-a\"")], vec!["x-a"]),
            (vec![("cache-control", "no-cache=\"a b\"")], vec![]),
        ] {
            let mut names = Vec::new();
            withheld(&headers(&pairs), |name| names.push(name.to_string()));
            assert_eq!(names, expected, "{pairs:?}");
        }
    }
}
