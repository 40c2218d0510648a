//! A map in use, for PoPs that have changed since it was made.
//!
//! A dead PoP has to be out of answers before a round is over, and a map that an operator holds must not name it
//! either. So its share of every unit goes to the best PoP that serves there, and nothing else moves. Invariant: a unit
//! that has nothing of a PoP that went away keeps its plan.

use std::{collections::HashMap, sync::Arc};

use super::{Map, PLANNED_SHARE, Plan, candidate::all_by_distance};
use crate::{
    fleet::{Fleet, Pop, PopState},
    place::Place,
    unit::{UnitKey, Units},
};

impl Map {
    /// This map with its PoPs as they are in a newer fleet. PoPs that the newer one does not have serve no more, those
    /// that are new wait for a round.
    #[must_use]
    pub fn adjusted(&self, newer: &Fleet) -> Self {
        let as_now = |pop: &Pop| match newer.index(&pop.id) {
            Some(index) => newer.pops()[usize::from(index)].clone(),
            None => Pop { state: PopState::Down, ..pop.clone() },
        };
        let pops: Vec<_> = self.fleet.pops().iter().map(as_now).collect();
        let serves: Vec<bool> = pops.iter().map(Pop::takes_clients).collect();
        let mut utilisation = self.utilisation.clone();
        for (utilisation, serves) in utilisation.iter_mut().zip(&serves) {
            *utilisation = if *serves { *utilisation } else { 0.0 };
        }
        let mut adjusted = Self { utilisation, ..self.clone() };
        let is_whole = |plan: &Plan| {
            let named = plan.candidates.iter().map(|one| one.pop);
            named.chain(plan.shares.iter().map(|(pop, _)| *pop)).all(|pop| serves[usize::from(pop)])
        };
        if !is_whole(&self.unlocated) {
            adjusted.unlocated = adjusted.repaired(&self.unlocated, None, &pops);
        }
        if !self.plans.iter().all(is_whole) {
            let units = self.units.all().iter().zip(self.plans.iter());
            let plans = units.map(|(unit, plan)| match is_whole(plan) {
                true => plan.clone(),
                false => adjusted.repaired(plan, Some(&unit.place), &pops),
            });
            adjusted.plans = Arc::new(plans.collect());
        }
        adjusted.fleet = Arc::new(Fleet::new(pops).expect("ids as they were, values as checked"));
        adjusted
    }

    /// A map of which only the shares are known, by the indices of a fleet: good to begin a round with. Units that are
    /// not named have none.
    #[must_use]
    pub fn recalled(
        units: Arc<Units>,
        fleet: Arc<Fleet>,
        shares: &HashMap<UnitKey, Vec<(u16, f64)>>,
    ) -> Self {
        let plan = |key: &UnitKey| Plan {
            shares: shares.get(key).map(|shares| summed(shares)).unwrap_or_default(),
            ..Plan::default()
        };
        let plans = Arc::new(units.all().iter().map(|unit| plan(&unit.key)).collect());
        let utilisation = vec![0.0; fleet.pops().len()];
        Self { units, fleet, plans, unlocated: Plan::default(), utilisation }
    }

    fn repaired(&self, plan: &Plan, place: Option<&Place>, pops: &[Pop]) -> Plan {
        let serves = |pop: u16| pops[usize::from(pop)].takes_clients();
        let candidates: Vec<_> =
            plan.candidates.iter().filter(|one| serves(one.pop)).copied().collect();
        let mut shares = plan.each_share().filter(|(pop, _)| serves(*pop)).collect::<Vec<_>>();
        let lost = 1.0 - shares.iter().map(|(_, share)| share).sum::<f64>();
        if lost > ROUNDING {
            let has_room = |pop: &u16| self.utilisation[usize::from(*pop)] < PLANNED_SHARE;
            let of_unit: Vec<u16> = candidates.iter().map(|one| one.pop).collect();
            let anywhere = || match place {
                Some(place) => all_by_distance(place, pops),
                None => (0..pops.len() as u16).filter(|pop| serves(*pop)).collect(),
            };
            let heir = of_unit.iter().copied().find(has_room).or_else(|| {
                let everywhere = anywhere();
                let near = if of_unit.is_empty() { &everywhere } else { &of_unit };
                near.iter().copied().find(has_room).or_else(|| near.first().copied())
            });
            match heir {
                Some(heir) => match shares.iter_mut().find(|(pop, _)| *pop == heir) {
                    Some((_, share)) => *share += lost,
                    None => shares.push((heir, lost)),
                },
                None => shares.clear(),
            }
        }
        Plan {
            shares: summed(&shares),
            is_explored: plan.is_explored && candidates.len() > 1,
            candidates,
        }
    }
}

/// Shares, each with those before it.
fn summed(shares: &[(u16, f64)]) -> Vec<(u16, f64)> {
    let mut up_to = 0.0;
    let sum = |(pop, share): &(u16, f64)| {
        up_to += share;
        (*pop, up_to)
    };
    shares.iter().map(sum).collect()
}

/// So small a share is none.
const ROUNDING: f64 = 1e-9;
