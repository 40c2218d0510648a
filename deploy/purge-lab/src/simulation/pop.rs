//! A PoP in the simulation: the real table of purges, lease, follower and cache decision over objects without bytes.
//!
//! An object is the number of the version that it was made of; what a client gets is that number.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tidegate_chassis::Clock;
use tidegate_contract::{
    purge::PurgeOrder, purge_offset::epoch, replacement::Replacement, surrogate_key::SurrogateKey,
};
use tidegate_edge::{
    cache::{
        freshness::Freshness,
        lease::Lease,
        purge::{Limits, PurgeTable},
        reuse::{self, Question, Reuse},
        wishes::Wishes,
    },
    control::{
        Replace,
        follower::Follower,
        wire::{Purge, PurgeBatch, PurgeDown, purge_down},
    },
};

/// One PoP, from one crash to the next.
pub(super) struct Pop {
    pub(super) purges: PurgeTable,
    pub(super) lease: Lease,
    pub(super) follower: Follower,
    pub(super) objects: BTreeMap<usize, Stored>,
    /// Objects that are being fetched.
    pub(super) fetching: BTreeSet<usize>,
    /// Which life this is: what was fetched for an earlier one arrives nowhere.
    pub(super) life: u64,
    clock: Clock,
}

/// A stored response.
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) born: u64,
    /// How long it was on its way: while a PoP is uncertain, ages count from the arrival.
    pub(super) took_ms: u64,
    freshness: Freshness,
}

impl Pop {
    pub(super) fn new(clock: Clock, life: u64) -> Self {
        let purges = PurgeTable::new(clock.clone(), Limits::default());
        let lease = Lease::new(LEASE);
        lease.attach(purges.clone());
        let replace: Replace = Arc::new({
            let purges = purges.clone();
            move |order: &PurgeOrder, _: &Replacement, _| {
                purges.apply(order);
            }
        });
        let follower = Follower::new(purges.clone(), replace, lease.clone());
        Self {
            purges,
            lease,
            follower,
            objects: BTreeMap::new(),
            fetching: BTreeSet::new(),
            life,
            clock,
        }
    }

    /// The version that a client gets from the cache now; `None` when upstream must be asked first.
    pub(super) fn served(&self, object: usize, waited_for_it: bool) -> Option<u64> {
        let stored = self.objects.get(&object)?;
        let question = Question {
            now: self.clock.now(),
            freshness: &stored.freshness,
            verdict: self.purges.verdict([key(object).hash()], stored.born, true),
            is_certain: self.lease.is_certain(self.clock.now()),
            uncertain_age_max: UNCERTAIN_AGE_MAX,
            waited_for_it,
            is_for_child: false,
            soft_window: Duration::ZERO,
            wishes: Wishes::default(),
        };
        (reuse::decide(&question) == Reuse::Serve).then_some(stored.version)
    }

    /// Stores what arrived.
    pub(super) fn store(&mut self, object: usize, version: u64, born: u64, took_ms: u64) {
        let freshness = Freshness {
            received_at: self.clock.now(),
            initial_age: Duration::ZERO,
            lifetime: Duration::from_secs(3600),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_unreachable: Duration::ZERO,
            always_revalidate: false,
            forbids_stale: false,
            is_for_shared: false,
            is_immutable: false,
        };
        self.objects.insert(object, Stored { version, born, took_ms, freshness });
    }

    /// A mistake: goes on from an offset as if nothing had been missed. False across epochs, where offsets tell.
    pub(super) fn jump(&mut self, head: u64) -> bool {
        let applied = self.applied();
        if epoch(applied) != epoch(head) {
            return false;
        }
        let nothing = |offset| Purge {
            stream: "main".to_owned(),
            offset,
            id: "missed".to_owned(),
            order: br#"{"kind":"key","key":"nothing"}"#.to_vec(),
            accepted_unix_ms: 0,
            replacement: None,
        };
        let purges = (applied + 1..=head).map(nothing).collect();
        let message = purge_down::Message::Batch(PurgeBatch { purges });
        let now = self.clock.now();
        let (_, mut heard) = self.follower.hello("simulated", 0, now);
        self.follower.take(PurgeDown { message: Some(message) }, &mut heard, now).is_ok()
    }

    /// Up to where the log is applied.
    pub(super) fn applied(&self) -> u64 {
        self.lease.seen().values().copied().max().unwrap_or_default()
    }
}

/// By what an object is purged.
pub(super) fn key(object: usize) -> SurrogateKey {
    SurrogateKey::parse(format!("manifest-{object}")).expect("a good key")
}

/// The defaults of the edge.
pub(super) const LEASE: Duration = Duration::from_secs(5);
pub(super) const UNCERTAIN_AGE_MAX: Duration = Duration::from_secs(2);
