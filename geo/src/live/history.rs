//! The maps of the last half hour, for the question what has changed.
//!
//! Kept as differences: of each map the shares of those units that the next one changed. A share is kept in two
//! hundredths, which is what a person wants to know of it. Invariant: what is kept is bounded in time and in number;
//! when places are read again, what was before cannot be compared and is forgotten.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tidegate_contract::id::PopId;

use crate::{
    map::{Map, Plan},
    unit::Units,
};

/// Maps that are older are forgotten.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// The most changes of units that are kept: some 100 MB.
const CHANGES_MAX: usize = 2_000_000;
/// The most moves that a difference tells.
const MOVES_MAX: usize = 50;
/// The most units that a move names.
const EXAMPLES_MAX: usize = 5;

/// What has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// How long ago the map was in use that this one is compared with, in seconds.
    pub ago_seconds: u64,
    /// Its round.
    pub from_round: u64,
    /// The round of this one.
    pub to_round: u64,
    /// The share of all demand that moved.
    pub moved_share: f64,
    /// Units that are served in another way.
    pub units: usize,
    /// From where to where, the largest first; at most [`MOVES_MAX`].
    pub moves: Vec<Flow>,
}

/// What moved from one PoP to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flow {
    /// From here; absent: nobody served it.
    pub from: Option<PopId>,
    /// To there; absent: nobody serves it.
    pub to: Option<PopId>,
    /// Units of which some moved.
    pub units: usize,
    /// How much of them, units without demand counted as nothing.
    pub demand_mbps: f64,
    /// Some of the units, by their numbers.
    pub examples: Vec<usize>,
}

/// Maps of before.
#[derive(Debug)]
pub(super) struct History {
    /// Ids by the numbers that shares name them by; they only grow while units stay what they are.
    ids: Vec<PopId>,
    units: Arc<Units>,
    now: Vec<Shares>,
    now_round: u64,
    /// When the newest map came into use.
    now_since: SystemTime,
    steps: VecDeque<Step>,
    changes: usize,
}

/// What a map was like where the next one differs.
#[derive(Debug)]
struct Step {
    round: u64,
    /// From when on the map was in use.
    since: SystemTime,
    before: Vec<(u32, Shares)>,
}

/// From where to where; nothing where nobody serves.
type Way = (Option<u16>, Option<u16>);

/// Who has how much, in two hundredths.
type Shares = Box<[(u16, u8)]>;

impl History {
    pub(super) fn new(map: &Map, round: u64, now: SystemTime) -> Self {
        let mut history = Self {
            ids: Vec::new(),
            units: Arc::clone(map.units()),
            now: Vec::new(),
            now_round: round,
            now_since: now,
            steps: VecDeque::new(),
            changes: 0,
        };
        history.begin(map);
        history
    }

    /// Takes a newer map.
    pub(super) fn push(&mut self, map: &Map, round: u64, now: SystemTime) {
        if !Arc::ptr_eq(&self.units, map.units()) {
            *self = Self::new(map, round, now);
            return;
        }
        let numbers = self.numbers(map);
        let mut before = Vec::new();
        for (unit, plan) in map.plans().iter().enumerate() {
            if !is_same(&self.now[unit], plan, &numbers) {
                let newer = shares(plan, &numbers);
                before.push((unit as u32, std::mem::replace(&mut self.now[unit], newer)));
            }
        }
        if !before.is_empty() {
            self.changes += before.len();
            self.steps.push_back(Step { round: self.now_round, since: self.now_since, before });
            self.now_since = now;
        }
        self.now_round = round;
        let is_old = |next: SystemTime| now.duration_since(next).is_ok_and(|age| age > AGE_MAX);
        // A step can go when the map after it is old enough to answer for it.
        while let Some(first) = self.steps.front() {
            let next = self.steps.get(1).map_or(self.now_since, |next| next.since);
            if !is_old(next) && self.changes <= CHANGES_MAX {
                break;
            }
            self.changes -= first.before.len();
            self.steps.pop_front();
        }
    }

