//! One round: places, round trips, demand and the fleet in, a map out.
//!
//! Pure and the same for the same inputs. What a map costs to make does not depend on what is asked of it later: an
//! address is looked up, a hash decides among the parts of its unit.

mod adjust; // a map in use, for PoPs that have changed since
mod chunks; // units in as many parts as there are cores

use std::{collections::HashMap, hash::Hasher, net::IpAddr, num::NonZeroUsize, sync::Arc, thread};

use siphasher::sip::SipHasher13;
use tidegate_contract::id::PopId;

use super::{
    allocate::{Demand, Part, allocate},
    candidate::{ALSO_WITHIN_MS, CANDIDATES_MAX, all_by_distance, nearest},
    score::{Score, score},
    settle::{IDLE, Moved, settle},
};
use crate::{
    fleet::{Fleet, PopState},
    latency::Latency,
    place::Place,
    unit::{Match, Unit, UnitIndex, UnitKey, Units},
};

/// The share of a PoP's capacity that is planned with; the rest is for what demand does between two rounds.
pub const PLANNED_SHARE: f64 = 0.85;
/// One answer in so many goes to the second or third candidate, so that its round trip stays known.
pub const EXPLORED_ONE_IN: u64 = 100;
/// Above this share of its capacity a PoP's answers name the next PoP too.
pub const NEIGHBOUR_ABOVE: f64 = 0.70;

/// What a round is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The Internet.
    pub units: &'a Arc<Units>,
    /// Demand of each unit, in the unit of capacities; as many as units.
    pub demand: &'a [f64],
    /// The PoPs.
    pub fleet: &'a Arc<Fleet>,
    /// What was measured.
    pub latency: &'a Latency,
    /// Where clients are taken to be that nobody can locate.
    pub home: Place,
    /// The map in use.
    pub previous: Option<&'a Map>,
}

/// What a round made.
#[derive(Debug, Clone)]
pub struct Round {
    /// The map.
    pub map: Map,
    /// How much it moved.
    pub moved: Moved,
}

/// Which PoP serves which part of the Internet.
#[derive(Debug, Clone)]
pub struct Map {
    units: Arc<Units>,
    fleet: Arc<Fleet>,
    /// Shared, so that a map that differs in its PoPs alone costs nothing.
    plans: Arc<Vec<Plan>>,
    /// For addresses that belong to no unit.
    unlocated: Plan,
    /// The planned load of each PoP over its capacity.
    utilisation: Vec<f64>,
}

/// What one unit's clients get.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The candidates, best first.
    pub candidates: Vec<Candidate>,
    /// Who gets how much: PoP, and the share of the unit up to and including it. Empty when no PoP serves.
    pub shares: Vec<(u16, f64)>,
    /// Whether it has so much demand that a hundredth of it may look elsewhere.
    pub is_explored: bool,
}

/// A PoP that comes into question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The PoP.
    pub pop: u16,
    /// How far it is.
    pub score: Score,
}

/// Why a client gets the PoP it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is the nearest that serves.
    Nearest,
    /// A nearer one has no room, or the client stays where it was for now.
    Balance,
    /// To learn how far it is.
    Exploration,
    /// Nobody knows where the client is.
    Unlocated,
    /// Nothing was heard for long, and this is the PoP of the node that answers.
    Alone,
}

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The unit, and for which addresses this is true.
    pub found: Match,
    /// The PoP.
    pub pop: u16,
    /// A PoP to be named after it, when the first is nearly full.
    pub next: Option<u16>,
    /// Why.
    pub reason: Reason,
}

