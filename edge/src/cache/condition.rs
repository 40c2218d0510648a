//! Conditions of a request against a stored response (RFC 9110 section 13, RFC 9111 4.3.2).
//!
//! `If-Range` stands in `range`. Pure. Invariant: the order of RFC 9110 13.2.2: `If-Match` before
//! `If-Unmodified-Since`, `If-None-Match` before `If-Modified-Since`.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{
    date,
    entity_tag::{EntityTag, list},
};

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing stands against an answer.
    Go,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates the conditions of a request.
#[must_use]
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
) -> Condition {
    if !status.is_success() {
        return Condition::Go; // conditions count only for what succeeds (13.2.1)
    }
    let is_read = method == Method::GET || method == Method::HEAD;
    if !is_wanted_version(request, stored) {
        return Condition::Failed;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        let is_known = matches(request, &header::IF_NONE_MATCH, stored, |a, b| a.is_weakly(b));
        return match (is_known, is_read) {
            (false, _) => Condition::Go,
            (true, true) => Condition::NotModified,
            (true, false) => Condition::Failed,
        };
    }
    let since = is_read.then(|| single_date(request, &header::IF_MODIFIED_SINCE)).flatten();
    let Some(since) = since else { return Condition::Go };
    match changed_at(stored) {
        Some(changed) if changed <= since => Condition::NotModified,
        _ => Condition::Go,
    }
}

/// `If-Match`, else `If-Unmodified-Since`.
fn is_wanted_version(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(header::IF_MATCH) {
        return matches(request, &header::IF_MATCH, stored, |a, b| a.is_strongly(b));
    }
    let since = single_date(request, &header::IF_UNMODIFIED_SINCE);
    let Some(since) = since else { return true };
    // Without a date of its own there is nothing that the condition could be true of.
    date::of(stored, &header::LAST_MODIFIED).is_some_and(|changed| changed <= since)
}

/// Whether a list of tags names the stored one, or anything at all (`*`).
fn matches(
    request: &HeaderMap,
    name: &HeaderName,
    stored: &HeaderMap,
    is_same: impl Fn(&EntityTag<'_>, &EntityTag<'_>) -> bool,
) -> bool {
    let ours = stored.get(header::ETAG).map(|tag| EntityTag::read(tag.as_bytes()));
    let mut lines = request.get_all(name).iter().map(HeaderValue::as_bytes);
    lines.any(|line| {
        line.trim_ascii() == b"*"
            || ours.is_some_and(|ours| list(line).any(|theirs| is_same(&ours, &theirs)))
    })
}

/// When the stored response was changed last; where it does not say, it was made then (RFC 9111 4.3.2).
fn changed_at(stored: &HeaderMap) -> Option<SystemTime> {
    match stored.get(header::LAST_MODIFIED) {
        Some(value) => date::parse(value.as_bytes()),
        None => date::of(stored, &header::DATE),
    }
}

/// A date that stands there once; another one is ignored.
fn single_date(request: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = request.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    date::parse(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::{date, headers};

    fn check(method: &Method, request: &[(&str, &str)], stored: &[(&str, &str)]) -> Condition {
        evaluate(method, &headers(request), StatusCode::OK, &headers(stored))
    }

    #[test]
    fn tags_are_compared_weakly_for_reading_and_strongly_for_writing() {
        use Condition::{Failed, Go, NotModified};
        for (name, value, etag, expected) in [
            ("if-none-match", "\"a\"", "\"a\"", NotModified),
            ("if-none-match", "W/\"a\"", "\"a\"", NotModified),
            ("if-none-match", "\"a\"", "W/\"a\"", NotModified),
            ("if-none-match", "\"1\", \"2\", \"a\"", "\"a\"", NotModified),
            ("if-none-match", "\"1,a\"", "\"a\"", Go),
            ("if-none-match", "*", "\"a\"", NotModified),
            ("if-none-match", "\"b\"", "\"a\"", Go),
            ("if-none-match", "", "\"a\"", Go),
            ("if-match", "\"a\"", "\"a\"", Go),
            ("if-match", "*", "\"a\"", Go),
            ("if-match", "W/\"a\"", "\"a\"", Failed),
            ("if-match", "\"a\"", "W/\"a\"", Failed),
            ("if-match", "\"b\"", "\"a\"", Failed),
        ] {
            let outcome = check(&Method::GET, &[(name, value)], &[("etag", etag)]);
            assert_eq!(outcome, expected, "{name}: {value} against {etag}");
        }
        let put = check(&Method::PUT, &[("if-none-match", "*")], &[("etag", "\"a\"")]);
        assert_eq!(put, Failed);
        let two_lines = [("if-none-match", "\"b\""), ("if-none-match", "\"a\"")];
        assert_eq!(check(&Method::HEAD, &two_lines, &[("etag", "\"a\"")]), NotModified);
    }

    #[test]
    fn dates_count_where_no_tag_is_asked_for() {
        use Condition::{Failed, Go, NotModified};
        let (old, now, new) = (date(-60), date(0), date(60));
        let stored = [("last-modified", &*now), ("etag", "\"a\"")];
        for (request, expected) in [
            (vec![("if-modified-since", &*old)], Go),
            (vec![("if-modified-since", &*now)], NotModified),
            (vec![("if-modified-since", &*new)], NotModified),
            (vec![("if-modified-since", "yesterday")], Go),
            (vec![("if-modified-since", &*new), ("if-modified-since", &*new)], Go),
            (vec![("if-modified-since", &*old), ("if-none-match", "\"a\"")], NotModified),
            (vec![("if-modified-since", &*new), ("if-none-match", "\"b\"")], Go),
            (vec![("if-unmodified-since", &*old)], Failed),
            (vec![("if-unmodified-since", &*now)], Go),
            (vec![("if-unmodified-since", &*old), ("if-match", "\"a\"")], Go),
        ] {
            assert_eq!(check(&Method::GET, &request, &stored), expected, "{request:?}");
        }
        assert_eq!(check(&Method::POST, &[("if-modified-since", &new)], &stored), Go);
    }

    #[test]
    fn without_a_date_of_change_the_date_of_the_response_counts() {
        let (old, now, new) = (date(-60), date(0), date(60));
        let stored = [("date", &*now)];
        let of = |since: &str| check(&Method::GET, &[("if-modified-since", since)], &stored);
        assert_eq!(of(&new), Condition::NotModified);
        assert_eq!(of(&old), Condition::Go);
        let unreadable = [("date", &*now), ("last-modified", "x")];
        let outcome = check(&Method::GET, &[("if-modified-since", &new)], &unreadable);
        assert_eq!(outcome, Condition::Go);
    }

    #[test]
    fn what_did_not_succeed_has_no_conditions() {
        let (request, stored) =
            (headers(&[("if-none-match", "\"a\"")]), headers(&[("etag", "\"a\"")]));
        let outcome = evaluate(&Method::GET, &request, StatusCode::NOT_FOUND, &stored);
        assert_eq!(outcome, Condition::Go);
    }
}
