//! What the proxy is made of, and the steps of its phases that need several of its parts.
//!
//! Invariant: what purges a fill knows of is settled before upstream is asked, never after.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwapOption;
use http::Method;
use pingora::{
    Error, Result,
    cache::{
        NoCacheReason, RespCacheable,
        lock::{CacheKeyLockImpl, CacheLock},
        predictor::Predictor,
    },
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};
use tidegate_chassis::Clock;

use super::{
    cache_status::CacheStatus,
    exchange::{Exchange, Pass, Route},
    lookup, route,
    storage::StoreAdapter,
    tier::{self, NodeName},
    upstream::{self, Upstreams},
};
use crate::{
    cache::{self, freshness::Unstorable, lease::Lease, purge::PurgeTable},
    error::{Failure, classify},
    metrics::Metrics,
    policy::{Policy, PolicyHandle},
};

/// What the proxy is built from.
pub struct Parts {
    /// What the control plane last told us.
    pub policy: PolicyHandle,
    /// The store behind Pingora's traits; lives as long as the process.
    pub adapter: &'static StoreAdapter,
    /// Which purges were applied.
    pub purges: PurgeTable,
    /// Whether every purge is known.
    pub lease: Lease,
    /// Sizes and waits of the cache.
    pub cache: cache::Config,
    /// Our numbers.
    pub metrics: Metrics,
    /// The time of day.
    pub clock: Clock,
    /// What to tell clients of HTTP/3.
    pub alt_svc: Option<String>,
    /// Whether a line is written for every exchange.
    pub has_access_log: bool,
}

/// One proxy for all listeners and protocols.
pub struct EdgeProxy {
    pub(super) parts: Parts,
    pub(super) upstreams: Upstreams,
    pub(super) lock: &'static CacheKeyLockImpl,
    pub(super) predictor: &'static Predictor<PREDICTOR_SHARDS>,
    /// Tells this process from others of its PoP.
    process: u64,
    node: ArcSwapOption<NodeName>,
}

