//! What answers requests: the parts of a node, and the way of one exchange through the phases.
//!
//! Invariant: every exchange is counted and logged once, however it ends.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method, uri::PathAndQuery};
use tidegate_contract::explanation::Explanation;

use super::{
    access_log::{self, LogPolicy},
    claims,
    cmcd::Cmcd,
    context::{Ended, Exchange, Pass},
    counts::Counts,
    last_stop, pass,
    player_metrics::PlayerMetrics,
    read, refuse, route, self_test,
};
use crate::{
    cache::wishes::Wishes,
    demand::Demand,
    error::Failure,
    fetch::{Fetcher, child, is_loop},
    guard::{Guard, Reply},
    listener::stream::{App, Request, Stream},
    metrics::Metrics,
    policy::PolicyHandle,
};

/// What a node answers with.
pub struct Parts {
    /// What the control plane last told us.
    pub policy: PolicyHandle,
    /// What is stored, and what upstream brings.
    pub fetcher: Fetcher,
    /// Who may have what.
    pub guard: Guard,
    /// Our numbers.
    pub metrics: Metrics,
    /// What is asked for most.
    pub demand: Demand,
    /// The numbers of what players say.
    pub players: PlayerMetrics,
    /// What to tell clients of HTTP/3.
    pub alt_svc: Option<String>,
    /// Which exchanges get a line.
    pub log: LogPolicy,
    /// How long a request of another node waits for a purge that the other node knows already.
    pub purge_wait_max: std::time::Duration,
}

/// Answers requests of all listeners and protocols.
pub struct Edge {
    pub(super) parts: Parts,
    pub(super) alt_svc: Option<HeaderValue>,
    counts: Counts,
}

/// A request that goes no further.
enum Refusal {
    Failed(Failure),
    AtTheDoor(Box<Reply>),
    SelfTest,
    LastStop,
}

impl App for Edge {
    async fn serve<S: Stream>(&self, mut request: Request, mut stream: S) -> S {
        let node = self.parts.fetcher.node(None);
        let began_at = self.parts.fetcher.now();
        let mut exchange = Exchange::new(request.downstream, request.arrived_at, began_at, node);
        let ended = match self.answer(&mut exchange, &mut request, &mut stream).await {
            Ok(()) => None,
            Err(Ended(failure)) => self.fail(&mut exchange, &request, &mut stream, failure).await,
        };
        self.close(&exchange, &request, &stream, ended);
        stream
    }
}

