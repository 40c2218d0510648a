//! One attempt at one upstream, from its addresses to the head of its answer.
//!
//! Invariant: how it ended is known to the upstream's standing before anybody hears of it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, StatusCode};
use tidegate_contract::{
    header::CACHE_STATUS,
    property::{H2, Upstream},
};

use super::{
    Upstreams,
    answer::{Answer, AnswerBody},
    ask::{Ask, Candidate, RequestBody, Tier},
    failed::Failed,
    link::{Received, Sent, Times},
    request,
    standing::Permit,
};

/// An ask whose body goes to whoever is asked first.
pub(super) struct Asking<'a> {
    pub(super) ask: Ask<'a>,
    siblings: &'a [Upstream],
    /// Where the body is until it is sent; an attempt that fails before leaves it here.
    body: Mutex<Option<RequestBody>>,
    pub(super) is_repeatable: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(mut ask: Ask<'a>, siblings: &'a [Upstream]) -> Self {
        let is_repeatable = ask.is_repeatable();
        let body = Mutex::new(None);
        // The request still has to know that there is one: an ended receiver stands in for it.
        if let Some(taken) = ask.body.as_mut() {
            let (_, empty) = tokio::sync::mpsc::channel(1);
            let taken = std::mem::replace(taken, empty);
            *body.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        }
        Self { ask, siblings, body, is_repeatable }
    }

    pub(super) fn upstream(&self, candidate: Candidate) -> &Upstream {
        let known = candidate.upstream(self.ask.policy, self.ask.property);
        known.unwrap_or_else(|| &self.siblings[candidate.place])
    }

    /// Whether the request can go to another upstream after a failure.
    pub(super) fn may_go_on(&self, failed: &Failed) -> bool {
        let has_all = !self.has_body() || self.body().is_some();
        failed.is_worth_another() && has_all && (self.is_repeatable || failed.is_unsent())
    }

    fn has_body(&self) -> bool {
        self.ask.body.is_some()
    }

    fn body(&self) -> std::sync::MutexGuard<'_, Option<RequestBody>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstreams {
    /// Asks one upstream.
    pub(super) async fn attempt(
        &self,
        asking: &Asking<'_>,
        candidate: Candidate,
        mut permit: Permit,
    ) -> Result<Answer, Failed> {
        let upstream = asking.upstream(candidate);
        let tier = candidate.tier.as_str();
        let asked_at = self.clock.now();
        self.metrics.requests.with_label_values(&[tier]).inc();
        match self.receive(asking, candidate, upstream).await {
            Ok(received) => {
                let Received { status, headers, body } = received;
                // What another node says of its origin says nothing about that node.
                let is_bad = candidate.tier == Tier::Origin && status.is_server_error();
                let took = permit.answered(is_bad);
                if asking.ask.hold.is_none() {
                    let seconds = self.metrics.first_byte_seconds.with_label_values(&[tier]);
                    seconds.observe(took.as_secs_f64());
                }
                if is_bad && is_worth_another(status) {
                    self.judge(
                        &Failed::Status(status.as_u16()),
                        candidate.tier,
                        upstream,
                        &mut permit,
                    );
                }
                let next_hop_cache_status = headers.get(CACHE_STATUS_NAME).cloned();
                let metrics = self.metrics.clone();
                let body =
                    AnswerBody::new(body, permit, candidate.tier, &upstream.authority, metrics);
                Ok(Answer {
                    status,
                    headers,
                    body,
                    from: candidate,
                    asked_at,
                    answered_at: self.clock.now(),
                    attempts: 1,
                    next_hop_cache_status,
                })
            }
            Err(failed) => {
                self.judge(&failed, candidate.tier, upstream, &mut permit);
                Err(failed)
            }
        }
    }

    async fn receive(
        &self,
        asking: &Asking<'_>,
        candidate: Candidate,
        upstream: &Upstream,
    ) -> Result<Received, Failed> {
        let connect = self.connect_timeout(asking, candidate.tier);
        let target = self.links.target(upstream, self.may_h2(asking, candidate.tier), connect);
        let target = target.await?;
        let request = request::outgoing(&asking.ask, upstream, candidate.tier)?;
        let sent = Sent {
            request: &request,
            times: self.times(asking, candidate.tier),
            interim: asking.ask.interim.as_ref(),
            connect,
            is_repeatable: asking.is_repeatable,
        };
        let mut body = asking.body().take();
        let result = self.links.exchange(&target, &sent, &mut body).await;
        *asking.body() = body;
        result
    }

    /// Counts a failure, against the upstream too if it is its own.
    fn judge(&self, failed: &Failed, tier: Tier, upstream: &Upstream, permit: &mut Permit) {
        let tier = tier.as_str();
        self.metrics.errors.with_label_values(&[tier, failed.kind()]).inc();
        tracing::debug!(upstream = %upstream.authority, tier, error = %failed, "upstream failed");
        if failed.is_upstreams() && permit.failed() {
            tracing::warn!(upstream = %upstream.authority, tier, error = %failed, "upstream opened");
        }
    }

    /// A property's policy is about its origins; shields and siblings are the node's own.
    fn times(&self, asking: &Asking<'_>, tier: Tier) -> Times {
        let policy = &asking.ask.property().upstream;
        let own = |time: Option<Duration>| time.filter(|_| tier == Tier::Origin);
        let first_byte = match tier {
            Tier::Sibling => self.config.siblings.first_byte_timeout,
            Tier::Shield | Tier::Origin => {
                own(policy.first_byte_timeout).unwrap_or(self.config.first_byte_timeout)
            }
        };
        Times {
            first_byte: asking.ask.hold.unwrap_or(first_byte),
            read: own(policy.read_timeout).unwrap_or(self.config.read_timeout),
            write: self.config.write_timeout,
        }
    }

    fn connect_timeout(&self, asking: &Asking<'_>, tier: Tier) -> Duration {
        let own = asking.ask.property().upstream.connect_timeout;
        match tier {
            Tier::Sibling => self.config.siblings.connect_timeout,
            Tier::Shield => self.config.connect_timeout,
            Tier::Origin => own.unwrap_or(self.config.connect_timeout),
        }
    }

    fn may_h2(&self, asking: &Asking<'_>, tier: Tier) -> bool {
        let is_off = tier == Tier::Origin && asking.ask.property().upstream.h2 == H2::Off;
        self.config.h2 && !is_off
    }
}

/// Whether a status says that another upstream should be asked.
pub(super) fn is_worth_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

const CACHE_STATUS_NAME: HeaderName = HeaderName::from_static(CACHE_STATUS);
