//! Demand onto capacities: a stable allocation.
//!
//! Units ask the PoPs in the order of their preference; a PoP keeps the parts that are nearest to it and turns the rest
//! away, which ask the next one (deferred acceptance of D. Gale and L. Shapley, with demand that can be parted). The
//! outcome is stable: no part of a unit and no PoP would both rather have one another. When there is more demand than
//! capacity all PoPs are filled beyond it by the same ratio, since nobody is to be sent away.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
};

/// What a unit wants.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// How much; in the unit of capacities.
    pub amount: f64,
    /// PoPs by their index, best first, with the round trip to each.
    pub preference: &'a [(u16, f32)],
}

/// A part of a unit that one PoP has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// The PoP.
    pub pop: u16,
    /// How much of the unit's demand.
    pub amount: f64,
    /// The round trip.
    pub rtt_ms: f32,
}

/// Allocates. `more` gives further PoPs for a unit whose preferences are all full, best first; it is asked at most once
/// for each unit. Returns the parts of every unit, best PoP first; none for a unit when no PoP has any capacity.
pub fn allocate(
    demands: &[Demand<'_>],
    capacities: &[f64],
    more: impl Fn(usize) -> Vec<(u16, f32)>,
) -> Vec<Vec<Part>> {
    let wanted: f64 = demands.iter().map(|demand| demand.amount).sum();
    let there: f64 = capacities.iter().sum();
    if there <= 0.0 {
        return vec![Vec::new(); demands.len()];
    }
    // A hair above, so that the last crumb finds room whatever was rounded.
    let stretch = (wanted * (1.0 + 1e-6) / there).max(1.0);
    let mut market = Market {
        demands,
        further: vec![None; demands.len()],
        choices: vec![Vec::new(); demands.len()],
        pops: capacities.iter().map(|capacity| PopSide::new(capacity * stretch)).collect(),
        asking: VecDeque::new(),
    };
    for (unit, demand) in demands.iter().enumerate() {
        market.ask(unit, 0, demand.amount);
    }
    while let Some((unit, number)) = market.asking.pop_front() {
        market.propose(unit, number, &more);
    }
    market.outcome()
}

struct Market<'a> {
    demands: &'a [Demand<'a>],
    /// Preferences after the given ones.
    further: Vec<Option<Vec<(u16, f32)>>>,
    /// What each unit has and asks for, by the number of the choice.
    choices: Vec<Vec<Standing>>,
    pops: Vec<PopSide>,
    /// Units and choices with something to ask for, each once: what is turned away at several places asks together.
    asking: VecDeque<(usize, usize)>,
}

/// How a unit stands with one of its choices.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    kept: f64,
    asked: f64,
}

struct PopSide {
    capacity: f64,
    load: f64,
    /// Whose demand it keeps, the furthest first.
    kept: BinaryHeap<Kept>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    rtt_ms: f32,
    unit: usize,
    number: usize,
}

impl PopSide {
    fn new(capacity: f64) -> Self {
        Self { capacity, load: 0.0, kept: BinaryHeap::new() }
    }
}

impl Market<'_> {
    fn ask(&mut self, unit: usize, number: usize, amount: f64) {
        if amount <= 0.0 {
            return;
        }
        let standings = &mut self.choices[unit];
        if standings.len() <= number {
            standings.resize(number + 1, Standing::default());
        }
        if standings[number].asked == 0.0 {
            self.asking.push_back((unit, number));
        }
        standings[number].asked += amount;
    }

    fn choice(
        &mut self,
        unit: usize,
        number: usize,
        more: &impl Fn(usize) -> Vec<(u16, f32)>,
    ) -> Option<(u16, f32)> {
        let given = self.demands[unit].preference;
        if let Some(choice) = given.get(number) {
            return Some(*choice);
        }
        let further = self.further[unit].get_or_insert_with(|| {
            let mut further = more(unit);
            further.retain(|(pop, _)| given.iter().all(|(known, _)| known != pop));
            further
        });
        further.get(number - given.len()).copied()
    }

    fn propose(&mut self, unit: usize, number: usize, more: &impl Fn(usize) -> Vec<(u16, f32)>) {
        let choice = self.choice(unit, number, more);
        let standing = &mut self.choices[unit][number];
        let amount = std::mem::take(&mut standing.asked);
        let Some((pop, rtt_ms)) = choice else { return };
        let side = &mut self.pops[usize::from(pop)];
        side.load += amount;
        if standing.kept == 0.0 {
            side.kept.push(Kept { rtt_ms, unit, number });
        }
        standing.kept += amount;
        loop {
            let side = &mut self.pops[usize::from(pop)];
            let excess = side.load - side.capacity;
            let Some(Kept { unit, number, .. }) = side.kept.peek().copied() else { break };
            if excess <= side.capacity * CRUMB {
                break;
            }
            let standing = &mut self.choices[unit][number];
            let away = if standing.kept - excess <= standing.kept * CRUMB {
                side.kept.pop();
                std::mem::take(&mut standing.kept)
            } else {
                standing.kept -= excess;
                excess
            };
            side.load = if side.kept.is_empty() { 0.0 } else { side.load - away };
            self.ask(unit, number + 1, away);
        }
    }

    fn outcome(&self) -> Vec<Vec<Part>> {
        let mut outcome: Vec<Vec<Part>> = vec![Vec::new(); self.demands.len()];
        for (index, side) in self.pops.iter().enumerate() {
            for Kept { unit, number, rtt_ms } in side.kept.iter().copied() {
                let amount = self.choices[unit][number].kept;
                outcome[unit].push(Part { pop: index as u16, amount, rtt_ms });
            }
        }
        for parts in &mut outcome {
            parts.sort_by(|one, other| {
                one.rtt_ms.total_cmp(&other.rtt_ms).then(one.pop.cmp(&other.pop))
            });
        }
        outcome
    }
}