impl Edge {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let alt_svc = parts.alt_svc.as_ref().and_then(|offer| HeaderValue::try_from(offer).ok());
        Self { counts: Counts::new(&parts.metrics), alt_svc, parts }
    }

    /// What is known of a resource, and what would happen to a GET for it with these headers; `None` when no property
    /// serves its host, or when there is no configuration yet.
    pub async fn explain(
        &self,
        host: &str,
        target: &PathAndQuery,
        headers: &HeaderMap,
    ) -> Option<Explanation> {
        let policy = self.parts.policy.current()?;
        let place = policy.place_for(host)?;
        let strip = self.parts.guard.strip(&policy, place, target);
        let mut headers = headers.clone();
        strip.clean(&mut headers);
        let target = strip.target(target);
        let route = route::find(&policy, place, host.to_owned(), &Method::GET, target);
        let cache = &route.property().cache;
        let pass = (!cache.enabled).then_some(Pass::Policy.as_str());
        Some(self.parts.fetcher.explain(&route, &headers, pass).await)
    }

    pub(super) fn now(&self) -> SystemTime {
        self.parts.fetcher.now()
    }

    async fn answer<S: Stream>(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        stream: &mut S,
    ) -> Result<(), Ended> {
        match self.arrive(exchange, request) {
            Ok(()) => {}
            Err(Refusal::Failed(failure)) => return Err(Ended(failure)),
            Err(Refusal::AtTheDoor(reply)) => {
                return Box::pin(refuse::at_the_door(self, exchange, request, *reply, stream))
                    .await;
            }
            Err(Refusal::SelfTest) => {
                return Box::pin(self_test::serve(self, exchange, request, stream)).await;
            }
            Err(Refusal::LastStop) => {
                return Box::pin(last_stop::serve(self, exchange, request, stream)).await;
            }
        }
        if exchange.child.is_some() {
            self.catch_up(exchange).await;
        }
        match exchange.pass {
            None => read::serve(self, exchange, request, stream).await,
            Some(_) => Box::pin(pass::serve(self, exchange, request, stream)).await,
        }
    }

    /// Who asks for what, may it be had, is the cache asked.
    fn arrive(&self, exchange: &mut Exchange, request: &mut Request) -> Result<(), Refusal> {
        let policy = self.parts.policy.current().ok_or(Refusal::Failed(Failure::NO_POLICY))?;
        exchange.node = self.parts.fetcher.node(Some(&policy));
        if is_loop(&request.headers, &exchange.node) {
            return Err(Refusal::Failed(Failure::LOOP));
        }
        exchange.child = child(&request.headers, &policy.snapshot.tier_key, exchange.began_at);
        if exchange.child.is_some()
            && let Some(id) = request_id(&request.headers)
        {
            exchange.id = id.clone();
        }
        if self_test::is_asked(request) {
            return Err(Refusal::SelfTest);
        }
        let (host, place) = route::place(&policy, request).map_err(Refusal::Failed)?;
        self.pass_the_door(exchange, request, &policy, place, &host)?;
        if last_stop::is_here(&request.method, &mut request.headers) {
            return Err(Refusal::LastStop);
        }
        let found = route::find(&policy, place, host, &request.method, &request.target);
        // Another node that asks has done so before.
        if exchange.child.is_none() && !found.property().upstream.client_claims {
            claims::settle(&mut request.headers, &request.method, request.downstream.tls);
        }
        exchange.wishes = Wishes::of(&request.headers, &found.property().cache);
        exchange.pass = route::pass(request, &exchange.wishes, &found.property().cache);
        if exchange.wishes.only_if_cached && exchange.pass.is_some_and(|pass| pass != Pass::Method)
        {
            // Nothing that is stored may answer it (RFC 9111 5.2.1.7).
            return Err(Refusal::Failed(Failure::NOT_STORED));
        }
        exchange.route = Some(found);
        Ok(())
    }

    /// Asks the guard, and takes off the request what is for the guard alone.
    fn pass_the_door(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        policy: &crate::policy::Policy,
        place: usize,
        host: &str,
    ) -> Result<(), Refusal> {
        let granted = if exchange.child.is_some() {
            // It passed the door of the node that faces the client.
            crate::guard::Granted::default()
        } else {
            let checked = self.parts.guard.check(request, policy, place, host, exchange.began_at);
            checked.map_err(Refusal::AtTheDoor)?
        };
        let rest = granted.strip.target(&request.target);
        if has_cmcd(request) {
            let read = Cmcd::read(&request.headers, request.target.query(), rest.path());
            if read.is_err() && exchange.child.is_none() {
                self.parts.players.count_invalid();
            }
            exchange.cmcd = read.ok().flatten().map(Box::new);
        }
        if rest != &request.target {
            request.target = rest.clone();
        }
        granted.strip.clean(&mut request.headers);
        exchange.granted = granted.response_headers;
        exchange.meters = granted.meters;
        exchange.token = granted.token;
        Ok(())
    }

    /// Waits a moment for purges that the asking node knows of already.
    async fn catch_up(&self, exchange: &mut Exchange) {
        let Some(child) = &exchange.child else { return };
        let applied =
            self.parts.fetcher.lease().wait_applied(&child.seen, self.parts.purge_wait_max);
        if !applied.await {
            exchange.pass = exchange.pass.or(Some(Pass::Behind));
        }
    }

    /// The answer to a failure, when there is still somebody to read it. Gives back what is to be logged.
    async fn fail<S: Stream>(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        stream: &mut S,
        failure: Failure,
    ) -> Option<Failure> {
        if failure.status != 0 && exchange.status.is_none() {
            let answered =
                Box::pin(refuse::problem(self, exchange, request, failure, stream)).await;
            if let Err(Ended(gone)) = answered {
                return Some(gone);
            }
        }
        Some(failure)
    }

    fn close<S: Stream>(
        &self,
        exchange: &Exchange,
        request: &Request,
        stream: &S,
        failure: Option<Failure>,
    ) {
        let sent = stream.sent();
        self.counts.count(exchange, sent, failure, &self.parts.metrics);
        // What another node asks for was counted there.
        if let Some(route) = exchange.route.as_ref().filter(|_| exchange.child.is_none()) {
            self.parts.demand.count(&route.property().id, request.target.path(), sent);
        }
        if let Some(cmcd) = exchange.cmcd.as_ref().filter(|_| exchange.child.is_none()) {
            self.parts.players.count(cmcd);
        }
        if exchange.meters != crate::guard::Meters::default() {
            self.parts.guard.charge(exchange.meters, sent, std::time::Instant::now());
        }
        // A line a second about itself would help nobody.
        if self.parts.log.wants(exchange, failure) && !self_test::is_asked(request) {
            access_log::write(exchange, request, sent, failure);
        }
    }
}

/// The id that another node gave.
fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let id = headers.get(tidegate_contract::header::REQUEST_ID)?;
    (id.len() <= REQUEST_ID_BYTES_MAX && id.to_str().is_ok()).then_some(id)
}

/// Whether it is worth looking for what the player says.
fn has_cmcd(request: &Request) -> bool {
    let is_asked = request.method == Method::GET || request.method == Method::HEAD;
    let in_query = || request.target.query().is_some_and(|query| query.contains("CMCD"));
    let in_headers = || CMCD_HEADERS.iter().any(|name| request.headers.contains_key(*name));
    is_asked && (in_query() || in_headers())
}

const REQUEST_ID_BYTES_MAX: usize = 64;
/// Where CTA-5004 puts it.
const CMCD_HEADERS: [&str; 4] = ["cmcd-request", "cmcd-object", "cmcd-session", "cmcd-status"];
