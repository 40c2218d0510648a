//! The head of the answer to a client: age, traces, and nothing internal.
//!
//! Invariant: surrogate keys leave the control plane's nodes for nobody; an answer that is served stale is at least
//! as old as its lifetime, so that no cache behind this one takes it for fresh.

use std::time::{Duration, SystemTime};

use http::header;
use pingora::{Result, http::ResponseHeader};
use tidegate_contract::header::{CACHE_STATUS, REQUEST_ID, SURROGATE_KEY, TIER};

use super::{
    cache_status::{CacheStatus, member},
    exchange::Exchange,
    tier::NodeName,
};
use crate::{
    cache::freshness::Freshness,
    listener::{Downstream, Protocol},
};

/// Rewrites the head of an answer.
///
/// # Errors
/// When a header cannot be built, which would be a mistake of this program.
pub(super) fn rewrite(
    response: &mut ResponseHeader,
    exchange: &Exchange,
    status: CacheStatus,
    node: &NodeName,
    alt_svc: Option<&str>,
    now: SystemTime,
) -> Result<()> {
    // Ours, whatever upstream speaks.
    response.set_version(http::Version::HTTP_11);
    if exchange.child.is_none() {
        response.remove_header(SURROGATE_KEY);
    }
    response.remove_header(TIER);
    response.remove_header(CACHE_STATUS);
    if let Some(upstream) = &exchange.forward.cache_status {
        response.append_header(CACHE_STATUS, upstream)?;
    }
    response.append_header(CACHE_STATUS, member(&node.name, status, exchange, now))?;
    response.append_header(header::VIA, format!("1.1 {}", node.name))?;
    response.insert_header(REQUEST_ID, exchange.id.as_str())?;
    if let Some(age) = age(exchange, status, now) {
        response.insert_header(header::AGE, age.as_secs())?;
    }
    response.remove_header(&header::ALT_SVC);
    if let Some(offer) = alt_svc.filter(|_| exchange.downstream.is_some_and(can_upgrade)) {
        response.insert_header(header::ALT_SVC, offer)?;
    }
    Ok(())
}

/// The age to send; absent where upstream's own stands.
fn age(exchange: &Exchange, status: CacheStatus, now: SystemTime) -> Option<Duration> {
    let found = exchange.found.map(|found| found.freshness);
    match status {
        CacheStatus::Hit | CacheStatus::Collapsed => Some(found?.age(now)),
        CacheStatus::Stale | CacheStatus::StaleOnError => Some(age_when_stale(&found?, now)),
        CacheStatus::Miss | CacheStatus::Expired | CacheStatus::Revalidated => {
            Some(exchange.stored?.age(now))
        }
        CacheStatus::Pass | CacheStatus::None => None,
    }
}

fn age_when_stale(freshness: &Freshness, now: SystemTime) -> Duration {
    freshness.age(now).max(freshness.lifetime)
}

/// Whether a client would be told of HTTP/3: it speaks TLS, and not H3 already.
fn can_upgrade(downstream: Downstream) -> bool {
    downstream.tls && downstream.protocol != Protocol::Http3
}
