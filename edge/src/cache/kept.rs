//! Which headers of a response are stored, and which of those a client sees (RFC 9111 3.1, RFC 9110 7.6.1).
//!
//! Pure. Invariant: what concerns one connection, one exchange or the operator alone never reaches another client.

use http::{HeaderMap, HeaderName, header};
use tidegate_contract::header::{CACHE_STATUS, OF_ONE_HOP, SURROGATE_KEY, TIER};

use super::{
    governing::{SURROGATE_CONTROL, withheld as withheld_names},
    list::members,
};

/// What is stored: end-to-end headers, without those that the response withholds from reuse.
#[must_use]
pub fn kept(response: &HeaderMap) -> HeaderMap {
    let mut left_out = nominated(response);
    withheld_names(response, |name| left_out.push(name));
    without(response, &left_out)
}

/// The end-to-end headers that are not stored: whoever asked gets them, nobody else. Hardly ever any.
#[must_use]
pub fn withheld(response: &HeaderMap) -> HeaderMap {
    let mut withheld = HeaderMap::new();
    withheld_names(response, |name| {
        if is_of_one_hop(&name) || withheld.contains_key(&name) {
            return;
        }
        for value in response.get_all(&name) {
            withheld.append(name.clone(), value.clone());
        }
    });
    withheld
}

/// The headers without those of one connection, and without the traces that this node writes itself.
#[must_use]
pub fn end_to_end(response: &HeaderMap) -> HeaderMap {
    without(response, &nominated(response))
}

/// What a client sees of stored headers. `Content-Length` and `Age` are of each answer; `CDN-Cache-Control` is passed
/// on for the CDN caches behind this one (RFC 9213 3.1).
#[must_use]
pub fn public(kept: &HeaderMap) -> HeaderMap {
    let surrogate_key = HeaderName::from_static(SURROGATE_KEY);
    without(kept, &[header::CONTENT_LENGTH, header::AGE, SURROGATE_CONTROL, surrogate_key])
}

/// The names that `Connection` takes away. It may not take the length: nobody would know where the body ends.
fn nominated(response: &HeaderMap) -> Vec<HeaderName> {
    let lines = response.get_all(header::CONNECTION).iter();
    lines
        .flat_map(|line| members(line.as_bytes()))
        .filter_map(|member| HeaderName::from_bytes(member.text).ok())
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect()
}

/// The headers in their order, without some.
fn without(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut left = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        if !is_of_one_hop(name) && !names.contains(name) {
            left.append(name.clone(), value.clone());
        }
    }
    left
}

/// Whether a header concerns one connection or is written anew by every node.
fn is_of_one_hop(name: &HeaderName) -> bool {
    OF_ONE_HOP.contains(&name.as_str()) || OURS.contains(&name.as_str())
}

const OURS: &[&str] = &[CACHE_STATUS, TIER];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    fn names(map: &HeaderMap) -> Vec<&str> {
        map.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn headers_of_one_connection_are_not_kept() {
        let response = headers(&[
            ("connection", "X-Hop, close"),
            ("connection", "x-other, content-length"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("transfer-encoding", "chunked"),
            ("proxy-authentication-info", "x"),
            ("cache-status", "other; hit"),
            ("alt-svc", "h3=\":1\""),
            ("content-length", "3"),
            ("etag", "\"a\""),
            ("surrogate-key", "k"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        let kept = kept(&response);
        assert_eq!(names(&kept), ["content-length", "etag", "surrogate-key", "set-cookie"]);
        assert_eq!(kept.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn withheld_fields_go_to_whoever_asked_alone() {
        let response = headers(&[
            ("cache-control", "max-age=60, private=\"set-cookie, connection\", no-cache=x-a"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-a", "1"),
            ("x-b", "2"),
        ]);
        assert_eq!(names(&kept(&response)), ["cache-control", "x-b"]);
        let withheld = withheld(&response);
        assert_eq!(withheld.get_all("set-cookie").iter().count(), 2);
        assert_eq!(withheld["x-a"], "1");
        assert!(!withheld.contains_key("connection") && !withheld.contains_key("x-b"));
    }

    #[test]
    fn a_client_sees_nothing_of_the_operators() {
        let stored = headers(&[
            ("surrogate-key", "a"),
            ("surrogate-control", "max-age=9"),
            ("cdn-cache-control", "max-age=9"),
            ("content-length", "3"),
            ("content-range", "x"),
            ("age", "3"),
        ]);
        assert_eq!(names(&public(&stored)), ["cdn-cache-control", "content-range"]);
    }
}
