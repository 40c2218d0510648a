//! What a map in use gives its units, in the words of the round that follows it.

use std::num::NonZeroUsize;

use super::chunks;
use crate::{
    fleet::Fleet,
    map::{
        Map,
        allocate::{Demand, Part},
    },
    place::Place,
    unit::{Unit, UnitIndex, UnitKey, Units},
};

impl Map {
    /// What its units have now, as parts in the indices of other units and another fleet. What is not in this map is
    /// taken as it is wanted, and so is the share of PoPs that are gone.
    pub(super) fn parts_in(
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
            if lost > ROUNDING {
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

fn rtt_of(preference: &[(u16, f32)], pop: u16, place: &Place, fleet: &Fleet) -> f32 {
    let known = preference.iter().find(|(known, _)| *known == pop);
    known.map_or_else(
        || place.modelled_rtt_ms(&fleet.pops()[usize::from(pop)].place) as f32,
        |(_, ms)| *ms,
    )
}

/// So small a share is none.
const ROUNDING: f64 = 1e-9;
