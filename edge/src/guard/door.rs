//! The door of one property: its rules made ready, and the steps in which a request passes them.
//!
//! Cheap steps stand before dear ones: rate, preflight, method, country, token. Invariant: every step can only refuse
//! or let on; none lets in what another would refuse.

use std::{cell::OnceCell, net::IpAddr, sync::Arc};

use http::{HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use tidegate_contract::{guard_policy::Rate, network::CountryCode, property::Property};

use super::{
    Shared,
    cors::{self, Cors},
    geo::Geo,
    rate::{Pace, subscriber},
    strip::{Rules, Strip},
    tokens::Tokens,
    verdict::{Granted, Meters, Reason, Reply},
};
use crate::listener::stream::Request;

/// The rules of a property.
#[derive(Debug)]
pub struct Door {
    /// Names the property in the table of rates; the same in every snapshot.
    id: u64,
    strip: Arc<Rules>,
    tokens: Option<Tokens>,
    cors: Option<Cors>,
    methods: Vec<Method>,
    allow: HeaderValue,
    geo: Option<Geo>,
    client_rate: Option<Limit>,
    token_rate: Option<Limit>,
}

/// A request at the door.
pub struct Visit<'a> {
    /// The request as it came.
    pub request: &'a Request,
    /// Its target without what is for the door alone.
    pub target: &'a PathAndQuery,
    /// Its host in lower case, without port.
    pub host: &'a str,
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Where the client is, looked up at most once.
    pub country: &'a dyn Fn() -> Option<CountryCode>,
}

/// Why a request goes no further, with the headers that say more.
#[derive(Debug)]
pub struct Stop {
    /// Why.
    pub reason: Reason,
    /// Headers of the answer beside those of its kind.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A rate made ready.
#[derive(Debug, Clone, Copy)]
struct Limit {
    requests: Pace,
    /// Nanoseconds for each KiB.
    kib: Option<u64>,
}

impl Door {
    /// The door of a property.
    #[must_use]
    pub fn new(property: &Property) -> Self {
        let policy = &property.guard;
        let hash = blake3::hash(property.id.as_str().as_bytes());
        let carriers = policy.tokens.as_ref().map(|tokens| &tokens.carriers);
        Self {
            id: u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of 32 bytes")),
            strip: Arc::new(Rules::new(carriers, policy.cors.is_some())),
            tokens: policy.tokens.as_ref().map(Tokens::new),
            cors: policy.cors.as_ref().map(Cors::new),
            methods: policy.methods.iter().filter_map(|name| name.parse().ok()).collect(),
            allow: policy.methods.join(", ").parse().unwrap_or(HeaderValue::from_static("")),
            geo: policy.geo.as_ref().map(Geo::new),
            client_rate: policy.rates.client.as_ref().map(Limit::new),
            token_rate: policy.rates.token.as_ref().map(Limit::new),
        }
    }

    /// What must go from a request for this target.
    #[must_use]
    pub fn strip(&self, target: &PathAndQuery) -> Strip {
        self.strip.strip(target)
    }

    /// Lets a request in, or answers it.
    ///
    /// # Errors
    /// The [`Reply`], boxed because it is rare and large.
    pub fn check(
        &self,
        request: &Request,
        host: &str,
        now: u64,
        shared: &Shared,
    ) -> Result<Granted, Box<Reply>> {
        let strip = self.strip(&request.target);
        let found = OnceCell::new();
        let client = request.downstream.client.ip();
        let country = || *found.get_or_init(|| self.country(client, request, shared));
        let target = strip.target(&request.target);
        let visit = Visit { request, target, host, now, country: &country };
        let mut response_headers = Vec::new();
        let passed = self.pass(&visit, shared, &mut response_headers);
        match passed {
            Ok((token, meters)) => {
                if let Some(cors) = &self.cors {
                    cors.respond(&request.headers, &mut response_headers);
                }
                Ok(Granted { strip, response_headers, token, meters })
            }
            Err(stop) => {
                let mut reply = match stop.reason.is_refusal() {
                    true => Reply::refusal(stop.reason, strip),
                    false => Reply::bare(stop.reason, strip),
                };
                reply.headers.extend(stop.headers);
                // The page may read why it was refused. An answered preflight says it already.
                if let Some(cors) = self.cors.as_ref().filter(|_| stop.reason != Reason::Preflight)
                {
                    cors.respond(&request.headers, &mut reply.headers);
                }
                Err(Box::new(reply))
            }
        }
    }

