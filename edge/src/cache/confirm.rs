//! Asking upstream whether a stored response still holds, and what the answer changes (RFC 9111 4.3).
//!
//! Pure. Invariant: a body is never described by headers of another representation, and two parts are put together
//! only when a strong validator says that they belong together.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{date, entity_tag::EntityTag, kept};

/// What a response to HEAD means for a stored response to GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHead {
    /// It still holds, with these headers.
    Update(HeaderMap),
    /// It is out of date.
    Outdated,
}

/// The conditions with which upstream is asked about a stored response; they take the place of the client's own.
/// `None` when it has no validator. Only for stored responses with a 2xx status (RFC 9110 13.2.1).
#[must_use]
pub fn question(stored: &HeaderMap) -> Option<[Option<(HeaderName, HeaderValue)>; 2]> {
    let tag = stored.get(header::ETAG).map(|tag| (header::IF_NONE_MATCH, tag.clone()));
    let changed = stored.get(header::LAST_MODIFIED);
    let changed = changed.map(|date| (header::IF_MODIFIED_SINCE, date.clone()));
    (tag.is_some() || changed.is_some()).then_some([tag, changed])
}

/// Whether a 304 speaks of the stored response (RFC 9111 4.3.4).
#[must_use]
pub fn does_confirm(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let (ours, theirs) = (tag(stored), tag(not_modified));
    match (ours, theirs) {
        (_, Some(theirs)) if theirs.is_strong() => {
            ours.is_some_and(|ours| ours.is_strongly(&theirs))
        }
        (Some(ours), Some(theirs)) => ours.is_weakly(&theirs),
        // Nothing but a date, or nothing at all: it answers our question, which named one response.
        _ => has_same_date(stored, not_modified).unwrap_or(true),
    }
}

