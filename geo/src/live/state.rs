//! What the rounds know, for those who ask: explanations, the map as a table, differences.
//!
//! Invariant: whoever asks waits for no round.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde::Serialize;
use tidegate_contract::id::PopId;

use super::{
    catchment::{Catchment, CatchmentView, Wanted},
    history::{Difference, History},
    seen::Seen,
};
use crate::{
    explain::{Explanation, explain},
    fleet::{Fleet, Pop, PopState},
    map::settle::Moved,
    world::{Trust, World, Worlds},
};

/// What the rounds know.
pub struct State {
    worlds: Arc<Worlds>,
    pub(super) status: ArcSwap<Status>,
    pub(super) history: Mutex<History>,
    catchment: Arc<Mutex<Catchment>>,
}

/// What is known beside the map.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// The fleet as it is told, before this node's own eyes.
    pub(super) told: Arc<Fleet>,
    /// What this node sees.
    pub(super) seen: Arc<Seen>,
    /// Why the map is held.
    pub(super) hold: Option<String>,
    /// When the control plane was heard last; nothing where there is none.
    pub(super) heard: Option<SystemTime>,
    /// Demand by unit, of the places that the newest map is made from.
    pub(super) demand: Arc<Vec<f64>>,
    /// What the newest round moved.
    pub(super) moved: Moved,
    /// How long it took.
    pub(super) round_took: Duration,
    /// Pairs of units and PoPs that were measured.
    pub(super) pairs: usize,
    /// The load of the own PoP.
    pub(super) own_load: Option<f64>,
}

/// The map as a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MapView {
    /// The round that made it.
    pub round: u64,
    /// How far it can be trusted: `current`, `frozen` or `alone`.
    pub trust: &'static str,
    /// Why an operator holds it.
    pub frozen: Option<String>,
    /// The share of clients that the own PoP sends elsewhere while the node stands alone.
    pub shed: Option<f32>,
    /// The load of the own PoP over what it may carry, as its nodes tell it; absent: nobody knows.
    pub own_load: Option<f64>,
    /// For how long no control plane was heard, in seconds; absent where there is none.
    pub silent_seconds: Option<u64>,
    /// So much looks dead from here that it is not believed.
    pub looks_doubted: bool,
    /// Parts of the Internet.
    pub units: usize,
    /// What they ask for in sum, in the unit of capacities.
    pub demand: f64,
    /// Pairs of units and PoPs whose round trips were measured.
    pub measured_pairs: usize,
    /// The share of demand that the newest round moved because it must, for the better, and what waits.
    pub moved: [f64; 3],
    /// How long it took, in ms.
    pub round_ms: u64,
    /// The PoPs.
    pub pops: Vec<PopLine>,
}

/// One PoP in the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PopLine {
    /// Its id.
    pub pop: PopId,
    /// How it is, as answers have it.
    pub state: PopState,
    /// How the control plane, or the file of the fleet, has it; absent: it is not in it any more.
    pub told: Option<PopState>,
    /// How it looks from here: `good`, `dead`, or `partly` when some of its addresses are dead.
    pub seen: &'static str,
    /// What it may carry now.
    pub capacity: f64,
    /// What is planned for it.
    pub load: f64,
    /// The planned load over what it may carry.
    pub utilisation: f64,
    /// Units of which it has a part.
    pub units: usize,
    /// The share of all demand that it has.
    pub share: f64,
}

/// Why a client gets what it gets, and how far that can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveExplanation {
    /// The round that made the map.
    pub round: u64,
    /// How far it can be trusted.
    pub trust: &'static str,
    /// Why an operator holds it.
    pub frozen: Option<String>,
    /// For how long no control plane was heard, in seconds.
    pub silent_seconds: Option<u64>,
    /// PoPs that look dead from here.
    pub dead_from_here: Vec<PopId>,
    /// Why this one.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The addresses that are answered, of both families.
    pub addresses: Vec<std::net::IpAddr>,
}

impl State {
    pub(super) fn new(
        worlds: Arc<Worlds>,
        status: Status,
        catchment: Arc<Mutex<Catchment>>,
        now: SystemTime,
    ) -> Arc<Self> {
        let world = worlds.newest_full();
        let history = History::new(&world.map, world.round, now);
        Arc::new(Self {
            worlds,
            status: ArcSwap::from_pointee(status),
            history: Mutex::new(history),
            catchment,
        })
    }

