//! What is sent upstream: the path that counts, the host that the upstream wants, and our traces.
//!
//! Invariant: internal headers that a client sent are never passed on; the seal goes to shields alone.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue, header};
use pingora::{Result, http::RequestHeader};
use tidegate_contract::header::{CDN_LOOP, REQUEST_ID, TIER};

use super::{
    exchange::{Exchange, Route, Tier},
    tier::{self, NodeName},
    upstream::upstream_of,
};
use crate::cache::lease::Lease;

/// Rewrites the request for the upstream that is asked.
///
/// # Errors
/// When a header cannot be built, which would be a mistake of this program.
pub(super) fn rewrite(
    request: &mut RequestHeader,
    exchange: &Exchange,
    route: &Route,
    node: &NodeName,
    lease: &Lease,
    now: SystemTime,
) -> Result<()> {
    set_path(request, &route.path);
    request.remove_header(TIER);
    let candidate = exchange.forward.current;
    if let Some(host) = candidate.and_then(|c| upstream_of(route, c).host.as_deref()) {
        request.insert_header(header::HOST, host)?;
    }
    if candidate.is_some_and(|c| c.tier == Tier::Shield) {
        // After `born` was taken, so that what it stands for is in `seen`.
        request.insert_header(TIER, tier::seal(&route.policy.snapshot, lease.seen(), now))?;
    }
    request.append_header(CDN_LOOP, node.unique.as_str())?;
    request.append_header(header::VIA, format!("1.1 {}", node.name))?;
    request.insert_header(REQUEST_ID, exchange.id.as_str())?;
    forwarded(request, exchange)
}

/// Who the client is. Only another node is believed about that.
fn forwarded(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let Some(downstream) = exchange.downstream.filter(|_| exchange.child.is_none()) else {
        return Ok(());
    };
    let scheme = if downstream.tls { "https" } else { "http" };
    request.remove_header(&header::FORWARDED);
    request.insert_header(FORWARDED_FOR, downstream.client.ip().to_string())?;
    request.insert_header(FORWARDED_PROTO, HeaderValue::from_static(scheme))
}

fn set_path(request: &mut RequestHeader, path: &str) {
    let is_same = request.uri.path_and_query().is_some_and(|all| all.as_str() == path);
    if let (false, Ok(uri)) = (is_same, path.parse()) {
        request.set_uri(uri);
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
