//! From a response to what is stored of it: judged, named, given room.
//!
//! Invariant: what is stored can be purged by its URL and by every surrogate key that it carries; a response whose
//! keys cannot be read is not stored.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, header};
use tidegate_contract::{
    header::{CACHE_STATUS, SURROGATE_KEY, TIER},
    property::CachePolicy,
    purge::url_hash,
    surrogate_key::{KeyHash, parse_list},
};

use super::exchange::Route;
use crate::cache::{
    freshness::{Arrival, Unstorable, judge},
    media_class::MediaClass,
    object::Head,
};

/// What is known of the exchange that fills.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// Where it goes.
    pub route: &'a Route,
    /// Whether the request was authorized.
    pub is_authorized: bool,
    /// The number of the last purge known before upstream was asked.
    pub born: u64,
    /// When upstream was asked.
    pub asked_at: SystemTime,
    /// When its answer arrived.
    pub now: SystemTime,
    /// The largest body that this node keeps.
    pub bytes_max: u64,
}

/// The head to store for a response.
///
/// # Errors
/// [`Unstorable`] says why it is not stored.
pub(super) fn admit(
    status: http::StatusCode,
    headers: &HeaderMap,
    circumstances: &Circumstances<'_>,
) -> Result<Head, Unstorable> {
    let Circumstances { route, now, .. } = *circumstances;
    let policy = &route.property().cache;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let arrival = Arrival {
        method: &http::Method::GET,
        class: MediaClass::of(&route.path, content_type),
        status,
        headers,
        is_authorized: circumstances.is_authorized,
        requested_at: circumstances.asked_at,
        received_at: now,
    };
    let freshness = judge(&arrival, policy)?;
    let length = length(headers);
    if length.is_some_and(|bytes| bytes > bytes_max(policy, circumstances.bytes_max)) {
        return Err(Unstorable::Size);
    }
    Ok(Head {
        status,
        headers: kept(headers),
        freshness,
        names: names(route, headers)?,
        born: circumstances.born,
        created: now,
        provenance: now,
        variance: None,
        length,
    })
}

/// The headers of a confirmed response: the stored ones, with those that the 304 brings in their place (RFC 9111
/// section 3.2).
#[must_use]
pub(super) fn confirm(stored: &HeaderMap, confirmation: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    // The age of the stored response says nothing of the confirmed one.
    headers.remove(header::AGE);
    for name in confirmation.keys().filter(|name| !is_of_the_body(name)) {
        headers.remove(name);
        for value in confirmation.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// The largest body that is kept for a property on this node.
#[must_use]
pub(super) fn bytes_max(policy: &CachePolicy, node_max: u64) -> u64 {
    policy.object_bytes_max.as_u64().min(node_max)
}

fn names(route: &Route, headers: &HeaderMap) -> Result<Arc<[KeyHash]>, Unstorable> {
    let mut names = vec![url_hash(&route.host, &route.path)];
    let mut keys = 0;
    for value in headers.get_all(SURROGATE_KEY) {
        let text = value.to_str().map_err(|_| Unstorable::SurrogateKey)?;
        let list = parse_list(text).map_err(|_| Unstorable::SurrogateKey)?;
        keys += list.len();
        names.extend(list.iter().map(tidegate_contract::surrogate_key::SurrogateKey::hash));
    }
    if keys > tidegate_contract::surrogate_key::KEYS_PER_RESPONSE_MAX {
        return Err(Unstorable::SurrogateKey);
    }
    Ok(names.into())
}

/// The headers without those that concern one connection, or one exchange, alone.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in &nominated {
        kept.remove(name);
    }
    for name in NOT_KEPT {
        kept.remove(*name);
    }
    kept
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a 304 may not change, because it describes the body that is stored, or the connection.
fn is_of_the_body(name: &HeaderName) -> bool {
    name == header::CONTENT_LENGTH
        || name == header::CONTENT_ENCODING
        || name == header::CONTENT_TYPE
        || name == header::CONTENT_RANGE
        || name == header::VARY
        || NOT_KEPT.contains(&name.as_str())
}

const NOT_KEPT: &[&str] = &[
    "connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "keep-alive",
    "alt-svc",
    CACHE_STATUS,
    TIER,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn headers_of_one_connection_are_not_kept() {
        let kept = kept(&headers(&[
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("cache-status", "other; hit"),
            ("alt-svc", "h3=\":1\""),
            ("etag", "\"a\""),
            ("surrogate-key", "k"),
        ]));
        let names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["etag", "surrogate-key"]);
    }

    #[test]
    fn a_confirmation_replaces_headers_but_not_those_of_the_body() {
        let stored = headers(&[
            ("cache-control", "max-age=1"),
            ("age", "7"),
            ("content-length", "9"),
            ("x-kept", "1"),
        ]);
        let confirmation = headers(&[
            ("cache-control", "max-age=2"),
            ("content-length", "0"),
            ("surrogate-key", "a"),
            ("surrogate-key", "b"),
        ]);
        let merged = confirm(&stored, &confirmation);
        assert_eq!(merged["cache-control"], "max-age=2");
        assert_eq!(merged["content-length"], "9");
        assert_eq!(merged["x-kept"], "1");
        assert!(!merged.contains_key("age"));
        assert_eq!(merged.get_all("surrogate-key").iter().count(), 2);
    }
}