/// Rounding: so small a share of a capacity or of a part is none.
const CRUMB: f64 = 1e-9;

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        // Ties by number, so that the outcome follows from the input alone.
        let by_rtt = self.rtt_ms.total_cmp(&other.rtt_ms);
        by_rtt.then(self.unit.cmp(&other.unit)).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(demands: &[(f64, Vec<(u16, f32)>)], capacities: &[f64]) -> Vec<Vec<Part>> {
        let demands: Vec<_> = demands
            .iter()
            .map(|(amount, preference)| Demand { amount: *amount, preference })
            .collect();
        allocate(&demands, capacities, |_| {
            (0..capacities.len()).map(|pop| (pop as u16, 500.0 + pop as f32)).collect()
        })
    }

    #[test]
    fn the_nearest_stay_and_the_furthest_goes_on_in_part() {
        let outcome = run(
            &[(6.0, vec![(0, 10.0), (1, 20.0)]), (6.0, vec![(0, 5.0), (1, 50.0)])],
            &[8.0, 10.0],
        );
        assert_eq!(outcome[1], [Part { pop: 0, amount: 6.0, rtt_ms: 5.0 }]);
        let amounts: Vec<_> =
            outcome[0].iter().map(|part| (part.pop, part.amount.round())).collect();
        assert_eq!(amounts, [(0, 2.0), (1, 4.0)]);
    }

    #[test]
    fn where_nothing_has_capacity_nothing_is_given_and_too_much_fills_all_alike() {
        assert_eq!(run(&[(1.0, vec![(0, 1.0)])], &[0.0]), [Vec::new()]);
        let outcome = run(&[(30.0, vec![(0, 1.0), (1, 2.0)])], &[5.0, 10.0]);
        let amounts: Vec<_> = outcome[0].iter().map(|part| part.amount.round()).collect();
        assert_eq!(amounts, [10.0, 20.0]);
    }

    fn demands() -> impl Strategy<Value = Vec<(f64, Vec<(u16, f32)>)>> {
        let preference = prop::collection::vec(1.0..400.0f32, 6);
        prop::collection::vec((0.0..10.0f64, preference), 1..30).prop_map(|units| {
            let order = |rtts: Vec<f32>| {
                let mut all: Vec<_> =
                    rtts.into_iter().enumerate().map(|(pop, rtt)| (pop as u16, rtt)).collect();
                all.sort_by(|one, other| one.1.total_cmp(&other.1));
                all
            };
            units.into_iter().map(|(amount, rtts)| (amount, order(rtts))).collect()
        })
    }

    proptest! {
        #[test]
        fn all_demand_is_served_nobody_is_overfull_and_the_outcome_is_stable(
            demands in demands(), capacities in prop::collection::vec(0.0..60.0f64, 6),
        ) {
            prop_assume!(capacities.iter().sum::<f64>() > 1.0);
            let outcome = run(&demands, &capacities);
            let wanted: f64 = demands.iter().map(|(amount, _)| amount).sum();
            let stretch = (wanted / capacities.iter().sum::<f64>()).max(1.0);
            let mut loads = vec![0.0; capacities.len()];
            let mut furthest = vec![0.0f32; capacities.len()];
            for ((amount, _), parts) in demands.iter().zip(&outcome) {
                let served: f64 = parts.iter().map(|part| part.amount).sum();
                prop_assert!((served - amount).abs() < 1e-6, "{served} of {amount}");
                for part in parts.iter().filter(|part| part.amount > 1e-6) {
                    loads[usize::from(part.pop)] += part.amount;
                    let furthest = &mut furthest[usize::from(part.pop)];
                    *furthest = furthest.max(part.rtt_ms);
                }
            }
            for (load, capacity) in loads.iter().zip(&capacities) {
                prop_assert!(*load <= capacity * stretch * 1.000_001 + 1e-6);
            }
            // Stable: whatever a part would like better is full of parts that are at least as near to it.
            for ((_, preference), parts) in demands.iter().zip(&outcome) {
                for part in parts.iter().filter(|part| part.amount > 1e-6) {
                    for (pop, rtt_ms) in preference.iter().filter(|(_, rtt)| *rtt < part.rtt_ms) {
                        let index = usize::from(*pop);
                        let is_full = loads[index] >= capacities[index] * stretch * 0.999_999 - 1e-6;
                        prop_assert!(is_full && furthest[index] <= *rtt_ms, "{pop} would rather");
                    }
                }
            }
            prop_assert_eq!(outcome, run(&demands, &capacities), "the same input, the same outcome");
        }
    }
}
