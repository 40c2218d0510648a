//! The rounds: every ten seconds a map is made from what was heard, and at once when a PoP dies, drains or comes back.
//!
//! One thread owns everything that maps are made from and never waits for a map: a round runs on a thread of its own,
//! and while it does, a PoP that dies is taken out of the map in use ([`Map::adjusted`]). While nothing is heard nothing fades
//! and nothing is learned: rounds only bring to an end what a bounded step at a time had begun.
//!
//! Invariant: a map that comes out of a round is adjusted to the fleet of the moment before anybody sees it.

mod begin; // the first map
mod make; // the next one
mod keep; // what a start begins with
mod say; // what everybody else sees

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use tidegate_chassis::Clock;
use tidegate_contract::geo_feed::FleetView;

pub(super) use self::begin::Beginning;
use self::make::Made;

use super::{
    inbox::{Inbox, News},
    ingest::Ingest,
    metrics::Metrics,
    seen::Seen,
    state::State,
    told,
};
use crate::{fleet::Fleet, map::settle::Moved, unit::Units};

/// How often a map is made while the control plane is heard.
const ROUND_EVERY: Duration = Duration::from_secs(10);
/// Round trips lose half of their weight so often.
const FADE_EVERY: Duration = Duration::from_secs(60);
/// After so long without a word nothing fades and nobody moves.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// Makes maps.
pub(super) struct Rounds {
    beginning: Beginning,
    inbox: Arc<Inbox>,
    clock: Clock,
    metrics: Metrics,
    state: Arc<State>,
    view: Option<Arc<FleetView>>,
    told: Arc<Fleet>,
    seen: Arc<Seen>,
    /// The fleet as it is told and as it is seen.
    fleet: Arc<Fleet>,
    units: Arc<Units>,
    ingest: Ingest,
    /// Why an operator holds the map here.
    hold: Option<String>,
    heard: SystemTime,
    load: Option<f64>,
    shed: f32,
    /// Demand that the map in use was made for.
    demand: Arc<Vec<f64>>,
    moved: Moved,
    took: Duration,
    round: u64,
    is_due: bool,
    times: Times,
    making: Option<JoinHandle<Made>>,
    keeping: Option<JoinHandle<()>>,
}

/// When something was done last.
struct Times {
    round: SystemTime,
    step: SystemTime,
    fade: SystemTime,
    keep: SystemTime,
    shed: SystemTime,
}

impl Rounds {
    /// What is known, for those who ask.
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The fleet as it was told last, also when that was before the start.
    pub(super) fn view(&self) -> Option<&Arc<FleetView>> {
        self.view.as_ref()
    }

    /// The fleet that the first map was made for.
    pub(super) fn told(&self) -> &Arc<Fleet> {
        &self.told
    }

    /// Makes maps until the process ends.
    pub(super) fn run(mut self) {
        loop {
            let wants_batches = self.making.is_none() && self.keeping.is_none();
            let news = self.inbox.wait(TURN_MAX, wants_batches);
            let is_ended = news.is_ended;
            self.turn(news);
            if is_ended {
                break;
            }
        }
        self.keep_last();
    }

    /// Takes news in and does what is to be done.
    pub(super) fn turn(&mut self, news: News) {
        let now = self.clock.now();
        self.learn(news, now);
        self.follow_fleet(now);
        self.take_round(now);
        self.step(now);
        // Without anything to be heard only what waits for its share of a round goes on.
        let goes_on = self.hears(now) || self.moved.left > 0.0;
        let is_time = elapsed(self.times.round, now) >= ROUND_EVERY && goes_on;
        if (self.is_due || is_time) && self.making.is_none() && !self.is_held() {
            self.make_round(now);
        }
        self.keep(now);
        self.weigh_trust(now);
        self.tell();
    }

    fn learn(&mut self, news: News, now: SystemTime) {
        let News { view, fleet, places, seen, hold, heard, load, batches, .. } = news;
        if let Some(view) = view {
            match told::fleet(&view) {
                Ok(fleet) => self.told = Arc::new(fleet),
                // It has been said where it was heard.
                Err(_) => self.metrics.refused.with_label_values(&["fleet"]).inc(),
            }
            if let Some(kept) = &self.beginning.kept {
                said(kept.keep_view(&view), "the fleet cannot be kept");
            }
            self.view = Some(view);
            self.heard = now;
        }
        if let Some(fleet) = fleet {
            self.told = Arc::new(fleet);
        }
        if let Some(units) = places {
            self.units = Arc::clone(&units);
            self.ingest.follow_units(units);
            self.is_due = true;
        }
        if let Some(seen) = seen {
            self.seen = Arc::new(seen);
        }
        if let Some(hold) = hold {
            if let Some(kept) = &self.beginning.kept {
                said(kept.keep_hold(hold.as_deref()), "the hold cannot be kept");
            }
            self.hold = hold;
        }
        self.heard = heard.map_or(self.heard, |heard| heard.max(self.heard));
        if let Some(load) = load {
            self.load = load;
        }
        for batch in batches {
            self.ingest.take(&batch);
        }
    }

    /// Takes the fleet as it is told and as it is seen; what died is out of answers from here on.
    fn follow_fleet(&mut self, now: SystemTime) {
        let fleet = self.seen.applied(&self.told);
        if fleet == *self.fleet {
            return;
        }
        self.fleet = Arc::new(fleet);
        self.ingest.follow_fleet(&self.fleet);
        self.is_due = true;
        let world = self.state.worlds().newest_full();
        self.publish(world.map.adjusted(&self.fleet), world.trust, now);
    }

    /// Time passes for what was measured, as long as there is something to be heard.
    fn step(&mut self, now: SystemTime) {
        if !self.hears(now) {
            (self.times.fade, self.times.step) = (now, now);
            return;
        }
        if elapsed(self.times.fade, now) >= FADE_EVERY && self.ingest.is_free() {
            self.ingest.fade();
            self.times.fade = now;
        }
        let since = elapsed(self.times.step, now);
        if since >= ROUND_EVERY {
            self.ingest.step(since);
            self.times.step = now;
        }
    }

    /// Why an operator holds the map, here or at the control plane.
    fn reason(&self) -> Option<&str> {
        let told = || self.view.as_ref().and_then(|view| view.frozen.as_deref());
        self.hold.as_deref().or_else(told)
    }

    /// A map without PoPs is not worth holding.
    fn is_held(&self) -> bool {
        self.reason().is_some() && !self.state.worlds().newest().map.fleet().pops().is_empty()
    }

    fn hears(&self, now: SystemTime) -> bool {
        self.beginning.has_control && self.silence(now) <= SILENT_AFTER
    }

    fn silence(&self, now: SystemTime) -> Duration {
        if self.beginning.has_control { elapsed(self.heard, now) } else { Duration::ZERO }
    }
}

fn elapsed(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or_default()
}

/// Says what failed and goes on without.
fn said<T, E: std::fmt::Display>(outcome: Result<T, E>, what: &str) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(%error, "{what}");
            None
        }
    }
}

/// So long nothing happens at most: time passes by itself.
const TURN_MAX: Duration = Duration::from_millis(500);
