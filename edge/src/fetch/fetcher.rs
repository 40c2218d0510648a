//! The face of fetching: what is stored, or what upstream brings in its place, for one exchange.
//!
//! Invariant: a request asks upstream at most twice, and waits for others only for a bounded number of waiting periods.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, Method, StatusCode};
use tidegate_contract::{explanation::Explanation, purge::PurgeOrder, replacement::Replacement};
use tokio::sync::oneshot;

use super::{
    background,
    collapse::{Outcome, Role, Seat, Waited},
    content::Content,
    explain, invalidate,
    job::{Confirmable, Fetched, Forward, Job, head_request},
    look::{self, Asked, Look, Stale},
    posted,
    reading::{Reading, Spare},
    relay::Receiving,
    replace,
    shared::{Parts, Question, Shared, Unsliceable},
    slice::Instead,
    tier::NodeName,
    walk::Walk,
    wanted::{Failed, Route, Wanted},
};
use crate::{
    cache::{
        arrival::Unstorable,
        lease::Lease,
        store::{Found, Tier},
    },
    error::Failure,
    policy::Policy,
    upstream::{Answer, Interim, RequestBody},
};

/// The fetches of a node; all clones share them.
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

/// What an exchange is answered with.
pub enum Got {
    /// Something stored, or being stored.
    Stored {
        /// It.
        found: Box<Found>,
        /// The way on, should it grow too large.
        relay: Option<Receiving>,
        /// How it came to that.
        how: How,
        /// The exchange with upstream, if this request began it.
        forward: Option<Forward>,
    },
    /// An answer for this exchange alone.
    Passed {
        /// It.
        answer: Box<Answer>,
        /// Why it is not stored.
        reason: Option<&'static str>,
        /// Whether something stale was there.
        is_stale: bool,
    },
}

/// How the cache came to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// It was stored.
    Hit,
    /// It was stored, is stale, and is being revalidated.
    Stale,
    /// It was stored, is stale, and upstream failed, with this status if it answered.
    StaleOnError(Option<StatusCode>),
    /// Somebody else was fetching it.
    Collapsed,
    /// Upstream confirmed what was stored.
    Confirmed,
    /// Upstream replaced what was stored.
    Replaced,
    /// Upstream brought what was not stored.
    Fetched,
}