impl Round {
    /// Makes a map.
    ///
    /// # Panics
    /// When `demand` has not as many entries as there are units.
    #[must_use]
    pub fn make(inputs: Inputs<'_>) -> Self {
        Self::make_on(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN), inputs)
    }

    /// As [`Round::make`], on so many cores at most. Their number changes nothing but the time it takes.
    ///
    /// # Panics
    /// As [`Round::make`].
    #[must_use]
    pub fn make_on(cores: NonZeroUsize, inputs: Inputs<'_>) -> Self {
        let Inputs { units, demand, fleet, latency, home, previous } = inputs;
        assert_eq!(units.all().len(), demand.len(), "one demand for each unit");
        let pops = fleet.pops();
        let limits: Vec<f64> = pops
            .iter()
            .map(|pop| if pop.takes_clients() { pop.usable() * PLANNED_SHARE } else { 0.0 })
            .collect();
        let ranked: Vec<Vec<Candidate>> = chunks::map(cores, units.all(), |_, units| {
            let mut near = Near::new(fleet);
            units.iter().map(|unit| rank(unit, fleet, latency, &mut near)).collect()
        });
        let preferences = Preferences::of(&ranked);
        let demands: Vec<_> = demand
            .iter()
            .enumerate()
            .map(|(unit, amount)| Demand {
                amount: amount.max(IDLE),
                preference: preferences.of_unit(unit),
            })
            .collect();
        let more = |unit: usize| {
            let place = &units.all()[unit].place;
            let further = all_by_distance(place, pops).into_iter();
            further
                .map(|pop| (pop, place.modelled_rtt_ms(&pops[usize::from(pop)].place) as f32))
                .collect()
        };
        let wanted = allocate(&demands, &limits, more);
        let wanted_sum: f64 = demands.iter().map(|demand| demand.amount).sum();
        let stretch = (wanted_sum / limits.iter().sum::<f64>().max(f64::MIN_POSITIVE)).max(1.0);
        let limits: Vec<f64> = limits.iter().map(|limit| limit * stretch).collect();
        let (parts, moved) = match previous {
            None => (wanted, Moved::default()),
            Some(previous) => {
                let now = previous.parts_in(cores, units, fleet, &demands, &wanted);
                settle(now, &wanted, &limits, |pop| pops[usize::from(pop)].takes_clients())
            }
        };

        let mut loads = vec![0.0; pops.len()];
        for part in parts.iter().flatten() {
            loads[usize::from(part.pop)] += part.amount;
        }
        let utilisation = loads
            .iter()
            .zip(pops)
            .map(|(load, pop)| if pop.usable() > 0.0 { load / pop.usable() } else { 0.0 })
            .collect();
        let plans = ranked
            .into_iter()
            .zip(&parts)
            .zip(demand)
            .map(|((candidates, parts), demand)| Plan {
                shares: shares(parts),
                is_explored: *demand > IDLE && candidates.len() > 1,
                candidates,
            })
            .collect();
        let unlocated = unlocated(home, fleet);
        let (units, fleet, plans) = (Arc::clone(units), Arc::clone(fleet), Arc::new(plans));
        Self { map: Map { units, fleet, plans, unlocated, utilisation }, moved }
    }
}

impl Map {
    /// What a client gets; `None` when no PoP serves. `moment` changes what is explored: the number of the round, or
    /// of the minute. One subnet gets the same PoP as long as nothing changes.
    #[must_use]
    pub fn choose(&self, address: IpAddr, moment: u64) -> Option<Choice> {
        let found = self.units.lookup().find(address);
        let plan = self.plan(found.unit);
        let draw = draw(address, DRAW);
        let (pop, reason) = match found.unit {
            None => (plan.drawn(draw)?, Reason::Unlocated),
            Some(_) => match plan.explored(draw, moment) {
                Some(pop) => (pop, Reason::Exploration),
                None => {
                    let pop = plan.drawn(draw)?;
                    let is_best = plan.candidates.first().is_some_and(|best| best.pop == pop);
                    (pop, if is_best { Reason::Nearest } else { Reason::Balance })
                }
            },
        };
        let is_nearly_full = self.utilisation[usize::from(pop)] > NEIGHBOUR_ABOVE;
        let next = is_nearly_full.then(|| self.neighbour(plan, pop)).flatten();
        Some(Choice { found, pop, next, reason })
    }

    /// Whether a client is of a share of all, 0 to 1, that is the same clients from round to round.
    #[must_use]
    pub fn is_shed(&self, address: IpAddr, share: f32) -> bool {
        point(draw(address, SHED)) < f64::from(share)
    }

    /// The plan of a unit, or of the addresses that belong to none.
    #[must_use]
    pub fn plan(&self, unit: Option<UnitIndex>) -> &Plan {
        unit.and_then(|unit| self.plans.get(unit as usize)).unwrap_or(&self.unlocated)
    }

    /// All plans, by unit.
    #[must_use]
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The fleet that it was made for.
    #[must_use]
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The units that it was made for.
    #[must_use]
    pub fn units(&self) -> &Arc<Units> {
        &self.units
    }

    /// The planned load of each PoP over what it can carry.
    #[must_use]
    pub fn utilisation(&self) -> &[f64] {
        &self.utilisation
    }

    /// A PoP's id.
    #[must_use]
    pub fn pop(&self, index: u16) -> &PopId {
        &self.fleet.pops()[usize::from(index)].id
    }

    /// What a client gets who is not to get one PoP; `None` when there is no other.
    #[must_use]
    pub fn choose_but(&self, address: IpAddr, moment: u64, but: u16) -> Option<Choice> {
        let choice = self.choose(address, moment)?;
        if choice.pop != but {
            return Some(choice);
        }
        let plan = self.plan(choice.found.unit);
        let any = || plan.candidates.iter().map(|one| one.pop).find(|other| *other != but);
        let pop = self.neighbour(plan, but).or_else(any)?;
        Some(Choice { pop, next: None, reason: Reason::Balance, ..choice })
    }