    /// What has changed since the map that was in use so long ago, or the oldest that is known.
    pub(super) fn difference(&self, ago: Duration, demand: &[f64], now: SystemTime) -> Difference {
        let then = now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut old: BTreeMap<u32, &Shares> = BTreeMap::new();
        let (mut from_round, mut since) = (self.now_round, self.now_since);
        for step in self.steps.iter().rev() {
            if since <= then {
                break;
            }
            old.extend(step.before.iter().map(|(unit, shares)| (*unit, shares)));
            (from_round, since) = (step.round, step.since);
        }
        let mut flows: BTreeMap<Way, (f64, Vec<usize>, usize)> = BTreeMap::new();
        let mut units = 0;
        for (unit, before) in old {
            let unit = unit as usize;
            let moved = moves(before, &self.now[unit]);
            units += usize::from(!moved.is_empty());
            for (from, to, share) in moved {
                let (amount, examples, count) = flows.entry((from, to)).or_default();
                *amount += f64::from(share) / WHOLE * demand.get(unit).copied().unwrap_or(0.0);
                *count += 1;
                if examples.len() < EXAMPLES_MAX {
                    examples.push(unit);
                }
            }
        }
        let moved: f64 = flows.values().map(|(amount, ..)| amount).sum();
        let sum: f64 = demand.iter().sum();
        let id = |pop: Option<u16>| pop.map(|pop| self.ids[usize::from(pop)].clone());
        let flow = |((from, to), (demand_mbps, examples, units))| {
            let (from, to) = (id(from), id(to));
            Flow { from, to, units, demand_mbps, examples }
        };
        let mut moves: Vec<_> = flows.into_iter().map(flow).collect();
        moves.sort_by(|one, other| {
            let by_demand = other.demand_mbps.total_cmp(&one.demand_mbps);
            by_demand.then(other.units.cmp(&one.units))
        });
        moves.truncate(MOVES_MAX);
        Difference {
            ago_seconds: now.duration_since(since.max(then)).map_or(0, |age| age.as_secs()),
            from_round,
            to_round: self.now_round,
            moved_share: if sum > 0.0 { moved / sum } else { 0.0 },
            units,
            moves,
        }
    }

    fn begin(&mut self, map: &Map) {
        let numbers = self.numbers(map);
        self.now = map.plans().iter().map(|plan| shares(plan, &numbers)).collect();
    }

    /// The number that each PoP of a map has here.
    fn numbers(&mut self, map: &Map) -> Vec<u16> {
        let pops = map.fleet().pops().iter();
        let number = |id: &PopId| {
            let known = self.ids.iter().position(|known| known == id);
            known.unwrap_or_else(|| {
                self.ids.push(id.clone());
                self.ids.len() - 1
            }) as u16
        };
        pops.map(|pop| &pop.id).map(number).collect()
    }
}

fn rounded(plan: &Plan, numbers: &[u16]) -> impl Iterator<Item = (u16, u8)> {
    plan.each_share().map(|(pop, share)| (numbers[usize::from(pop)], (share * WHOLE).round() as u8))
}

fn shares(plan: &Plan, numbers: &[u16]) -> Shares {
    rounded(plan, numbers).filter(|(_, share)| *share > 0).collect()
}

fn is_same(shares: &Shares, plan: &Plan, numbers: &[u16]) -> bool {
    rounded(plan, numbers).filter(|(_, share)| *share > 0).eq(shares.iter().copied())
}

/// What turns one unit's shares into others: from, to and how much.
fn moves(before: &Shares, now: &Shares) -> Vec<(Option<u16>, Option<u16>, u8)> {
    let share_in = |all: &Shares, pop: u16| {
        all.iter().find(|(known, _)| *known == pop).map_or(0, |(_, share)| *share)
    };
    let more = |from: &Shares, to: &Shares| -> Vec<(u16, u8)> {
        let surplus = |(pop, share): &(u16, u8)| (*pop, share.saturating_sub(share_in(to, *pop)));
        from.iter().map(surplus).filter(|(_, share)| *share > 0).collect()
    };
    let (mut lost, mut won) = (more(before, now), more(now, before));
    let mut moves = Vec::new();
    for (from, share) in &mut lost {
        for (to, wanted) in &mut won {
            let amount = (*share).min(*wanted);
            if amount > 0 {
                (*share, *wanted) = (*share - amount, *wanted - amount);
                moves.push((Some(*from), Some(*to), amount));
            }
        }
    }
    if now.is_empty() {
        moves.extend(lost.iter().map(|(from, share)| (Some(*from), None, *share)));
    }
    if before.is_empty() {
        moves.extend(won.iter().map(|(to, share)| (None, Some(*to), *share)));
    }
    moves.retain(|(.., share)| *share > 0);
    moves
}