    /// The worlds.
    #[must_use]
    pub fn worlds(&self) -> &Arc<Worlds> {
        &self.worlds
    }

    /// Why a client gets what it gets.
    #[must_use]
    pub fn explain(&self, client: std::net::IpAddr, now: SystemTime) -> LiveExplanation {
        let (world, status) = (self.worlds.newest_full(), self.status.load_full());
        let target = world.target(client);
        let both = target
            .into_iter()
            .flat_map(|target| world.addresses(target, false).chain(world.addresses(target, true)));
        LiveExplanation {
            round: world.round,
            trust: name(world.trust),
            frozen: status.hold.clone(),
            silent_seconds: silent(&status, now),
            dead_from_here: status.seen.pops.iter().cloned().collect(),
            explanation: explain(&world, client),
            addresses: both.collect(),
        }
    }

    /// The map as a table.
    #[must_use]
    pub fn map(&self, now: SystemTime) -> MapView {
        let (world, status) = (self.worlds.newest_full(), self.status.load_full());
        let pops = world.map.fleet().pops();
        let shares = shares(&world, &status.demand);
        let demand: f64 = status.demand.iter().sum();
        let line = |(index, pop): (usize, &Pop)| {
            let dead = |address: &std::net::IpAddr| status.seen.addresses.contains(address);
            let told =
                status.told.index(&pop.id).map(|index| &status.told.pops()[usize::from(index)]);
            let seen = match told {
                _ if status.seen.pops.contains(&pop.id) => "dead",
                Some(told) if told.addresses.iter().any(dead) => "partly",
                _ => "good",
            };
            let utilisation = world.map.utilisation()[index];
            PopLine {
                pop: pop.id.clone(),
                state: pop.state,
                told: told.map(|told| told.state),
                seen,
                capacity: pop.usable(),
                load: utilisation * pop.usable(),
                utilisation,
                units: shares[index].0,
                share: if demand > 0.0 { shares[index].1 / demand } else { 0.0 },
            }
        };
        let Moved { forced, chosen, left } = status.moved;
        let share = |amount: f64| if demand > 0.0 { amount / demand } else { 0.0 };
        MapView {
            round: world.round,
            trust: name(world.trust),
            frozen: status.hold.clone(),
            shed: match world.trust {
                Trust::Alone { shed, .. } => Some(shed),
                Trust::Current | Trust::Frozen => None,
            },
            own_load: status.own_load,
            silent_seconds: silent(&status, now),
            looks_doubted: status.seen.is_doubted,
            units: world.map.units().all().len(),
            demand,
            measured_pairs: status.pairs,
            moved: [share(forced), share(chosen), share(left)],
            round_ms: status.round_took.as_millis() as u64,
            pops: pops.iter().enumerate().map(line).collect(),
        }
    }

    /// From where clients reach which PoP at some addresses, held against the newest map.
    pub(super) fn catchment(&self, wanted: Wanted<'_>) -> CatchmentView {
        let world = self.worlds.newest_full();
        self.catchment.lock().unwrap_or_else(PoisonError::into_inner).view(wanted, &world)
    }

    /// What has changed since the map that was in use so long ago.
    #[must_use]
    pub fn difference(&self, ago: Duration, now: SystemTime) -> Difference {
        let demand = Arc::clone(&self.status.load().demand);
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.difference(ago, &demand, now)
    }
}

/// How many units each PoP has a part of, and how much demand that is.
fn shares(world: &World, demand: &[f64]) -> Vec<(usize, f64)> {
    let mut shares = vec![(0, 0.0); world.map.fleet().pops().len()];
    for (unit, plan) in world.map.plans().iter().enumerate() {
        for (pop, share) in plan.each_share() {
            let entry = &mut shares[usize::from(pop)];
            entry.0 += 1;
            entry.1 += share * demand.get(unit).copied().unwrap_or(0.0);
        }
    }
    shares
}

fn silent(status: &Status, now: SystemTime) -> Option<u64> {
    status.heard.map(|heard| now.duration_since(heard).map_or(0, |silence| silence.as_secs()))
}

/// The name of how far a map can be trusted.
pub(super) fn name(trust: Trust) -> &'static str {
    match trust {
        Trust::Current => "current",
        Trust::Frozen => "frozen",
        Trust::Alone { .. } => "alone",
    }
}
