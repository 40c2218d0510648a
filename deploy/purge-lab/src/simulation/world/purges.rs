//! Manifests change, the operator purges them, and somebody waits until all have heard.
//!
//! A purge that was not accepted is nobody's to rely on.

use std::collections::BTreeMap;

use tidegate_contract::{
    id::PurgeId,
    purge::{PurgeOrder, PurgeTarget},
};
use tidegate_control::{
    purge::{Limits, confirm, is_complete},
    store::NewPurge,
};

use super::{
    super::pop::{LEASE, UNCERTAIN_AGE_MAX, key},
    Event, LEASE_MARGIN, OBJECTS, Purged, World,
};

impl World {
    /// Manifests change, and the operator purges them.
    pub(super) fn purge(&mut self) {
        let burst = if self.random.chance(15) { self.random.between(2, 25) } else { 1 };
        for _ in 0..burst {
            self.purge_one();
        }
        self.after(50, 1500, Event::Purge);
    }

    pub(super) fn purge_one(&mut self) {
        let replica = self.random.one_of(self.replicas.len());
        let (now_ms, is_linked) = (self.now_ms, self.is_linked(replica));
        if !is_linked {
            return; // not accepted, so nobody relies on it
        }
        let is_all = self.random.chance(3);
        let object = self.random.one_of(OBJECTS);
        let target = if is_all { PurgeTarget::All } else { PurgeTarget::Key { key: key(object) } };
        let changed = if is_all { 0..OBJECTS } else { object..object + 1 };
        let mut versions = BTreeMap::new();
        for object in changed {
            self.versions[object] += 1;
            versions.insert(object, self.versions[object]);
        }
        let order = PurgeOrder { target, soft: false };
        let entry = self.log.push(self.new_purge(order.clone(), now_ms));
        self.replicas[replica].head = entry.offset;
        self.report.purges += 1;
        let accepted_ms = now_ms;
        self.purges.push(Purged { entry, order, accepted_ms, versions, complete_ms: None });
        self.pump_all(replica);
    }

    pub(super) fn new_purge(&self, order: PurgeOrder, accepted_unix_ms: u64) -> NewPurge {
        let id = PurgeId::parse(format!("p{}", self.events_made)).expect("a good id");
        NewPurge {
            id,
            order,
            replacement: None,
            replacement_digest: None,
            accepted_unix_ms,
            idempotency_key: None,
        }
    }

    /// Somebody who waits looks whether a purge is complete.
    pub(super) fn look(&mut self) {
        let recent = self.purges.len().saturating_sub(30);
        if recent == self.purges.len() {
            return;
        }
        let chosen = recent + self.random.one_of(self.purges.len() - recent);
        let replica = self.random.one_of(self.replicas.len());
        let (is_alone, now_ms) = (self.replicas.len() == 1, self.now_ms);
        let (replica, purged) = (&self.replicas[replica], &mut self.purges[chosen]);
        if !replica.is_up(now_ms) || purged.complete_ms.is_some() {
            return;
        }
        let progress = replica.fleet.progress(purged.entry.offset);
        let limits =
            Limits { lease: LEASE + LEASE_MARGIN, uncertain_age_max: UNCERTAIN_AGE_MAX, is_alone };
        if is_complete(&confirm(&purged.entry, progress, now_ms, limits)) {
            purged.complete_ms = Some(now_ms);
            self.report.complete += 1;
        }
    }
}