/// The stored headers as a 304 updates them (RFC 9111 3.2). Those that say how the stored body is encoded, how long it
/// is and which request it is for stay as they are.
#[must_use]
pub fn merge(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let update = kept::kept(not_modified);
    let mut headers = stored.clone();
    for name in kept::withheld(not_modified).keys() {
        headers.remove(name);
    }
    // These tell when the stored response was made; the confirmed one was made now.
    for name in [header::AGE, header::DATE] {
        headers.remove(name);
    }
    for name in update.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        headers.remove(name);
        for value in update.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// What a HEAD response with the status of the stored one says of it (RFC 9111 4.3.5). `length` is that of the stored
/// body where the stored headers have none.
#[must_use]
pub fn by_head(stored: &HeaderMap, length: Option<u64>, head: &HeaderMap) -> ByHead {
    let is_same_tag = match (tag(stored), tag(head)) {
        (Some(ours), Some(theirs)) => ours.is_weakly(&theirs),
        (None, Some(_)) => false,
        (_, None) => true,
    };
    let is_same_date =
        has_same_date(stored, head).unwrap_or(!head.contains_key(header::LAST_MODIFIED));
    let number = |map: &HeaderMap| map.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let ours = length.or_else(|| number(stored));
    let is_same_length = match (ours, number(head)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    if is_same_tag && is_same_date && is_same_length {
        ByHead::Update(merge(stored, head))
    } else {
        ByHead::Outdated
    }
}

/// The validator under which parts of one representation are kept together: a strong entity tag, else a
/// `Last-Modified` that is strong (RFC 9110 8.8.2.2). `None` when parts may not be put together.
#[must_use]
pub fn strong_validator(headers: &HeaderMap) -> Option<&HeaderValue> {
    match headers.get(header::ETAG) {
        Some(tag) => EntityTag::read(tag.as_bytes()).is_strong().then_some(tag),
        None => is_date_strong(headers).then(|| headers.get(header::LAST_MODIFIED)).flatten(),
    }
}

/// Whether two parts are of one representation (RFC 9110 15.3.7.3).
#[must_use]
pub fn may_combine(one: &HeaderMap, other: &HeaderMap) -> bool {
    match (strong_validator(one), strong_validator(other)) {
        (Some(a), Some(b)) => {
            one.contains_key(header::ETAG) == other.contains_key(header::ETAG)
                && EntityTag::read(a.as_bytes()).is_strongly(&EntityTag::read(b.as_bytes()))
        }
        _ => false,
    }
}

/// Whether `Last-Modified` cannot stand for two representations: the response was made at least a second later.
pub(super) fn is_date_strong(headers: &HeaderMap) -> bool {
    let of = |name| date::of(headers, &name);
    match (of(header::LAST_MODIFIED), of(header::DATE)) {
        (Some(changed), Some(made)) => made.duration_since(changed).is_ok_and(|d| d.as_secs() >= 1),
        _ => false,
    }
}

fn tag(headers: &HeaderMap) -> Option<EntityTag<'_>> {
    headers.get(header::ETAG).map(|tag| EntityTag::read(tag.as_bytes()))
}

/// Whether both were changed last at the same time; `None` where one does not say.
fn has_same_date(one: &HeaderMap, other: &HeaderMap) -> Option<bool> {
    let (a, b) = (one.get(header::LAST_MODIFIED)?, other.get(header::LAST_MODIFIED)?);
    Some(a == b || date::parse(a.as_bytes()).is_some_and(|a| date::parse(b.as_bytes()) == Some(a)))
}

const OF_THE_BODY: &[HeaderName] =
    &[header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE, header::VARY];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::testing::{date, headers};

    #[test]
    fn upstream_is_asked_with_the_stored_validators() {
        let both = headers(&[("etag", "W/\"a\""), ("last-modified", "x")]);
        let [tag, changed] = question(&both).unwrap();
        assert_eq!(tag.unwrap(), (header::IF_NONE_MATCH, "W/\"a\"".parse().unwrap()));
        assert_eq!(changed.unwrap(), (header::IF_MODIFIED_SINCE, "x".parse().unwrap()));
        assert!(question(&headers(&[("date", "x")])).is_none());
    }

    #[test]
    fn a_304_confirms_only_what_it_names() {
        let (old, new) = (date(0), date(60));
        for (stored, answer, expected) in [
            (vec![("etag", "\"a\"")], vec![("etag", "\"a\"")], true),
            (vec![("etag", "\"a\"")], vec![("etag", "\"b\"")], false),
            (vec![("etag", "W/\"a\"")], vec![("etag", "\"a\"")], false),
            (vec![("etag", "W/\"a\"")], vec![("etag", "W/\"a\"")], true),
            (vec![("etag", "\"a\"")], vec![("etag", "W/\"a\"")], true),
            (vec![("etag", "\"a\"")], vec![], true),
            (vec![], vec![("etag", "\"a\"")], false),
            (vec![("last-modified", &*old)], vec![("last-modified", &*old)], true),
            (vec![("last-modified", &*old)], vec![("last-modified", &*new)], false),
            (vec![("last-modified", &*old)], vec![], true),
        ] {
            assert_eq!(
                does_confirm(&headers(&stored), &headers(&answer)),
                expected,
                "{stored:?} {answer:?}"
            );
        }
    }

    #[test]
    fn a_confirmation_replaces_headers_but_not_those_of_the_body() {
        let stored = headers(&[
            ("cache-control", "max-age=1"),
            ("age", "7"),
            ("date", "then"),
            ("content-length", "9"),
            ("content-type", "text/plain"),
            ("content-encoding", "br"),
            ("x-kept", "1"),
        ]);
        let confirmation = headers(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("cache-control", "max-age=2"),
            ("content-length", "0"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("surrogate-key", "a"),
            ("surrogate-key", "b"),
        ]);
        let merged = merge(&stored, &confirmation);
        for (name, value) in [
            ("cache-control", "max-age=2"),
            ("content-length", "9"),
            ("content-encoding", "br"),
            ("content-type", "text/html"),
            ("x-kept", "1"),
        ] {
            assert_eq!(merged[name], value);
        }
        for name in ["age", "date", "x-hop", "connection"] {
            assert!(!merged.contains_key(name), "{name}");
        }
        assert_eq!(merged.get_all("surrogate-key").iter().count(), 2);
    }

    #[test]
    fn a_head_updates_what_it_matches_and_outdates_the_rest() {
        let stored = headers(&[("etag", "\"a\""), ("content-length", "9"), ("x-a", "1")]);
        let update = by_head(&stored, None, &headers(&[("content-length", "9"), ("x-a", "2")]));
        let ByHead::Update(update) = update else { panic!("{update:?}") };
        assert_eq!(
            (&update["x-a"], &update["etag"]),
            (&"2".parse().unwrap(), &"\"a\"".parse().unwrap())
        );
        for outdated in
            [vec![("etag", "\"b\"")], vec![("content-length", "8")], vec![("last-modified", "x")]]
        {
            assert_eq!(
                by_head(&stored, None, &headers(&outdated)),
                ByHead::Outdated,
                "{outdated:?}"
            );
        }
        let chunked = headers(&[("etag", "\"a\"")]);
        let other = headers(&[("content-length", "8")]);
        assert_eq!(by_head(&chunked, Some(9), &other), ByHead::Outdated);
    }

    #[test]
    fn parts_belong_together_under_a_strong_validator_alone() {
        let (changed, soon, later) = (date(0), date(0), date(1));
        for (pairs, expected) in [
            (vec![("etag", "\"a\"")], true),
            (vec![("etag", "W/\"a\""), ("last-modified", &*changed), ("date", &*later)], false),
            (vec![("last-modified", &*changed), ("date", &*later)], true),
            (vec![("last-modified", &*changed), ("date", &*soon)], false),
            (vec![("last-modified", &*changed)], false),
            (vec![], false),
        ] {
            let map = headers(&pairs);
            assert_eq!(strong_validator(&map).is_some(), expected, "{pairs:?}");
            assert_eq!(may_combine(&map, &map), expected, "{pairs:?}");
        }
        let (a, b) = (headers(&[("etag", "\"a\"")]), headers(&[("etag", "\"b\"")]));
        assert!(!may_combine(&a, &b));
    }

    proptest! {
        #[test]
        fn a_merge_keeps_what_describes_the_body(
            length in 0_u64..1000, other in 0_u64..1000, names in proptest::collection::vec("x-[a-c]", 0..4),
        ) {
            let (length, other) = (length.to_string(), other.to_string());
            let stored = headers(&[("content-length", &length), ("content-encoding", "br"), ("vary", "a")]);
            let mut answer = vec![("content-length", other.as_str()), ("content-encoding", "x"), ("vary", "b")];
            answer.extend(names.iter().map(|name| (name.as_str(), "1")));
            let merged = merge(&stored, &headers(&answer));
            for name in OF_THE_BODY {
                prop_assert_eq!(merged.get(name), stored.get(name));
            }
            for name in &names {
                prop_assert!(merged.contains_key(name));
            }
            prop_assert_eq!(merge(&merged, &headers(&answer)), merged);
        }
    }
}
