//! The candidates of each unit, best first, and what units prefer among them.

use std::collections::HashMap;

use crate::{
    fleet::Fleet,
    latency::Latency,
    map::{
        Candidate, Plan,
        candidate::{ALSO_WITHIN_MS, CANDIDATES_MAX, nearest},
        score::score,
    },
    place::Place,
    unit::{Unit, UnitKey},
};

/// What all units prefer, in one piece.
pub(super) struct Preferences {
    all: Vec<(u16, f32)>,
    /// Where each unit's end.
    ends: Vec<usize>,
}

impl Preferences {
    pub(super) fn of(ranked: &[Vec<Candidate>]) -> Self {
        let mut all = Vec::with_capacity(ranked.iter().map(Vec::len).sum());
        let ends = ranked.iter().map(|candidates| {
            all.extend(candidates.iter().map(|one| (one.pop, one.score.rtt_ms)));
            all.len()
        });
        let ends = ends.collect();
        Self { all, ends }
    }

    pub(super) fn of_unit(&self, unit: usize) -> &[(u16, f32)] {
        let first = unit.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[first..self.ends[unit]]
    }
}

/// The nearest PoPs of places; units of one city share them.
pub(super) struct Near<'a> {
    fleet: &'a Fleet,
    known: HashMap<(i16, i16), Vec<u16>>,
}

impl<'a> Near<'a> {
    pub(super) fn new(fleet: &'a Fleet) -> Self {
        Self { fleet, known: HashMap::new() }
    }

    pub(super) fn of(&mut self, cell: (i16, i16), place: &Place) -> &[u16] {
        self.known.entry(cell).or_insert_with(|| nearest(place, self.fleet.pops()))
    }
}

/// The candidates of a unit with their scores, best first.
pub(super) fn rank(
    unit: &Unit,
    fleet: &Fleet,
    latency: &Latency,
    near: &mut Near<'_>,
) -> Vec<Candidate> {
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

pub(super) fn unlocated(home: Place, fleet: &Fleet) -> Plan {
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