impl Fetcher {
    /// Nothing fetched yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { shared: Arc::new(Shared::new(parts)) }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.shared.now()
    }

    /// Whether every purge is known.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.shared.parts.lease
    }

    /// This node's name under a policy.
    #[must_use]
    pub fn node(&self, policy: Option<&Policy>) -> Arc<NodeName> {
        self.shared.node(policy)
    }

    /// What is stored for a request, without waiting.
    #[must_use]
    pub fn look(&self, asked: &Asked<'_>) -> Look {
        look::look(&self.shared, asked)
    }

    /// Whether a resource is known to vary.
    #[must_use]
    pub fn is_varying(&self, route: &Route) -> bool {
        self.shared.varies.has(&route.key)
    }

    /// The body of what was found.
    #[must_use]
    pub fn content(&self, wanted: &Arc<Wanted>, found: Found, relay: Option<Receiving>) -> Content {
        if let Some(walk) = Walk::of(&self.shared, wanted, &found) {
            return Content::Sliced(walk);
        }
        let Found { key, head, body, fill, is_in_flight, tier, bytes } = found;
        let relay = relay.or_else(|| self.relay(is_in_flight, bytes, fill));
        let reading = Reading::of(body).with_relay(relay);
        if tier != Tier::Disk {
            return Content::Stored(reading);
        }
        let (shared, wanted) = (self.shared.clone(), wanted.clone());
        Content::Stored(reading.with_spare(Spare { shared, wanted, key, head, fill }))
    }

    /// The body of what was found in memory or in flight, whole.
    #[must_use]
    pub fn content_at_hand(&self, found: Found) -> Content {
        let relay = self.relay(found.is_in_flight, found.bytes, found.fill);
        Content::Stored(Reading::of(found.body).with_relay(relay))
    }

    /// A client asks for a segment: notes that it was of use to fetch it ahead, and fetches the next ones.
    pub fn watched(&self, wanted: &Wanted, named: &[String]) {
        self.shared.prefetches.asked_for(&wanted.route.key);
        background::prefetch(&self.shared, wanted, named);
    }

    /// What is known of a resource and what would happen to a request for it; `pass` is why it would pass the cache.
    pub async fn explain(
        &self,
        route: &Route,
        headers: &HeaderMap,
        pass: Option<&'static str>,
    ) -> Explanation {
        explain::explain(&self.shared, route, headers, pass).await
    }

    /// How many requests wait for the head of another's answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.collapse.waiting()
    }

    /// Housekeeping, once in a while.
    pub fn settle(&self) {
        let waiting = i64::try_from(self.waiting()).unwrap_or(i64::MAX);
        self.shared.parts.metrics.collapsed_waiting.set(waiting);
        self.shared.prefetches.settle();
    }

    /// Forgets what the answer to an unsafe method says is changed (RFC 9111 section 4.4).
    pub fn invalidate(&self, route: &Route, method: &Method, answer: &Answer) {
        invalidate::invalidate(&self.shared, route, method, answer);
    }

    /// What purges are known before upstream is asked, for [`Fetcher::keep_posted`].
    #[must_use]
    pub fn born(&self, route: &Route) -> u64 {
        self.shared.born(route)
    }

    /// Stores the answer to a POST if it stands for the resource; gives back the client's way to its body.
    ///
    /// # Errors
    /// The answer, when it is for this client alone.
    pub fn keep_posted(
        &self,
        wanted: &Wanted,
        born: u64,
        answer: Answer,
    ) -> Result<Content, Box<Answer>> {
        posted::keep(&self.shared, wanted, born, answer)
    }

    /// Purges, and stores in the same step what arrived with the purge, made at some time; gives back the number of
    /// the purge. Without a policy, or where the body may not be stored, it is a purge alone.
    pub fn replace(
        &self,
        policy: Option<&Arc<Policy>>,
        order: &PurgeOrder,
        new: &Replacement,
        made_at: SystemTime,
    ) -> u64 {
        replace::replace(&self.shared, policy, order, new, made_at)
    }

    /// Asks upstream past the cache.
    ///
    /// # Errors
    /// [`Failure`] when no upstream answers.
    pub async fn pass(
        &self,
        wanted: &Wanted,
        method: Method,
        body: Option<RequestBody>,
        interim: Option<Interim>,
    ) -> Result<Answer, Failure> {
        let headers = wanted.headers.clone();
        self.shared.ask(wanted, Question { method, headers, body, interim }).await
    }

    /// Goes on from a first look that did not suffice, until there is an answer.
    ///
    /// # Errors
    /// [`Failed`] when upstream does not bring one and nothing stale may be served in its place.
    pub async fn get(
        &self,
        wanted: &Arc<Wanted>,
        first: Look,
        interim: Option<Interim>,
    ) -> Result<Got, Failed> {
        let key = &wanted.route.key;
        let mut look = first;
        let mut has_waited = false;
        let mut is_alone = self.shared.unstorable.has(key);
        for _ in 0..ROUNDS_MAX {
            let stale = match look {
                Look::Serve(found) => {
                    let is_shared = has_waited || found.is_in_flight;
                    let how = if is_shared { How::Collapsed } else { How::Hit };
                    return Ok(Got::stored(found, how));
                }
                Look::ServeStale(found) => {
                    background::revalidate(&self.shared, wanted, &found);
                    return Ok(Got::stored(found, How::Stale));
                }
                Look::OnDisk(stored) => match self.shared.parts.store.load(stored).await {
                    Some(found) => {
                        look = look::judge(&self.shared, &self.asked(wanted), found);
                        continue;
                    }
                    None => None,
                },
                Look::Revalidate(stale) => Some(stale),
                Look::Nothing => None,
            };
            if wanted.wishes.only_if_cached {
                return Err(Failed::without_answer(Failure::NOT_STORED));
            }
            if wanted.method == Method::HEAD
                && let Some(stale) = stale
            {
                return self.head(wanted, stale, interim).await;
            }
            if is_alone {
                return self.ask(wanted, None, stale, interim).await;
            }
            let wanted = &self.shared.placed(wanted);
            let follower = match self.shared.collapse.join(self.shared.slot(wanted)) {
                Role::Lead(seat) => match self.look(&self.asked(wanted)) {
                    // Somebody brought it since it was looked for.
                    Look::Serve(found) => {
                        seat.vacate(Outcome::Settled);
                        return Ok(Got::stored(found, How::Collapsed));
                    }
                    _ => return self.ask(wanted, Some(seat), stale, interim).await,
                },
                Role::Follow(follower) => follower,
            };
            let waited = follower.wait(self.shared.wait_max(&wanted.route)).await;
            self.count(&waited);
            match waited {
                Waited::Lead(seat) => return self.ask(wanted, Some(seat), stale, interim).await,
                Waited::For(Outcome::Failed(failed)) => return or_stale(stale, failed),
                Waited::For(Outcome::Settled) => has_waited = true,
                Waited::For(Outcome::OnYourOwn) => is_alone = true,
            }
            look = self.look(&self.asked(wanted));
        }
        self.ask(wanted, None, None, interim).await
    }

    /// Asks upstream, for all who follow.
    async fn ask(
        &self,
        wanted: &Arc<Wanted>,
        seat: Option<Seat>,
        stale: Option<Stale>,
        interim: Option<Interim>,
    ) -> Result<Got, Failed> {
        let key = &wanted.route.key;
        let is_conditional = wanted.is_conditional();
        let is_unstorable = stale.is_none() && self.shared.unstorable.has(key);
        let unsliceable = self.shared.unsliceable.get(key);
        let instead = Instead::of(wanted).filter(|_| unsliceable.is_none());
        if is_conditional && (is_unstorable || unsliceable == Some(Unsliceable::Pass)) {
            if let Some(seat) = seat {
                seat.vacate(Outcome::OnYourOwn);
            }
            return self.pass_on(wanted, interim).await;
        }
        let (reply, answer) = oneshot::channel();
        let confirmable = stale.as_ref().map(|stale| Confirmable::of(&stale.found, stale.on_error));
        let get = if wanted.method == Method::HEAD {
            Arc::new(Wanted { method: Method::GET, ..Wanted::clone(wanted) })
        } else {
            wanted.clone()
        };
        background::spawn(Job {
            shared: self.shared.clone(),
            wanted: get,
            seat,
            reply: Some(reply),
            interim: interim.clone(),
            stale: confirmable,
            instead,
            is_wanted_anyway: false,
        });
        let internal = Failed::without_answer(Failure::INTERNAL);
        match answer.await.unwrap_or(Err(internal)) {
            Err(failed) => or_stale(stale, failed),
            Ok(Fetched::PassOn) => self.pass_on(wanted, interim).await,
            Ok(Fetched::Passed(answer, reason)) => {
                let reason = reason.map(Unstorable::as_str);
                Ok(Got::Passed { answer, reason, is_stale: stale.is_some() })
            }
            Ok(Fetched::Stored(found, forward, relay)) => {
                let how = if stale.is_some() { How::Replaced } else { How::Fetched };
                Ok(Got::Stored { found: Box::new(found), relay, how, forward: Some(forward) })
            }
            Ok(Fetched::Confirmed(head, forward)) => {
                let Some(Stale { found, .. }) = stale else { return Err(internal) };
                let found = Box::new(Found { head, ..found });
                let how = How::Confirmed;
                Ok(Got::Stored { found, relay: None, how, forward: Some(forward) })
            }
        }
    }

    /// Passes the client's own headers on, conditions and ranges included.
    async fn pass_on(&self, wanted: &Arc<Wanted>, interim: Option<Interim>) -> Result<Got, Failed> {
        let asked = self.pass(wanted, wanted.method.clone(), None, interim).await;
        let answer = Box::new(asked.map_err(Failed::without_answer)?);
        let reason = self.shared.unstorable.get(&wanted.route.key).or(Some("range"));
        Ok(Got::Passed { answer, reason, is_stale: false })
    }

    /// A HEAD for something that is stored stale.
    async fn head(
        &self,
        wanted: &Arc<Wanted>,
        stale: Stale,
        interim: Option<Interim>,
    ) -> Result<Got, Failed> {
        let stored = Confirmable::of(&stale.found, stale.on_error);
        match head_request(&self.shared, wanted, &stored, interim).await {
            Ok(answer) => {
                Ok(Got::Passed { answer: Box::new(answer), reason: None, is_stale: true })
            }
            Err(failed) => or_stale(Some(stale), failed),
        }
    }

    /// Only what is still arriving and whose length is unknown may grow too large.
    fn relay(&self, is_in_flight: bool, bytes: Option<u64>, fill: u64) -> Option<Receiving> {
        (is_in_flight && bytes.is_none()).then(|| self.shared.relays.join(fill)).flatten()
    }

    fn asked<'a>(&self, wanted: &'a Wanted) -> Asked<'a> {
        Asked::of(wanted, self.now())
    }

    fn count(&self, waited: &Waited) {
        let outcome = match waited {
            Waited::Lead(_) => "late",
            Waited::For(Outcome::Settled) => "settled",
            Waited::For(Outcome::OnYourOwn) => "own",
            Waited::For(Outcome::Failed(_)) => "failed",
        };
        self.shared.parts.metrics.collapsed.with_label_values(&[outcome]).inc();
    }
}

impl Got {
    fn stored(found: Found, how: How) -> Self {
        Self::Stored { found: Box::new(found), relay: None, how, forward: None }
    }
}

/// What is stale, when it is good for something after this failure; else the failure.
fn or_stale(stale: Option<Stale>, failed: Failed) -> Result<Got, Failed> {
    match stale.filter(|stale| stale.is_good_after(&failed)) {
        Some(stale) => Ok(Got::stored(stale.found, How::StaleOnError(failed.status))),
        None => Err(failed),
    }
}

/// How often a request looks again after it waited, before it asks upstream by itself.
const ROUNDS_MAX: usize = 6;