impl EdgeProxy {
    pub(super) fn new(parts: Parts, upstream: &upstream::Config) -> Self {
        let keys_per_shard = parts.cache.unstorable_max.div_ceil(PREDICTOR_SHARDS);
        // Pingora wants both to live for ever; there is one proxy per process.
        let lock = Box::leak(CacheLock::new_boxed(parts.cache.collapse_wait_max));
        let predictor =
            Box::leak(Box::new(Predictor::new(keys_per_shard, Some(is_not_the_resources_fault))));
        Self {
            upstreams: Upstreams::new(upstream, parts.metrics.clone()),
            lock,
            predictor,
            process: rand::random(),
            node: ArcSwapOption::empty(),
            parts,
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.parts.clock.now()
    }

    /// This node's name under a policy. It changes only with the PoP, that is, hardly ever.
    pub(super) fn node(&self, policy: Option<&Policy>) -> Arc<NodeName> {
        let known = self.node.load_full();
        let pop = policy.map(|policy| policy.snapshot.pop.as_str());
        match (known, pop) {
            (Some(known), None) => known,
            (Some(known), Some(pop)) if known.name.strip_prefix("tidegate-") == Some(pop) => known,
            (_, pop) => {
                let node = Arc::new(NodeName::new(pop.unwrap_or("unnamed"), self.process));
                if policy.is_some() {
                    self.node.store(Some(node.clone()));
                }
                node
            }
        }
    }

    /// Host, property, key; who asks; cache or not.
    pub(super) async fn arrive(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> std::result::Result<(), Failure> {
        let policy = self.parts.policy.current().ok_or(Failure::NO_POLICY)?;
        let has_body = !session.is_body_empty();
        let request = session.req_header();
        if tier::is_loop(&request.headers, &self.node(Some(&policy))) {
            return Err(Failure::LOOP);
        }
        exchange.child = tier::child(&request.headers, &policy.snapshot.tier_key, self.now());
        if let Some(id) = exchange.child.as_ref().and_then(|_| request_id(request)) {
            exchange.id = id;
        }
        let route = route::find(&policy, request)?;
        exchange.pass = route::pass(request, has_body, &route.property().cache);
        exchange.only_if_cached = route::only_if_cached(&request.headers);
        if let Some(child) = &exchange.child {
            let is_up_to_date =
                self.parts.lease.wait_applied(&child.seen, self.parts.cache.purge_wait_max).await;
            if !is_up_to_date {
                exchange.pass = exchange.pass.or(Some(Pass::Behind));
            }
        }
        exchange.route = Some(route);
        Ok(())
    }

    /// Whether the answer of an upstream is so bad that another upstream should be asked.
    pub(super) fn fail_over(
        &self,
        session: &Session,
        response: &ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let Some(route) = exchange.route.clone() else { return Ok(()) };
        if !matches!(response.status.as_u16(), 502..=504) {
            self.upstreams.answered(&route, &exchange.forward);
            return Ok(());
        }
        let is_stale_usable = lookup::may_serve_stale(exchange, true);
        let has_alternative = self.upstreams.has_alternative(&exchange.forward);
        if !has_alternative && !is_stale_usable {
            return Ok(());
        }
        let is_repeatable = is_repeatable(session);
        let is_retried =
            self.upstreams.failed(&route, &mut exchange.forward, "status", is_repeatable);
        if is_retried || is_stale_usable {
            exchange.forward.status = None;
            let mut error = Failure::BROKEN.raise();
            error.set_retry(is_retried);
            return Err(error);
        }
        Ok(())
    }

    pub(super) fn cache_status(session: &Session, exchange: &Exchange) -> CacheStatus {
        let waited = session.cache.lock_duration().is_some();
        CacheStatus::of(exchange, session.cache.phase(), waited)
    }

    pub(super) fn unstorable(&self, exchange: &mut Exchange, reason: Unstorable) -> RespCacheable {
        self.parts.metrics.unstorable.with_label_values(&[reason.as_str()]).inc();
        exchange.unstorable = Some(reason.as_str());
        RespCacheable::Uncacheable(match reason {
            Unstorable::Size => NoCacheReason::ResponseTooLarge,
            Unstorable::NoRoom => NoCacheReason::Custom(NO_ROOM),
            _ => NoCacheReason::OriginNotCache,
        })
    }

    /// What upstream's last word on an exchange means for another attempt.
    pub(super) fn upstream_failed(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        mut error: Box<Error>,
        is_reused: bool,
    ) -> Box<Error> {
        let Some(route) = exchange.route.clone() else { return error };
        let is_untouched = exchange.forward.status.is_none() && is_repeatable(session);
        error.retry.decide_reuse(is_reused);
        if is_reused && is_untouched && error.retry() {
            // A kept connection that upstream had closed: no failure, the same upstream again.
            exchange.forward.candidates.extend(exchange.forward.current);
            self.upstreams.ended(&route, &mut exchange.forward);
            return error;
        }
        let kind = classify(&error).kind;
        let is_retried = self.upstreams.failed(&route, &mut exchange.forward, kind, is_untouched);
        error.set_retry(is_retried);
        error
    }

    /// What a fill that begins now knows of purges. One that may come from a shield knows only of those that the
    /// shield is told of.
    pub(super) fn born(&self, route: Option<&Route>) -> u64 {
        let asks_shield = route.is_some_and(|route| !route.policy.snapshot.shields.is_empty());
        let settled = asks_shield.then(|| self.parts.lease.settled()).flatten();
        settled.unwrap_or_else(|| self.parts.purges.seq())
    }
}

/// Whether a request may be sent a second time.
pub(super) fn is_repeatable(session: &Session) -> bool {
    let method = &session.req_header().method;
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method);
    is_safe && !session.as_downstream().retry_buffer_truncated()
}

/// The id that another node gave.
fn request_id(request: &RequestHeader) -> Option<String> {
    let id = request.headers.get(tidegate_contract::header::REQUEST_ID)?.to_str().ok()?;
    (id.len() <= REQUEST_ID_BYTES_MAX).then(|| id.to_owned())
}

/// Whether the predictor should not remember a reason: the same resource may be stored next time.
fn is_not_the_resources_fault(reason: &'static str) -> bool {
    reason == NO_ROOM
}

const NO_ROOM: &str = "no room";
const REQUEST_ID_BYTES_MAX: usize = 64;
const PREDICTOR_SHARDS: usize = 16;