    fn neighbour(&self, plan: &Plan, pop: u16) -> Option<u16> {
        let mut others = plan.candidates.iter().map(|one| one.pop).filter(|other| *other != pop);
        others.find(|other| self.utilisation[usize::from(*other)] <= NEIGHBOUR_ABOVE)
    }

    /// What its units have now, as parts in the indices of other units and another fleet. What is not in this map is
    /// taken as it is wanted, and so is the share of PoPs that are gone.
    fn parts_in(
        &self,
        cores: NonZeroUsize,
        units: &Units,
        fleet: &Fleet,
        demands: &[Demand<'_>],
        wanted: &[Vec<Part>],
    ) -> Vec<Vec<Part>> {
        let index: Vec<Option<u16>> =
            self.fleet.pops().iter().map(|pop| fleet.index(&pop.id)).collect();
        let known = |number: usize, key: &UnitKey| {
            let same = self.units.all().get(number).is_some_and(|unit| unit.key == *key);
            let found = if same { Some(number as UnitIndex) } else { self.units.index(key) };
            found.map(|found| &self.plans[found as usize])
        };
        let parts_of = |number: usize, unit: &Unit| {
            let Some(plan) = known(number, &unit.key) else { return wanted[number].clone() };
            let amount = demands[number].amount;
            let mut parts = Vec::with_capacity(plan.shares.len());
            let mut before = 0.0;
            let mut lost = 1.0;
            for (pop, up_to) in &plan.shares {
                let share = up_to - before;
                before = *up_to;
                if let Some(pop) = index[usize::from(*pop)] {
                    let rtt_ms = rtt_of(demands[number].preference, pop, &unit.place, fleet);
                    parts.push(Part { pop, amount: amount * share, rtt_ms });
                    lost -= share;
                }
            }
            if lost > 1e-9 {
                for want in &wanted[number] {
                    let amount = want.amount * lost;
                    match parts.iter_mut().find(|part: &&mut Part| part.pop == want.pop) {
                        Some(part) => part.amount += amount,
                        None => parts.push(Part { amount, ..*want }),
                    }
                }
            }
            parts
        };
        chunks::map(cores, units.all(), |first, units| {
            let numbered = units.iter().enumerate();
            numbered.map(|(number, unit)| parts_of(first + number, unit)).collect()
        })
    }
}

impl Plan {
    fn drawn(&self, draw: u64) -> Option<u16> {
        let point = point(draw);
        let found = self.shares.iter().find(|(_, up_to)| point < *up_to).or(self.shares.last());
        found.map(|(pop, _)| *pop)
    }

    fn explored(&self, draw: u64, moment: u64) -> Option<u16> {
        let turn = draw.wrapping_add(moment.wrapping_mul(STRIDE)) >> 7;
        if !self.is_explored || !turn.is_multiple_of(EXPLORED_ONE_IN) {
            return None;
        }
        let others = (self.candidates.len() - 1).min(2) as u64;
        let number = 1 + (turn / EXPLORED_ONE_IN % others) as usize;
        self.candidates.get(number).map(|other| other.pop)
    }
}

impl Reason {
    /// Its name in explanations and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Balance => "balance",
            Self::Exploration => "exploration",
            Self::Unlocated => "unlocated",
            Self::Alone => "alone",
        }
    }
}

/// What all units prefer, in one piece.
struct Preferences {
    all: Vec<(u16, f32)>,
    /// Where each unit's end.
    ends: Vec<usize>,
}

impl Preferences {
    fn of(ranked: &[Vec<Candidate>]) -> Self {
        let mut all = Vec::with_capacity(ranked.iter().map(Vec::len).sum());
        let ends = ranked.iter().map(|candidates| {
            all.extend(candidates.iter().map(|one| (one.pop, one.score.rtt_ms)));
            all.len()
        });
        let ends = ends.collect();
        Self { all, ends }
    }

    fn of_unit(&self, unit: usize) -> &[(u16, f32)] {
        let first = unit.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[first..self.ends[unit]]
    }
}

/// The nearest PoPs of places; units of one city share them.
struct Near<'a> {
    fleet: &'a Fleet,
    known: HashMap<(i16, i16), Vec<u16>>,
}

impl<'a> Near<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        Self { fleet, known: HashMap::new() }
    }

    fn of(&mut self, cell: (i16, i16), place: &Place) -> &[u16] {
        self.known.entry(cell).or_insert_with(|| nearest(place, self.fleet.pops()))
    }
}

