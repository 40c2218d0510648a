//! From a request to the property that serves it, and whether the cache is asked.
//!
//! Invariant: a request that no property serves goes nowhere.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;
use tidegate_contract::{property::CachePolicy, purge::host_of};

use super::exchange::{Pass, Route};
use crate::{
    cache::{
        directive::Directives,
        key::{Key, counted_path},
    },
    error::Failure,
    policy::Policy,
};

/// Finds the property, the key and the path for upstream.
///
/// # Errors
/// [`Failure::BAD_REQUEST`] or [`Failure::UNKNOWN_HOST`].
pub(super) fn find(policy: &Arc<Policy>, request: &RequestHeader) -> Result<Route, Failure> {
    let host = host(request).ok_or(Failure::BAD_REQUEST)?;
    let property = policy.place_for(&host).ok_or(Failure::UNKNOWN_HOST)?;
    let found = &policy.snapshot.properties[property];
    let path = match &request.method {
        &Method::GET | &Method::HEAD => {
            counted_path(request.uri.path(), request.uri.query(), &found.cache.query)
        }
        _ => Cow::Borrowed(request.uri.path_and_query().map_or("/", |all| all.as_str())),
    };
    let key = Key::of(&found.id, &host, &path);
    Ok(Route { property, key, path: path.into_owned(), host, policy: policy.clone() })
}

/// Why the cache is not asked, if so.
#[must_use]
pub(super) fn pass(request: &RequestHeader, has_body: bool, policy: &CachePolicy) -> Option<Pass> {
    if request.method != Method::GET && request.method != Method::HEAD {
        Some(Pass::Method)
    } else if !policy.enabled {
        Some(Pass::Policy)
    } else if has_body || request.headers.contains_key(header::UPGRADE) {
        Some(Pass::Shape)
    } else {
        None
    }
}

/// Whether the client takes only a stored response. Its other wishes (`no-cache`, `max-age`) are not followed: they
/// would let any client make every request a request to the origin.
#[must_use]
pub(super) fn only_if_cached(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CACHE_CONTROL) && Directives::read(headers).only_if_cached
}

fn host(request: &RequestHeader) -> Option<String> {
    let said = || request.headers.get(header::HOST)?.to_str().ok();
    host_of(request.uri.authority().map(|authority| authority.as_str()).or_else(said)?)
}

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{Generation, PopId, PropertyId},
        property::{Property, QueryPolicy, Upstream},
        snapshot::{PopRole, Snapshot},
        tier::TierKey,
    };

    use super::*;
    use crate::policy::PolicyHandle;

    fn policy() -> Arc<Policy> {
        let handle = PolicyHandle::default();
        let property = Property {
            cache: CachePolicy { query: QueryPolicy::Drop, ..CachePolicy::default() },
            ..Property::new(
                PropertyId::parse("demo").unwrap(),
                vec!["a.org".into()],
                vec![Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None }],
            )
        };
        let snapshot = Snapshot {
            generation: Generation(1),
            pop: PopId::parse("fra").unwrap(),
            role: PopRole::Edge,
            properties: vec![property],
            tier_key: TierKey::new([0; 32]),
            shields: vec![],
        };
        handle.install(snapshot).unwrap();
        handle.current().unwrap()
    }

    fn request(method: &str, host: &str, path: &str) -> RequestHeader {
        let mut request = RequestHeader::build(method, path.as_bytes(), None).unwrap();
        request.insert_header("host", host).unwrap();
        request
    }

    #[test]
    fn host_and_path_lead_to_property_and_key() {
        let find = |method, host, path| find(&policy(), &request(method, host, path));
        let route = find("GET", "A.org:8443", "/x?token=1").unwrap();
        assert_eq!((route.host.as_str(), route.path.as_str()), ("a.org", "/x"));
        assert_eq!(route.key, find("GET", "a.org", "/x").unwrap().key);
        assert_eq!(find("POST", "a.org", "/x?token=1").unwrap().path, "/x?token=1");
        assert_eq!(find("GET", "b.org", "/").err(), Some(Failure::UNKNOWN_HOST));
        assert_eq!(find("GET", "a b", "/").err(), Some(Failure::BAD_REQUEST));
    }

    #[test]
    fn only_plain_reads_ask_the_cache() {
        let on = CachePolicy::default();
        let off = CachePolicy { enabled: false, ..CachePolicy::default() };
        let mut upgrade = request("GET", "a.org", "/");
        upgrade.insert_header("upgrade", "websocket").unwrap();
        for (request, has_body, policy, expected) in [
            (request("GET", "a.org", "/"), false, &on, None),
            (request("HEAD", "a.org", "/"), false, &on, None),
            (request("POST", "a.org", "/"), true, &on, Some(Pass::Method)),
            (request("GET", "a.org", "/"), true, &on, Some(Pass::Shape)),
            (request("GET", "a.org", "/"), false, &off, Some(Pass::Policy)),
            (upgrade, false, &on, Some(Pass::Shape)),
        ] {
            assert_eq!(pass(&request, has_body, policy), expected, "{request:?}");
        }
    }
}
