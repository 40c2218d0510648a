//! One round: places, round trips, demand and the fleet in, a map out.
//!
//! Pure and the same for the same inputs. What a map costs to make does not depend on what is asked of it later: an
//! address is looked up, a hash decides among the parts of its unit.

mod warm; // what the map in use gives its units
mod rank; // candidates, best first
mod chunks; // units in as many parts as there are cores

use std::{num::NonZeroUsize, sync::Arc, thread};

use self::rank::{Near, Preferences, rank, unlocated};
use super::{
    Candidate, Map, Plan,
    allocate::{Demand, Part, allocate},
    candidate::all_by_distance,
    settle::{IDLE, Limits, Moved, settle},
};
use crate::{fleet::Fleet, latency::Latency, place::Place, unit::Units};

/// The share of a PoP's capacity that is planned with; the rest is for what demand does between two rounds.
pub const PLANNED_SHARE: f64 = 0.85;
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
        let planned_sum: f64 = limits.iter().sum();
        // More than there is room for is spread over all, since nobody is to be sent away.
        let stretch = if planned_sum > 0.0 { (wanted_sum / planned_sum).max(1.0) } else { 1.0 };
        let planned: Vec<f64> = limits.iter().map(|limit| limit * stretch).collect();
        let carried: Vec<f64> = limits
            .iter()
            .zip(&planned)
            .map(|(limit, planned)| planned.max(limit / PLANNED_SHARE))
            .collect();
        let (parts, moved) = match previous {
            None => (wanted, Moved::default()),
            Some(previous) => {
                let now = previous.parts_in(cores, units, fleet, &demands, &wanted);
                settle(now, &wanted, Limits { planned: &planned, carried: &carried })
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

fn shares(parts: &[Part]) -> Vec<(u16, f64)> {
    let sum: f64 = parts.iter().map(|part| part.amount).sum();
    let mut up_to = 0.0;
    let share = |part: &Part| {
        up_to += part.amount / sum;
        (part.pop, up_to)
    };
    parts.iter().map(share).collect()
}

#[cfg(test)]
mod tests;