    /// All steps. What is to be said with the response goes into `response`.
    fn pass(
        &self,
        visit: &Visit<'_>,
        shared: &Shared,
        response: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<(Option<[u8; 8]>, Meters), Stop> {
        let mut meters = Meters::default();
        let request = visit.request;
        if let Some(limit) = &self.client_rate {
            let name = shared.rates.name((self.id, subscriber(request.downstream.client.ip())));
            meters.charged[0] = limit.take(name, Reason::RateClient, request, shared)?;
        }
        self.check_preflight(request)?;
        if !self.methods.is_empty() && !self.methods.contains(&request.method) {
            let headers = vec![(header::ALLOW, self.allow.clone())];
            return Err(Stop { reason: Reason::Method, headers });
        }
        if self.geo.as_ref().is_some_and(|geo| !geo.is_let_in((visit.country)())) {
            return Err(Reason::Geo.into());
        }
        let Some(tokens) =
            self.tokens.as_ref().filter(|tokens| tokens.is_needed(visit.target.path()))
        else {
            return Ok((None, meters));
        };
        let tag = tokens.open(visit, shared, response)?;
        if let Some(limit) = &self.token_rate {
            let name = shared.rates.name((self.id, "token", tag));
            meters.charged[1] = limit.take(name, Reason::RateToken, request, shared)?;
        }
        Ok((Some(tag), meters))
    }

    /// A browser's question is answered here; it carries no token.
    fn check_preflight(&self, request: &Request) -> Result<(), Stop> {
        let Some(cors) = &self.cors else { return Ok(()) };
        if !cors::is_preflight(&request.method, &request.headers) {
            return Ok(());
        }
        match cors.preflight(&request.headers) {
            Some(headers) => Err(Stop { reason: Reason::Preflight, headers }),
            None => Err(Reason::Origin.into()),
        }
    }

    fn country(&self, client: IpAddr, request: &Request, shared: &Shared) -> Option<CountryCode> {
        match &self.geo {
            Some(geo) => geo.country(client, &request.headers, shared.places.as_ref()),
            None => shared.places.as_ref()?.country(client),
        }
    }
}

impl Limit {
    fn new(rate: &Rate) -> Self {
        let per_second = u64::from(rate.requests_per_second);
        let kib = |bytes: u64| (NANOS_PER_KIB / bytes.max(1)).max(1);
        Self {
            requests: Pace::new(per_second, u64::from(rate.burst)),
            kib: rate.bytes_per_second.map(|bytes| kib(bytes.as_u64())),
        }
    }

    /// Takes one request; gives back how its bytes are charged.
    fn take(
        &self,
        name: u64,
        reason: Reason,
        request: &Request,
        shared: &Shared,
    ) -> Result<Option<(u64, u64)>, Stop> {
        let now = request.arrived_at;
        let meter = self.kib.map(|kib| (shared.rates.name((name, "bytes")), kib));
        let paid =
            meter.map_or(Ok(()), |(name, _)| shared.rates.is_paid(name, BYTES_AHEAD_NS, now));
        paid.and_then(|()| shared.rates.take(name, self.requests, now)).map_err(|wait| {
            // Whole seconds, rounded up (RFC 9110 10.2.3).
            let wait = HeaderValue::from(wait.as_millis().div_ceil(1000).min(WAIT_S_MAX) as u64);
            Stop { reason, headers: vec![(header::RETRY_AFTER, wait)] }
        })?;
        Ok(meter)
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self { reason, headers: Vec::new() }
    }
}

/// Nanoseconds a second, times the bytes of a KiB.
const NANOS_PER_KIB: u64 = 1_000_000_000 * 1024;
/// Ten seconds' worth of bytes at once: a player fills its buffer first.
const BYTES_AHEAD_NS: u64 = 10 * 1_000_000_000;
/// Nobody is told to wait longer.
const WAIT_S_MAX: u128 = 3600;
