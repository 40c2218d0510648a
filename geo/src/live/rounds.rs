//! The rounds: every ten seconds a map is made from what was heard, and at once when a PoP dies, drains or comes back.
//!
//! One thread owns everything that maps are made from and never waits for a map: a round runs on a thread of its own,
//! and while it does, a PoP that dies is taken out of the map in use ([`Map::adjusted`]). While nothing is heard nothing fades
//! and nothing is learned: rounds only bring to an end what a bounded step at a time had begun.
//!
//! Invariant: a map that comes out of a round is adjusted to the fleet of the moment before anybody sees it.

use std::{
    mem,
    panic::resume_unwind,
    sync::{Arc, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tidegate_chassis::Clock;
use tidegate_contract::{geo_feed::FleetView, id::PopId};

use super::{
    inbox::{Inbox, News},
    ingest::Ingest,
    kept::{Kept, Past, demand_of},
    metrics::Metrics,
    seen::Seen,
    state::{self, State, Status},
    told,
    trust::{self, SHED_EVERY, Standing},
};
use crate::{
    fleet::{Fleet, PopState},
    map::{Inputs, Map, Round, settle::Moved},
    place::Place,
    unit::Units,
    world::{Trust, World, Worlds},
};

/// How often a map is made while the control plane is heard.
const ROUND_EVERY: Duration = Duration::from_secs(10);
/// Round trips lose half of their weight so often.
const FADE_EVERY: Duration = Duration::from_secs(60);
/// What is known is kept so often.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// After so long without a word nothing fades and nobody moves.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// What a node starts with.
pub(super) struct Beginning {
    /// The PoP of this node.
    pub(super) own: Option<PopId>,
    /// For how long a map is good without a word.
    pub(super) alone_after: Duration,
    /// Where clients are that nobody can locate, when that was said.
    pub(super) home: Option<Place>,
    /// Whether there is a control plane to be heard.
    pub(super) has_control: bool,
    /// The Internet.
    pub(super) units: Arc<Units>,
    /// The fleet of a file.
    pub(super) fleet: Option<Fleet>,
    /// What was kept.
    pub(super) kept: Option<Kept>,
}

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

struct Made {
    round: Round,
    took: Duration,
    demand: Arc<Vec<f64>>,
}

impl Rounds {
    /// Makes the first map, from what was kept as far as there is something.
    pub(super) fn begin(
        beginning: Beginning,
        inbox: Arc<Inbox>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let now = clock.now();
        let view = beginning.kept.as_ref().filter(|_| beginning.has_control).and_then(|kept| {
            said(kept.view(), "the fleet that was kept cannot be used").flatten().map(Arc::new)
        });
        let of_view = view
            .as_ref()
            .and_then(|view| said(told::fleet(view), "the fleet that was kept cannot be used"));
        let told = Arc::new(of_view.or(beginning.fleet.clone()).unwrap_or_default());
        let kept = beginning.kept.as_ref();
        let hold = kept.and_then(|kept| said(kept.hold(), "the hold that was kept cannot be used"));
        let past =
            kept.and_then(|kept| said(kept.past(&told), "what was kept of units cannot be used"));
        let units = Arc::clone(&beginning.units);
        let mut ingest = Ingest::new(Arc::clone(&units), &told);
        let Past { shares, latency, round, .. } = {
            let mut past = past.unwrap_or_default();
            let demand = demand_of(&units, &past);
            ingest.recall(mem::take(&mut past.latency), demand);
            Past { latency: crate::latency::Latency::default(), ..past }
        };
        drop(latency);
        let previous = (!shares.is_empty())
            .then(|| Map::recalled(Arc::clone(&units), Arc::clone(&told), &shares));
        let demand = Arc::clone(ingest.demand());
        let begun = Instant::now();
        let Round { map, moved } = Round::make(Inputs {
            units: &units,
            demand: &demand,
            fleet: &told,
            latency: &ingest.latency,
            home: home(&beginning, &told),
            previous: previous.as_ref(),
        });
        let took = begun.elapsed();
        let since_1970 = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let round = since_1970.max(round + 1);
        let worlds = Worlds::new(World { map, trust: Trust::Current, round, heard: now });
        let state = State::new(worlds, Status::default(), now);
        let times = Times { round: now, step: now, fade: now, keep: now, shed: now };
        let rounds = Self {
            inbox,
            clock,
            metrics,
            state,
            view,
            fleet: Arc::clone(&told),
            told,
            seen: Arc::default(),
            units,
            ingest,
            hold: hold.flatten(),
            heard: now,
            load: None,
            shed: 0.0,
            demand,
            moved,
            took,
            round,
            is_due: false,
            times,
            making: None,
            keeping: None,
            beginning,
        };
        rounds.tell();
        rounds
    }

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

    fn take_round(&mut self, now: SystemTime) {
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

    fn make_round(&mut self, now: SystemTime) {
        (self.is_due, self.times.round) = (false, now);
        let (units, fleet) = (Arc::clone(&self.units), Arc::clone(&self.fleet));
        let (latency, demand) =
            (Arc::clone(&self.ingest.latency), Arc::clone(self.ingest.demand()));
        let world = self.state.worlds().newest_full();
        let home = home(&self.beginning, &fleet);
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

    fn keep(&mut self, now: SystemTime) {
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

    fn weigh_trust(&mut self, now: SystemTime) {
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

    fn publish(&mut self, map: Map, trust: Trust, now: SystemTime) {
        self.round += 1;
        let mut history = self.state.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(&map, self.round, now);
        drop(history);
        let heard = if self.beginning.has_control { self.heard } else { now };
        self.state.worlds().replace(World { map, trust, round: self.round, heard });
    }

    /// Says how everything is, for those who ask.
    fn tell(&self) {
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

/// Wakes whoever waits for a round, however that ended.
struct Done(Arc<Inbox>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.tell(|news| news.is_made = true);
    }
}

fn home(beginning: &Beginning, fleet: &Fleet) -> Place {
    let own = beginning.own.as_ref().and_then(|own| fleet.index(own)).map(usize::from);
    let pop = own.map_or_else(|| fleet.pops().first(), |own| fleet.pops().get(own));
    let nowhere = || Place::new(0.0, 0.0).expect("off Africa");
    beginning.home.unwrap_or_else(|| pop.map_or_else(nowhere, |pop| pop.place))
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

/// The fleet of a file.
pub(super) fn fleet_of(path: &std::path::Path) -> anyhow::Result<Fleet> {
    let named = || path.display().to_string();
    let bytes = std::fs::metadata(path).with_context(named)?.len();
    anyhow::ensure!(bytes <= FLEET_BYTES_MAX, "{}: more than {FLEET_BYTES_MAX} bytes", named());
    let text = std::fs::read_to_string(path).with_context(named)?;
    Fleet::from_toml(&text).with_context(named)
}

/// A fleet of 4,096 PoPs has less.
const FLEET_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So long nothing happens at most: time passes by itself.
const TURN_MAX: Duration = Duration::from_millis(500);
const STATES: [(&str, PopState); 4] = [
    ("up", PopState::Up),
    ("troubled", PopState::Troubled),
    ("draining", PopState::Draining),
    ("down", PopState::Down),
];
