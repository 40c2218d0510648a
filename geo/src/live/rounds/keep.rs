//! What is known, kept for a start without a control plane.
//!
//! Invariant: only what was heard is kept; a node that hears nobody leaves what it kept before.

use std::{
    panic::resume_unwind,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use super::{Rounds, elapsed, said};

/// What is known is kept so often.
const KEEP_EVERY: Duration = Duration::from_secs(60);

impl Rounds {
    pub(super) fn keep(&mut self, now: SystemTime) {
        if let Some(keeping) = self.keeping.take_if(|keeping| keeping.is_finished()) {
            keeping.join().unwrap_or_else(|panicked| resume_unwind(panicked));
        }
        let is_time = elapsed(self.times.keep, now) >= KEEP_EVERY && self.hears(now);
        let Some(kept) = self.beginning.kept.clone().filter(|_| is_time) else { return };
        if self.keeping.is_some() || self.making.is_some() {
            return;
        }
        self.times.keep = now;
        let world = self.state.worlds().newest_full();
        let (units, demand) = (Arc::clone(&self.units), Arc::clone(self.ingest.demand()));
        let latency = Arc::clone(&self.ingest.latency);
        let keep = move || {
            let demand = (&*units, demand.as_slice());
            let kept = kept.keep_past(&world.map, world.round, demand, &latency);
            said(kept, "what is known of units cannot be kept");
        };
        self.keeping = said(
            thread::Builder::new().name("geo-keep".into()).spawn(keep),
            "no thread to keep what is known",
        );
    }

    /// Keeps what is known once more, before the process ends.
    pub(super) fn keep_last(&mut self) {
        if let Some(keeping) = self.keeping.take() {
            let _ = keeping.join();
        }
        if let (Some(kept), true) = (&self.beginning.kept, self.hears(self.clock.now())) {
            let world = self.state.worlds().newest_full();
            let demand = (&*self.units, self.ingest.demand().as_slice());
            let kept = kept.keep_past(&world.map, world.round, demand, &self.ingest.latency);
            said(kept, "what is known of units cannot be kept");
        }
    }
}