/// The candidates of a unit with their scores, best first.
fn rank(unit: &Unit, fleet: &Fleet, latency: &Latency, near: &mut Near<'_>) -> Vec<Candidate> {
    let pops = fleet.pops();
    let known = latency.of(&unit.key);
    let candidate = |pop: u16| {
        let score = score(known, &unit.place, pop, &pops[usize::from(pop)]);
        Candidate { pop, score }
    };
    let mut all: Vec<_> =
        near.of(unit.key.cell, &unit.place).iter().map(|pop| candidate(*pop)).collect();
    let serves = |pop: u16| pops.get(usize::from(pop)).is_some_and(|pop| pop.takes_clients());
    let measured = || known.measured().filter(|(pop, _)| serves(*pop));
    let best = measured().map(|(_, ms)| ms).fold(f32::INFINITY, f32::min);
    for (pop, ms) in measured() {
        let is_new = all.iter().all(|known| known.pop != pop);
        if is_new && f64::from(ms - best) <= ALSO_WITHIN_MS {
            all.push(candidate(pop));
        }
    }
    all.sort_by(|one, other| {
        one.score.rtt_ms.total_cmp(&other.score.rtt_ms).then(one.pop.cmp(&other.pop))
    });
    all.truncate(CANDIDATES_MAX);
    all
}

fn unlocated(home: Place, fleet: &Fleet) -> Plan {
    let key = UnitKey::new([0; 2], 0, &home);
    let unit = Unit { key, place: home };
    let candidates = rank(&unit, fleet, &Latency::default(), &mut Near::new(fleet));
    // Nobody knows how many there are: they are spread over the nearest by what those can carry.
    let usable: Vec<_> = candidates
        .iter()
        .map(|one| (one.pop, fleet.pops()[usize::from(one.pop)].usable()))
        .collect();
    let sum: f64 = usable.iter().map(|(_, usable)| usable).sum();
    let mut up_to = 0.0;
    let shares = usable
        .into_iter()
        .map(|(pop, usable)| {
            up_to += usable / sum;
            (pop, up_to)
        })
        .collect();
    Plan { candidates, shares, is_explored: false }
}

fn shares(parts: &[Part]) -> Vec<(u16, f64)> {
    let sum: f64 = parts.iter().map(|part| part.amount).sum();
    let mut up_to = 0.0;
    let share = |part: &Part| {
        up_to += part.amount / sum;
        (part.pop, up_to)
    };
    parts.iter().map(share).collect()
}

fn rtt_of(preference: &[(u16, f32)], pop: u16, place: &Place, fleet: &Fleet) -> f32 {
    let known = preference.iter().find(|(known, _)| *known == pop);
    known.map_or_else(
        || place.modelled_rtt_ms(&fleet.pops()[usize::from(pop)].place) as f32,
        |(_, ms)| *ms,
    )
}

/// A number that is as good as drawn by lot, the same for a subnet under one key.
fn draw(address: IpAddr, key: (u64, u64)) -> u64 {
    let mut hash = SipHasher13::new_with_keys(key.0, key.1);
    hash.write(&subnet(address));
    hash.finish()
}

/// A draw as a point from 0 to below 1.
fn point(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1u64 << 53) as f64
}

/// What decides among the parts of a unit: the /24 or /48, so that the clients of one resolver stay together.
fn subnet(address: IpAddr) -> [u8; 8] {
    let mut subnet = [0; 8];
    match address.to_canonical() {
        IpAddr::V4(address) => subnet[..3].copy_from_slice(&address.octets()[..3]),
        IpAddr::V6(address) => {
            subnet[..6].copy_from_slice(&address.octets()[..6]);
            subnet[7] = 6;
        }
    }
    subnet
}

impl Map {
    /// How long an answer with this PoP may be kept, in seconds.
    #[must_use]
    pub fn ttl_seconds(&self, pop: u16) -> u32 {
        match self.fleet.pops()[usize::from(pop)].state {
            PopState::Up => TTL_SECONDS,
            PopState::Troubled | PopState::Draining | PopState::Down => TTL_TROUBLED_SECONDS,
        }
    }
}

/// Fixed keys: every server of one map gives a client the same answer. There is nothing to gain by guessing them.
const DRAW: (u64, u64) = (0x7469_6465_6761_7465, 0x6d61_7020_6472_6177);
/// Of another key, so that those who are shed are of every share.
const SHED: (u64, u64) = (0x7469_6465_6761_7465, 0x6d61_7020_7368_6564);
/// Odd and large, so that all subnets have their turn.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
/// Long enough that resolvers ask rarely, short enough that clients follow within half a minute.
const TTL_SECONDS: u32 = 20;
const TTL_TROUBLED_SECONDS: u32 = 5;

#[cfg(test)]
mod tests;
