//! What clients get, what the origin answers, and the invariant that every answer is held against.
//!
//! The first answer that must never be ends the run.

use super::{
    super::{
        Mistake,
        pop::{LEASE, UNCERTAIN_AGE_MAX},
        replica::KNOWLEDGE_MAX,
    },
    EPOCH_MS, Event, Fetch, World,
};

impl World {
    pub(super) fn answer(&mut self, pop: usize, object: usize, waited: bool) {
        let at = &mut self.pops[pop];
        if let Some(version) = at.served(object, waited) {
            self.report.hits += 1;
            if !at.lease.is_certain(self.clock.now()) {
                self.report.uncertain_hits += 1;
            }
            self.check(pop, object, version);
        } else if at.fetching.insert(object) {
            self.report.fetches += 1;
            let (born, life, asked_ms) = (at.purges.seq(), at.life, self.now_ms);
            self.after(5, 400, Event::AtOrigin(Fetch { pop, life, object, born, asked_ms }));
        }
    }

    pub(super) fn arrived(&mut self, fetch: &Fetch, version: u64) {
        let Fetch { pop, life, object, born, asked_ms } = *fetch;
        let at = &mut self.pops[pop];
        if at.life != life {
            return;
        }
        at.fetching.remove(&object);
        let is_late = self.settings.mistake == Some(Mistake::BornOnArrival);
        let born = if is_late { at.purges.seq() } else { born };
        at.store(object, version, born, self.now_ms - asked_ms);
        self.answer(pop, object, true);
    }

    /// What must never be.
    pub(super) fn check(&mut self, pop: usize, object: usize, version: u64) {
        let (now_ms, applied) = (self.now_ms, self.pops[pop].applied());
        let longest = (LEASE + UNCERTAIN_AGE_MAX + KNOWLEDGE_MAX).as_millis() as u64;
        let took_ms = self.pops[pop].objects.get(&object).map_or(0, |stored| stored.took_ms);
        for purged in self.purges.iter().rev() {
            if purged.versions.get(&object).is_none_or(|since| *since <= version) {
                continue;
            }
            let why = if applied >= purged.entry.offset {
                "after it had applied the purge"
            } else if now_ms > purged.accepted_ms + longest + took_ms {
                "long after the purge was accepted"
            } else if purged.complete_ms.is_some_and(|told_ms| now_ms >= told_ms + took_ms) {
                "after somebody was told that the purge is complete"
            } else {
                continue;
            };
            let (target, ago) = (purged.order.target.kind(), now_ms - purged.accepted_ms);
            let offset = purged.entry.offset;
            self.report.violation = Some(format!(
                "at {} ms pop-{pop}, which stands at {applied}, served version {version} of manifest {object} {why}: \
                 {target} at offset {offset}, accepted {ago} ms before",
                now_ms - EPOCH_MS
            ));
            return;
        }
    }
}
