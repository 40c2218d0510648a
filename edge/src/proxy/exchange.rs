//! One exchange: what is known of a request on its way through the phases.
//!
//! A leaf: phases write into it, later phases read. Invariant: nothing in here outlives the exchange.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use tidegate_contract::{property::Property, tier::TierRequest};

use crate::{
    cache::{freshness::Freshness, key::Key, reuse::Reuse},
    listener::Downstream,
    policy::Policy,
};

/// The state of one exchange.
pub struct Exchange {
    /// When it began, for durations.
    pub started: Instant,
    /// When it began, for ages.
    pub began_at: SystemTime,
    /// Its name in the logs of every program that it passes.
    pub id: String,
    /// The client's side; absent until the request was read.
    pub downstream: Option<Downstream>,
    /// Whether this is a revalidation in the background: no client waits for it.
    pub is_background: bool,
    /// Where it goes; absent when the request was refused before.
    pub route: Option<Route>,
    /// The node that asks, when another node of the same control plane does.
    pub child: Option<TierRequest>,
    /// Why the cache is not asked at all.
    pub pass: Option<Pass>,
    /// Whether the client takes only a stored response.
    pub only_if_cached: bool,
    /// The number of the last purge known before upstream was asked.
    pub born: u64,
    /// What was found in the cache last, and what was decided about it.
    pub found: Option<FoundHead>,
    /// Why the response was not stored.
    pub unstorable: Option<&'static str>,
    /// How long the response counts that is being stored.
    pub stored: Option<Freshness>,
    /// The exchange with upstream.
    pub forward: Forward,
}

/// Where an exchange goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The policy that it began under.
    pub policy: Arc<Policy>,
    /// The place of its property in that policy.
    pub property: usize,
    /// The host that was asked for: lower case, without port.
    pub host: String,
    /// The path as it is part of the key and asked of upstream.
    pub path: String,
    /// The name of the resource in the cache.
    pub key: Key,
}

/// Why an exchange passes the cache by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The method is neither GET nor HEAD.
    Method,
    /// The property keeps nothing.
    Policy,
    /// The request has a body or asks for another protocol.
    Shape,
    /// The asking node knows of purges that this one has not applied in time.
    Behind,
}

/// The head of a stored response and what was decided about it.
#[derive(Debug, Clone, Copy)]
pub struct FoundHead {
    /// How long it counts.
    pub freshness: Freshness,
    /// What was decided.
    pub reuse: Reuse,
    /// Whether it was still arriving.
    pub is_in_flight: bool,
}

/// The exchange with upstream.
#[derive(Debug, Default)]
pub struct Forward {
    /// When upstream was first asked.
    pub asked_at: Option<SystemTime>,
    /// The upstreams to try, the next one last.
    pub candidates: Vec<Candidate>,
    /// Whether `candidates` was filled.
    pub is_planned: bool,
    /// The upstream that is being asked.
    pub current: Option<Candidate>,
    /// How often upstream was asked.
    pub attempts: u32,
    /// The status that upstream answered with.
    pub status: Option<u16>,
    /// Its `Cache-Status`, of this very answer.
    pub cache_status: Option<HeaderValue>,
    /// The headers of a 304 that confirms what is stored.
    pub confirmation: Option<HeaderMap>,
    /// Whether a stored response was served because upstream failed.
    pub is_stale_on_error: bool,
}

/// An upstream that may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which list it is from.
    pub tier: Tier,
    /// Its place in that list.
    pub place: usize,
}

/// What an upstream is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// A shield of the same control plane.
    Shield,
    /// An origin of the property.
    Origin,
}

impl Exchange {
    /// A fresh one.
    #[must_use]
    pub fn new(began_at: SystemTime) -> Self {
        Self {
            started: Instant::now(),
            began_at,
            id: String::new(),
            downstream: None,
            is_background: false,
            route: None,
            child: None,
            pass: None,
            only_if_cached: false,
            born: 0,
            found: None,
            unstorable: None,
            stored: None,
            forward: Forward::default(),
        }
    }
}

impl Route {
    /// The property that serves it.
    #[must_use]
    pub fn property(&self) -> &Property {
        &self.policy.snapshot.properties[self.property]
    }
}

impl Pass {
    /// The reason in logs and in `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Policy => "policy",
            Self::Shape => "shape",
            Self::Behind => "behind",
        }
    }
}

impl Tier {
    /// The word in logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shield => "shield",
            Self::Origin => "origin",
        }
    }
}
