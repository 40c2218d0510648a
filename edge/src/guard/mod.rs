//! The door: may this request be answered at all, and what must not be seen behind?
//!
//! A request passes rates, CORS, methods, countries and playback tokens, in this order, before the cache is asked.
//! It comes out as [`Granted`], which says what to take off it and what to add to the response, or as a [`Reply`].
//! Requests of other nodes (with a good tier seal) passed the door of the node that faces the client and are not
//! asked again. Invariant: no token reaches a cache key, a log, a metric or upstream.

pub mod doors; // made ready once per policy
pub mod door; // the steps of one property
mod tokens; // which token opens, how it lives on
pub mod known; // tokens whose signature was good a moment ago
pub mod session; // the cookie for a token in the URL
pub mod cors; // what pages of other origins may do
pub mod geo; // where a client is
pub mod rate; // how much one client and one token may ask for
pub mod carrier; // where a request carries its token
pub mod token; // Common Access Token and JWT
mod metrics;
mod verdict; // what comes out
pub mod strip; // what is for the door alone
pub mod plain_path; // a path that every server reads alike
pub mod base64url;
pub mod clock;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::uri::PathAndQuery;
use prometheus::Registry;

use self::{
    clock::unix_s,
    doors::Doors,
    geo::Places,
    known::Known,
    rate::{CLOCK_BYTES, Rates},
    strip::Strip,
};
pub use self::{
    metrics::Metrics,
    verdict::{Granted, Meters, Reason, Reply},
};
use crate::{listener::stream::Request, policy::Policy};

/// The doors of a node. One for all threads.
pub struct Guard {
    doors: Doors,
    shared: Shared,
}

/// What all doors share.
pub struct Shared {
    /// Clocks of clients and tokens.
    pub rates: Rates,
    /// Tokens that were read.
    pub known: Known,
    /// Where addresses are, as far as the node knows.
    pub places: Option<Arc<dyn Places>>,
    /// Numbers.
    pub metrics: Metrics,
}

impl Guard {
    /// Doors without visitors.
    #[must_use]
    pub fn new(registry: &Registry, places: Option<Arc<dyn Places>>, now: Instant) -> Self {
        let shared = Shared {
            rates: Rates::new(CLOCKS_BYTES_MAX / CLOCK_BYTES, now),
            known: Known::default(),
            places,
            metrics: Metrics::register(registry),
        };
        Self { doors: Doors::default(), shared }
    }

    /// Lets a request for the property at a place of a policy in, or answers it. `host` is in lower case, without port.
    ///
    /// # Errors
    /// The [`Reply`] to send instead.
    pub fn check(
        &self,
        request: &Request,
        policy: &Policy,
        place: usize,
        host: &str,
        now: SystemTime,
    ) -> Result<Granted, Box<Reply>> {
        let now = unix_s(now);
        let check = |door: &door::Door| door.check(request, host, now, &self.shared);
        // No property, no rules: route refuses it.
        let checked =
            self.doors.with(policy, place, check).unwrap_or_else(|| Ok(Granted::default()));
        if let Err(reply) = &checked {
            self.shared.metrics.count(reply.reason);
        }
        checked
    }

    /// What would be taken off a request that is let in.
    #[must_use]
    pub fn strip(&self, policy: &Policy, place: usize, target: &PathAndQuery) -> Strip {
        self.doors.with(policy, place, |door| door.strip(target)).unwrap_or_default()
    }

    /// Counts the bytes of a response that was sent for whoever asked.
    pub fn charge(&self, meters: Meters, bytes: u64, now: Instant) {
        for (name, kib) in meters.charged.into_iter().flatten() {
            let cost = u128::from(bytes) * u128::from(kib) / 1024;
            self.shared.rates.charge(name, u64::try_from(cost).unwrap_or(u64::MAX), now);
        }
    }
}

/// Of the table of rates: about 250000 clients and tokens at a time.
const CLOCKS_BYTES_MAX: usize = 4 * 1024 * 1024;