/// A whole unit.
const WHOLE: f64 = 200.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{Fleet, PopState},
        latency::Latency,
        map::{Inputs, Round},
        place::Place,
        unit::UnitsBuilder,
    };

    fn map(units: &Arc<Units>, down: &[&str]) -> Map {
        let mut fleet = String::from("pop = [");
        for (id, longitude) in [("a", 0.0), ("b", 40.0), ("c", 80.0)] {
            let state = if down.contains(&id) { "down" } else { "up" };
            fleet.push_str(&format!(
                "{{ id = '{id}', latitude = 0.0, longitude = {longitude}, capacity = 100.0, state = '{state}' }},"
            ));
        }
        let fleet = Arc::new(Fleet::from_toml(&format!("{fleet}]")).expect("good"));
        assert_eq!(
            fleet.pops().iter().filter(|pop| pop.state == PopState::Down).count(),
            down.len()
        );
        let demand = vec![1.0; units.all().len()];
        let (latency, home) = (Latency::default(), fleet.pops()[0].place);
        let inputs = Inputs {
            units,
            demand: &demand,
            fleet: &fleet,
            latency: &latency,
            home,
            previous: None,
        };
        Round::make(inputs).map
    }

    fn units() -> Arc<Units> {
        let mut units = UnitsBuilder::default();
        for number in 0..8u8 {
            let place = Place::new(0.0, f64::from(number) * 10.0).expect("a place");
            units.add([10, number, 0, 0].into(), 16, *b"XX", 1, place).expect("few");
        }
        Arc::new(units.build())
    }

    #[test]
    fn a_difference_says_what_moved_from_where_to_where() {
        let (units, demand) = (units(), [1.0; 8]);
        let at =
            |minute: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + minute * 60);
        let mut history = History::new(&map(&units, &[]), 1, at(0));
        let since = |history: &History, minutes: u64, now: u64| {
            history.difference(Duration::from_secs(minutes * 60), &demand, at(now))
        };
        assert_eq!(since(&history, 5, 1).units, 0);
        history.push(&map(&units, &["a"]), 2, at(1));
        history.push(&map(&units, &["a"]), 3, at(2));
        history.push(&map(&units, &[]), 4, at(10));
        // As it was ten minutes ago, all is; as it was five minutes ago, a was down.
        assert_eq!(since(&history, 10, 10).units, 0);
        let five = since(&history, 5, 10);
        assert_eq!((five.from_round, five.to_round, five.ago_seconds), (3, 4, 300));
        let [one] = &five.moves[..] else { panic!("{five:?}") };
        let name = |id: &Option<PopId>| id.as_ref().map(|id| id.as_str().to_owned());
        assert_eq!((name(&one.from), name(&one.to)), (Some("b".into()), Some("a".into())));
        assert!((1..=3).contains(&one.units) && one.examples.len() == one.units, "{one:?}");
        assert!((five.moved_share - one.units as f64 / 8.0).abs() < 1e-9, "{five:?}");
        // Nobody serves.
        history.push(&map(&units, &["a", "b", "c"]), 5, at(11));
        let last = since(&history, 1, 11);
        assert!(last.units == 8 && last.moves.iter().all(|one| one.to.is_none()), "{last:?}");
    }

    #[test]
    fn what_is_old_is_forgotten_and_so_is_everything_when_places_change() {
        let first = units();
        let at =
            |minute: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + minute * 60);
        let mut history = History::new(&map(&first, &[]), 1, at(0));
        for minute in 1..100u64 {
            let down: &[&str] = if minute % 2 == 1 { &["a"] } else { &[] };
            history.push(&map(&first, down), minute + 1, at(minute));
        }
        assert!((28..=32).contains(&history.steps.len()), "{}", history.steps.len());
        let sum: usize = history.steps.iter().map(|step| step.before.len()).sum();
        assert_eq!(sum, history.changes);
        let oldest = history.difference(AGE_MAX * 9, &[1.0; 8], at(99));
        assert!((29 * 60..=31 * 60).contains(&oldest.ago_seconds), "{oldest:?}");
        let again = units();
        history.push(&map(&again, &[]), 200, at(100));
        assert!(history.steps.is_empty());
    }
}
