//! Which upstream is asked, and with what: order, health, addresses, peers.
//!
//! An edge asks the shields of its control plane first, by consistent hash so that one resource is filled through
//! one shield, then the property's origins in their order. A shield asks the origins. Invariant: the number of
//! attempts of an exchange and the share of repeated requests are bounded.

mod peer; // address, TLS and time limits of one upstream
mod resolve; // names to addresses
mod order; // which one first
mod health; // who failed lately
mod retry_budget; // how much may be repeated
mod config;

use std::{sync::Arc, time::Instant};

use pingora::upstreams::peer::HttpPeer;
use tidegate_contract::{property::Upstream, snapshot::PopRole};

pub use self::config::Config;
use self::{health::Health, order::Standing, resolve::Resolver, retry_budget::RetryBudget};
use super::exchange::{Candidate, Forward, Route, Tier};
use crate::{error::Failure, metrics::Metrics};

/// Everything about upstreams that outlives an exchange.
pub struct Upstreams {
    config: Config,
    resolver: Resolver,
    health: Arc<Health>,
    retries: RetryBudget,
    metrics: Metrics,
}

impl Upstreams {
    /// Nothing known yet.
    #[must_use]
    pub fn new(config: &Config, metrics: Metrics) -> Self {
        Self {
            resolver: Resolver::new(config.resolve_ttl, config.connect_timeout),
            health: Arc::new(Health::new(config.failures_max, config.eject_time)),
            retries: RetryBudget::new(config.retry_percent),
            config: config.clone(),
            metrics,
        }
    }

    /// The next upstream to ask.
    ///
    /// # Errors
    /// [`Failure::UNREACHABLE`] when none is left or its name has no address.
    pub async fn next(&self, route: &Route, forward: &mut Forward) -> Result<HttpPeer, Failure> {
        if !forward.is_planned {
            forward.candidates = self.plan(route);
            forward.is_planned = true;
        }
        loop {
            let candidate = forward.candidates.pop().ok_or(Failure::UNREACHABLE)?;
            forward.attempts += 1;
            let upstream = upstream_of(route, candidate);
            match peer::connectable(upstream, &self.resolver, &self.config).await {
                Ok(peer) => {
                    self.metrics
                        .upstream_requests
                        .with_label_values(&[candidate.tier.as_str()])
                        .inc();
                    self.health.began(&upstream.authority);
                    forward.current = Some(candidate);
                    return Ok(peer);
                }
                Err(error) => {
                    tracing::warn!(upstream = %upstream.authority, %error, "upstream unusable");
                    self.count_failure(candidate, upstream, "address");
                }
            }
        }
    }

    /// The upstream that is being asked gave an answer.
    pub fn answered(&self, route: &Route, forward: &Forward) {
        if let Some(candidate) = forward.current {
            self.health.succeeded(&upstream_of(route, candidate).authority);
        }
    }

    /// The upstream that was asked failed. Says whether the request may be sent to another one; `is_repeatable` is
    /// whether that would do no harm.
    pub fn failed(
        &self,
        route: &Route,
        forward: &mut Forward,
        kind: &'static str,
        is_repeatable: bool,
    ) -> bool {
        if let Some(candidate) = forward.current.take() {
            let upstream = upstream_of(route, candidate);
            self.count_failure(candidate, upstream, kind);
            self.health.ended(&upstream.authority);
        }
        let may_repeat =
            is_repeatable && !forward.candidates.is_empty() && self.retries.may_retry();
        if may_repeat {
            self.metrics.upstream_retries.inc();
        }
        may_repeat
    }

    /// The exchange ended.
    pub fn ended(&self, route: &Route, forward: &mut Forward) {
        if let Some(candidate) = forward.current.take() {
            self.health.ended(&upstream_of(route, candidate).authority);
        }
    }

    /// Whether another upstream could be asked.
    #[must_use]
    pub fn has_alternative(&self, forward: &Forward) -> bool {
        !forward.candidates.is_empty()
    }

    /// The upstreams of an exchange, the first one last.
    fn plan(&self, route: &Route) -> Vec<Candidate> {
        self.retries.began();
        let snapshot = &route.policy.snapshot;
        let now = Instant::now();
        let mut plan = Vec::new();
        if snapshot.role == PopRole::Edge {
            let standing = |upstream: &Upstream| self.health.standing(&upstream.authority, now);
            let shields: Vec<Standing<'_>> = snapshot
                .shields
                .iter()
                .map(|shield| Standing {
                    name: shield.pop.as_str(),
                    report: standing(&shield.upstream),
                })
                .collect();
            let order = order::by_hash(&route.key, &shields, self.config.load_percent_max);
            plan.extend(order.into_iter().map(|place| Candidate { tier: Tier::Shield, place }));
        }
        let origins: Vec<_> = route
            .property()
            .origins
            .iter()
            .map(|upstream| self.health.standing(&upstream.authority, now))
            .collect();
        let order = order::by_preference(&origins);
        let origins = order.into_iter().map(|place| Candidate { tier: Tier::Origin, place });
        trim(&mut plan, self.config.attempts_max as usize - 1);
        plan.extend(origins);
        plan.truncate(self.config.attempts_max as usize);
        plan.reverse();
        plan
    }

    fn count_failure(&self, candidate: Candidate, upstream: &Upstream, kind: &'static str) {
        let tier = candidate.tier.as_str();
        self.metrics.upstream_errors.with_label_values(&[tier, kind]).inc();
        if self.health.failed(&upstream.authority, Instant::now()) {
            tracing::warn!(upstream = %upstream.authority, tier, kind, "upstream is put last");
        }
    }
}

/// The upstream that a candidate stands for.
#[must_use]
pub fn upstream_of(route: &Route, candidate: Candidate) -> &Upstream {
    match candidate.tier {
        Tier::Shield => &route.policy.snapshot.shields[candidate.place].upstream,
        Tier::Origin => &route.property().origins[candidate.place],
    }
}

/// Leaves room for at least one origin behind the shields.
fn trim(shields: &mut Vec<Candidate>, max: usize) {
    shields.truncate(max.max(1));
}
