//! From a request to the property that serves it, its key, and whether the cache is asked.
//!
//! Invariant: a request that no property serves goes nowhere.

use std::sync::Arc;

use http::{Method, uri::PathAndQuery};
use tidegate_contract::{property::CachePolicy, purge::host_of};

use super::context::Pass;
use crate::{
    cache::wishes::Wishes,
    error::Failure,
    fetch::Route,
    listener::stream::{BodyLength, Request},
    policy::Policy,
};

/// The host of a request, and the place of the property that serves it.
///
/// # Errors
/// [`Failure::BAD_REQUEST`] or [`Failure::UNKNOWN_HOST`].
pub(super) fn place(policy: &Policy, request: &Request) -> Result<(String, usize), Failure> {
    let host = host_of(&request.authority).ok_or(Failure::BAD_REQUEST)?;
    let place = policy.place_for(&host).ok_or(Failure::UNKNOWN_HOST)?;
    Ok((host, place))
}

/// The key, and the path for upstream. `target` is what remains when the guard has taken its part.
pub(super) fn find(
    policy: &Arc<Policy>,
    property: usize,
    host: String,
    method: &Method,
    target: &PathAndQuery,
) -> Route {
    match method {
        &Method::GET | &Method::HEAD => {
            Route::to(policy, property, host, target.path(), target.query())
        }
        _ => Route::at(policy, property, host, target.as_str().to_owned()),
    }
}

/// Why the cache is not asked, if so.
pub(super) fn pass(request: &Request, wishes: &Wishes, policy: &CachePolicy) -> Option<Pass> {
    if request.method != Method::GET && request.method != Method::HEAD {
        Some(Pass::Method)
    } else if !policy.enabled {
        Some(Pass::Policy)
    } else if !matches!(request.body, BodyLength::Empty | BodyLength::Known(0)) {
        Some(Pass::Shape)
    } else if wishes.no_store {
        Some(Pass::Wish)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use http::HeaderMap;
    use tidegate_contract::property::QueryPolicy;

    use super::*;
    use crate::{
        cache::media_class::MediaClass,
        exchange::testing::policy_with,
        listener::{Downstream, Protocol},
    };

    fn policy() -> Arc<Policy> {
        policy_with(CachePolicy { query: QueryPolicy::Drop, ..CachePolicy::default() })
    }

    fn request(method: Method, authority: &str, target: &str, body: BodyLength) -> Request {
        Request {
            method,
            authority: authority.to_owned(),
            target: target.parse().unwrap(),
            headers: HeaderMap::new(),
            body,
            expects_continue: false,
            downstream: Downstream {
                protocol: Protocol::Http1,
                client: ([127, 0, 0, 1], 1).into(),
                tls: false,
                early_data: false,
            },
            arrived_at: Instant::now(),
        }
    }

    #[test]
    fn host_and_path_lead_to_property_and_key() {
        let policy = policy();
        let find = |method: Method, authority: &str, target: &str| {
            let request = request(method, authority, target, BodyLength::Empty);
            let (host, place) = place(&policy, &request)?;
            Ok(find(&policy, place, host, &request.method, &request.target))
        };
        let route = find(Method::GET, "A.org:8443", "/x?token=1").unwrap();
        assert_eq!((route.host.as_str(), route.path.as_str()), ("a.org", "/x"));
        assert_eq!(route.key, find(Method::GET, "a.org", "/x").unwrap().key);
        assert_eq!(find(Method::POST, "a.org", "/x?token=1").unwrap().path, "/x?token=1");
        let playlist = find(Method::GET, "a.org", "/x.m3u8?t=1&_HLS_msn=7").unwrap();
        assert_eq!(playlist.path, "/x.m3u8?_HLS_msn=7");
        assert_eq!(playlist.class, MediaClass::Manifest);
        assert_eq!(find(Method::GET, "b.org", "/").err(), Some(Failure::UNKNOWN_HOST));
        assert_eq!(find(Method::GET, "a b", "/").err(), Some(Failure::BAD_REQUEST));
    }

    #[test]
    fn only_plain_reads_ask_the_cache() {
        let on = CachePolicy::default();
        let off = CachePolicy { enabled: false, ..CachePolicy::default() };
        let (none, no_store) = (Wishes::default(), Wishes { no_store: true, ..Wishes::default() });
        let known = BodyLength::Known(1);
        for (method, body, wishes, policy, expected) in [
            (Method::GET, BodyLength::Empty, &none, &on, None),
            (Method::HEAD, BodyLength::Empty, &none, &on, None),
            (Method::GET, BodyLength::Known(0), &none, &on, None),
            (Method::POST, known, &none, &on, Some(Pass::Method)),
            (Method::GET, known, &none, &on, Some(Pass::Shape)),
            (Method::GET, BodyLength::Unknown, &none, &on, Some(Pass::Shape)),
            (Method::GET, BodyLength::Empty, &none, &off, Some(Pass::Policy)),
            (Method::GET, BodyLength::Empty, &no_store, &on, Some(Pass::Wish)),
        ] {
            let request = request(method, "a.org", "/", body);
            assert_eq!(pass(&request, wishes, policy), expected, "{request:?}");
        }
    }
}
