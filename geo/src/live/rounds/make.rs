//! One round after the other, each on a thread of its own.
//!
//! Invariant: a map that an operator holds is replaced by none that was begun before.

use std::{
    panic::resume_unwind,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::Rounds;
use crate::{
    live::{inbox::Inbox, still::home},
    map::{Inputs, Round},
};

/// A round that is made.
pub(super) struct Made {
    round: Round,
    took: Duration,
    demand: Arc<Vec<f64>>,
}

impl Rounds {
    pub(super) fn take_round(&mut self, now: SystemTime) {
        let Some(making) = self.making.take_if(|making| making.is_finished()) else { return };
        let Made { round: Round { map, moved }, took, demand } =
            making.join().unwrap_or_else(|panicked| resume_unwind(panicked));
        self.metrics.rounds.inc();
        self.metrics.round_seconds.observe(took.as_secs_f64());
        // An operator has held the map meanwhile: it stays what it was then.
        if self.is_held() {
            return;
        }
        (self.moved, self.took, self.demand) = (moved, took, demand);
        let is_of_now = **map.fleet() == *self.fleet;
        let map = if is_of_now { map } else { map.adjusted(&self.fleet) };
        let trust = self.state.worlds().newest().trust;
        self.publish(map, trust, now);
    }

    pub(super) fn make_round(&mut self, now: SystemTime) {
        (self.is_due, self.times.round) = (false, now);
        let (units, fleet) = (Arc::clone(&self.units), Arc::clone(&self.fleet));
        let (latency, demand) =
            (Arc::clone(&self.ingest.latency), Arc::clone(self.ingest.demand()));
        let world = self.state.worlds().newest_full();
        let home = home(self.beginning.home, self.beginning.own.as_ref(), &fleet);
        let inbox = Arc::clone(&self.inbox);
        let make = move || {
            // Whether it is made or it failed: whoever waits for it is to look.
            let _done = Done(inbox);
            let begun = Instant::now();
            let round = Round::make(Inputs {
                units: &units,
                demand: &demand,
                fleet: &fleet,
                latency: &latency,
                home,
                previous: Some(&world.map),
            });
            drop(latency);
            Made { round, took: begun.elapsed(), demand }
        };
        match thread::Builder::new().name("geo-round".into()).spawn(make) {
            Ok(making) => self.making = Some(making),
            Err(error) => {
                tracing::error!(%error, "no thread for a round; the map stays what it is");
                self.is_due = true;
            }
        }
    }
}

/// Wakes whoever waits for a round, however that ended.
struct Done(Arc<Inbox>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.tell(|news| news.is_made = true);
    }
}
