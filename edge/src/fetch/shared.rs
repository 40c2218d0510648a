//! What all fetches of a node share, and how upstream is asked.
//!
//! Invariant: what purges a fetch knows of is settled before upstream is asked, never after.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, Method};
use tidegate_chassis::Clock;

use super::{
    collapse::Collapse,
    config::Config,
    memory::Memory,
    metrics::Metrics,
    playlists::Playlists,
    prefetch::Prefetches,
    relay::Relays,
    tier::{self, NodeName},
    wanted::{Route, Wanted},
};
use crate::{
    cache::{self, key::Key, lease::Lease, purge::PurgeTable, store::Store, variance::Vary},
    error::Failure,
    policy::Policy,
    upstream::{Answer, Ask, Candidate, Client, Home, Interim, RequestBody, Trace, Upstreams},
};

/// What fetches are built from.
pub struct Parts {
    /// What is stored.
    pub store: Store,
    /// Which purges were applied.
    pub purges: PurgeTable,
    /// Whether every purge is known.
    pub lease: Lease,
    /// Who is asked.
    pub upstreams: Arc<Upstreams>,
    /// The time of day.
    pub clock: Clock,
    /// Sizes and waits of the cache.
    pub cache: cache::Config,
    /// Section `[fetch]`.
    pub config: Config,
    /// The numbers of fetches.
    pub metrics: Metrics,
}

/// The parts, and what is remembered between fetches.
pub(super) struct Shared {
    pub(super) parts: Parts,
    pub(super) collapse: Collapse,
    /// Resources that are not storable.
    pub(super) unstorable: Memory<&'static str>,
    /// Resources that cannot be put together from slices.
    pub(super) unsliceable: Memory<Unsliceable>,
    /// By which headers resources vary, so that requests for different variants do not wait for one another.
    pub(super) varies: Memory<Vary>,
    pub(super) playlists: Playlists,
    pub(super) prefetches: Prefetches,
    pub(super) relays: Relays,
    /// Resources whose body came with a purge, and which fill that was.
    pub(super) replaced: Memory<u64>,
    /// Tells this process from others of its PoP.
    process: u64,
    node: ArcSwapOption<NodeName>,
}

/// What to ask for instead of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsliceable {
    /// The whole.
    Whole,
    /// What the client asks for: the whole is too large to be kept.
    Pass,
}

/// What is asked of upstream, beside what is wanted.
pub(super) struct Question {
    pub(super) method: Method,
    /// End-to-end headers, without traces.
    pub(super) headers: HeaderMap,
    pub(super) body: Option<RequestBody>,
    pub(super) interim: Option<Interim>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let entries = parts.cache.unstorable_max;
        let time = parts.config.unstorable_time;
        Self {
            collapse: Collapse::default(),
            unstorable: Memory::new(entries, time),
            unsliceable: Memory::new(entries, time),
            varies: Memory::new(entries, VARIES_TIME),
            playlists: Playlists::new(&parts.config, parts.clock.clone()),
            prefetches: Prefetches::new(&parts.config, parts.metrics.prefetches.clone()),
            relays: Relays::default(),
            replaced: Memory::new(entries, REPLACED_TIME),
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

    /// What a fetch that begins now knows of purges. One that may come from another node knows only of those that the
    /// other is told of.
    pub(super) fn born(&self, route: &Route) -> u64 {
        let has_siblings = self.parts.upstreams.has_siblings();
        let asks_node = has_siblings || !route.policy.snapshot.shields.is_empty();
        let settled = asks_node.then(|| self.parts.lease.settled()).flatten();
        settled.unwrap_or_else(|| self.parts.purges.seq())
    }

    /// Asks upstream; the answer's head has arrived when this returns.
    pub(super) async fn ask(&self, wanted: &Wanted, question: Question) -> Result<Answer, Failure> {
        self.ask_others(wanted, question, None).await
    }

    /// The same, where one upstream is asked only when nobody else answers.
    pub(super) async fn ask_others(
        &self,
        wanted: &Wanted,
        question: Question,
        last: Option<Candidate>,
    ) -> Result<Answer, Failure> {
        let route = &wanted.route;
        let node = self.node(Some(&route.policy));
        let mut headers = question.headers;
        let client = wanted.client.map(|client| Client {
            ip: client.ip,
            is_tls: client.is_tls,
            host: &route.host,
        });
        let trace =
            Trace { node: &node.name, process: &node.unique, request_id: &wanted.id, client };
        trace.leave(&mut headers);
        // After `born` was taken, so that what it stands for is in `seen`.
        let seal = || tier::seal(&route.policy.snapshot, self.parts.lease.seen(), self.now());
        let mut avoid = self.playlists.avoided(route);
        avoid.extend(last);
        let ask = Ask {
            policy: &route.policy,
            property: route.property,
            key: &route.key,
            home: wanted.home,
            host: &route.host,
            path: &route.path,
            method: question.method,
            headers,
            body: question.body,
            avoid,
            interim: question.interim,
            seal: Some(&seal),
            hold: self.playlists.hold(route, self.parts.config.hold_max),
        };
        self.parts.upstreams.ask(ask).await
    }

    /// The request with who of the PoP fetches for it. One that a sibling makes is never sent to a sibling again.
    pub(super) fn placed(&self, wanted: &Arc<Wanted>) -> Arc<Wanted> {
        match self.home(wanted) {
            home if home == wanted.home => wanted.clone(),
            home => Arc::new(Wanted { home, ..Wanted::clone(wanted) }),
        }
    }

    /// Who of the PoP fetches for a request.
    pub(super) fn home(&self, wanted: &Wanted) -> Option<Home> {
        let is_open = !wanted.is_for_sibling;
        is_open.then(|| self.parts.upstreams.home(&wanted.route.key)).flatten()
    }

    /// The key under which requests for one answer find each other: of the variant, where the resource is known to
    /// vary.
    pub(super) fn slot(&self, wanted: &Wanted) -> Key {
        let route = &wanted.route;
        let key = match self.varies.get(&route.key) {
            Some(vary) => {
                let variant = vary.select(&wanted.headers, &route.property().cache.vary);
                route.key.variant(&variant)
            }
            None => route.key,
        };
        slot_of(wanted, key)
    }

    /// How long a request waits for the head of somebody else's answer.
    pub(super) fn wait_max(&self, route: &Route) -> Duration {
        let hold = self.playlists.hold(route, self.parts.config.hold_max);
        self.parts.cache.collapse_wait_max.max(hold.unwrap_or_default())
    }

    /// The largest body that is kept for a property on this node.
    pub(super) fn bytes_max(&self, route: &Route) -> u64 {
        let policy = &route.property().cache;
        policy.object_bytes_max.as_u64().min(self.parts.cache.object_max.as_u64())
    }
}

/// The key of what is asked for, which is another one where a sibling is asked. A sibling's request must not wait for an
/// ask that may wait for that very sibling: where two nodes disagree about who owns, both would wait for ever.
pub(super) fn slot_of(wanted: &Wanted, key: Key) -> Key {
    match wanted.home {
        Some(Home::Sibling(_)) => key.elsewhere(),
        Some(Home::Here) | None => key,
    }
}

/// How long it is remembered that a resource varies: only a hint, so that an hour is enough.
const VARIES_TIME: Duration = Duration::from_secs(3600);
/// How long an operator is told that a body came with a purge; what is kept longer is no live manifest.
const REPLACED_TIME: Duration = Duration::from_secs(24 * 3600);
