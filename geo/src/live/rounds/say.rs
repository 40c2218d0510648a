//! What everybody else sees of the rounds: the newest world, and how it stands with it.
//!
//! Invariant: numbers of worlds only grow.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::{Rounds, elapsed};
use crate::{
    fleet::PopState,
    live::{
        state::{self, Status},
        trust::{self, SHED_EVERY, Standing},
    },
    map::{Map, settle::Moved},
    world::{Trust, World},
};

impl Rounds {
    pub(super) fn weigh_trust(&mut self, now: SystemTime) {
        let world = self.state.worlds().newest_full();
        let pops = world.map.fleet();
        let own = self.beginning.own.as_ref().and_then(|own| pops.index(own));
        let own = own.filter(|own| pops.pops()[usize::from(*own)].takes_clients());
        if !matches!(world.trust, Trust::Alone { .. }) {
            (self.shed, self.times.shed) = (0.0, now);
        } else if elapsed(self.times.shed, now) >= SHED_EVERY {
            self.shed = trust::next_shed(self.shed, self.load);
            self.times.shed = now;
        }
        let trust = trust::trust(Standing {
            silent: self.silence(now),
            alone_after: self.beginning.alone_after,
            is_held: self.is_held(),
            own,
            shed: self.shed,
        });
        if trust != world.trust {
            if state::name(trust) != state::name(world.trust) {
                tracing::warn!(trust = state::name(trust), "the map is trusted otherwise now");
            }
            self.publish(world.map.clone(), trust, now);
        }
    }

    pub(super) fn publish(&mut self, map: Map, trust: Trust, now: SystemTime) {
        self.round += 1;
        let mut history = self.state.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(&map, self.round, now);
        drop(history);
        let heard = if self.beginning.has_control { self.heard } else { now };
        self.state.worlds().replace(World { map, trust, round: self.round, heard });
    }

    /// Says how everything is, for those who ask.
    pub(super) fn tell(&self) {
        let status = Status {
            told: Arc::clone(&self.told),
            seen: Arc::clone(&self.seen),
            hold: self.reason().map(str::to_owned),
            heard: self.beginning.has_control.then_some(self.heard),
            demand: Arc::clone(&self.demand),
            moved: self.moved,
            round_took: self.took,
            pairs: self.ingest.latency.pairs(),
            own_load: self.load,
        };
        self.state.status.store(Arc::new(status));
        let now = self.clock.now();
        self.metrics.silence.set(self.silence(now).as_secs() as i64);
        self.metrics.pairs.set(self.ingest.latency.pairs() as i64);
        for (name, state) in STATES {
            let count = self.fleet.pops().iter().filter(|pop| pop.state == state).count();
            self.metrics.pops.with_label_values(&[name]).set(count as i64);
        }
        let sum: f64 = self.demand.iter().sum();
        let Moved { forced, chosen, left } = self.moved;
        for (name, amount) in [("forced", forced), ("chosen", chosen), ("left", left)] {
            let permille = if sum > 0.0 { amount / sum * 1000.0 } else { 0.0 };
            self.metrics.moved.with_label_values(&[name]).set(permille as i64);
        }
    }
}

const STATES: [(&str, PopState); 4] = [
    ("up", PopState::Up),
    ("troubled", PopState::Troubled),
    ("draining", PopState::Draining),
    ("down", PopState::Down),
];
