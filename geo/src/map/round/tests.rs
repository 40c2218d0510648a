//! Rounds over a modelled Internet: cities on the globe, round trips that do not follow it.

use std::{collections::HashMap, net::IpAddr};

use proptest::prelude::*;
use tidegate_contract::id::PopId;

use super::*;
use crate::{
    fleet::{Pop, PopState},
    latency::Digest,
    map::{Reason, candidate::nearest, settle::MOVED_SHARE_MAX},
    unit::{UnitKey, UnitsBuilder},
};

/// Cities at fixed pseudo-random places, mostly on the northern half, as people live.
fn city(number: u32) -> Place {
    let spread = |salt: u32| {
        f64::from(number.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 8)
            / f64::from(1u32 << 24)
    };
    Place::new(spread(17) * 100.0 - 35.0, (spread(99_991) * 97.0).fract() * 360.0 - 180.0)
        .expect("on the earth")
}

/// A round trip as routes make it, which do not follow the globe: a twentieth of them needs less than 1.4 times what
/// light does, half less than 1.9, a twentieth more than 4.3, as in public measurements.
fn true_rtt_ms(unit: u32, pop: u32) -> f64 {
    let mixed =
        (unit.wrapping_mul(40_503) ^ pop.wrapping_mul(69_069)).wrapping_mul(2_246_822_519) >> 12;
    let share = f64::from(mixed) / f64::from(1u32 << 20);
    let inflation = 1.4 + 0.9 * share + 3.5 * share.powi(8);
    2.0 + city(unit).distance_km(&city(pop)) / 100.0 * inflation
}

fn pop(number: u32, capacity: f64) -> Pop {
    Pop {
        id: PopId::parse(format!("pop-{number:03}")).expect("good"),
        place: city(number),
        capacity,
        weight: 1.0,
        state: PopState::Up,
        addresses: Vec::new(),
    }
}

struct World {
    units: Arc<Units>,
    demand: Vec<f64>,
    fleet: Arc<Fleet>,
    latency: Latency,
}

impl World {
    fn new(units: u32, pops: u32, capacity: f64) -> Self {
        let mut builder = UnitsBuilder::default();
        for number in 0..units {
            let first = IpAddr::V4((number << 8).into());
            builder.add(first, 24, *b"XX", number + 1, city(number)).expect("few");
        }
        let fleet = Fleet::new((0..pops).map(|n| pop(n, capacity)).collect()).expect("good");
        let units = Arc::new(builder.build());
        Self {
            demand: vec![1.0; units.all().len()],
            units,
            fleet: Arc::new(fleet),
            latency: Latency::default(),
        }
    }

    fn measure(&mut self) {
        for (number, unit) in self.units.all().iter().enumerate() {
            for pop in nearest(&unit.place, self.fleet.pops()) {
                let rtt = true_rtt_ms(number as u32, u32::from(pop));
                self.latency.observe(&unit.key, pop, &Digest::of(vec![rtt; 30])).expect("room");
            }
        }
    }

    fn round(&self, previous: Option<&Map>) -> Round {
        let home = city(0);
        let Self { units, demand, fleet, latency } = self;
        Round::make(Inputs { units, demand, fleet, latency, home, previous })
    }

    fn change(&mut self, change: impl Fn(&mut Pop)) {
        let mut pops = self.fleet.pops().to_vec();
        pops.iter_mut().for_each(change);
        self.fleet = Arc::new(Fleet::new(pops).expect("good"));
    }
}

fn address(unit: u32) -> IpAddr {
    IpAddr::V4((unit << 8 | 9).into())
}

fn worst(map: &Map) -> f64 {
    map.utilisation().iter().copied().fold(0.0, f64::max)
}

/// The share of units more than 25 ms worse off than they could be.
fn far_off(world: &World, map: &Map) -> f64 {
    let pops = world.fleet.pops().len() as u32;
    let is_far = |unit: &u32| {
        let best = (0..pops).map(|pop| true_rtt_ms(*unit, pop)).fold(f64::INFINITY, f64::min);
        let got = map.plan(Some(*unit)).shares[0].0;
        true_rtt_ms(*unit, u32::from(got)) > best + 25.0
    };
    let units = world.units.all().len() as u32;
    (0..units).filter(is_far).count() as f64 / f64::from(units)
}

#[test]
fn measured_round_trips_leave_few_clients_far_off_and_places_alone_many() {
    for pops in [20, 50, 150] {
        let mut world = World::new(2000, pops, 1000.0);
        let by_place = far_off(&world, &world.round(None).map);
        world.measure();
        let by_rtt = far_off(&world, &world.round(None).map);
        assert!(by_rtt <= 0.04, "{pops} PoPs by round trip: {by_rtt}");
        assert!(by_place > by_rtt, "{pops} PoPs by place: {by_place}, by round trip: {by_rtt}");
    }
}

#[test]
fn a_crowd_in_one_region_overfills_nobody_and_costs_no_more_moves_than_it_must() {
    let mut world = World::new(2000, 20, 0.0);
    world.measure();
    let europe = Place::new(48.0, 8.0).expect("a place");
    let before = world.demand.clone();
    for (unit, demand) in world.units.all().iter().zip(&mut world.demand) {
        if unit.place.distance_km(&europe) < 3000.0 {
            *demand *= 6.0;
        }
    }
    let crowd = std::mem::replace(&mut world.demand, before);
    let sum: f64 = crowd.iter().sum();
    world.change(|pop| pop.capacity = sum * 1.3 / 20.0);
    let calm = world.round(None).map;
    assert!(worst(&calm) <= 0.85 + 1e-6, "{}", worst(&calm));
    world.demand = crowd;
    let Round { map, moved } = world.round(Some(&calm));
    assert!(worst(&map) <= 1.0, "{}", worst(&map));
    assert!(moved.chosen <= sum * 0.05 && moved.forced < sum * 0.6, "{moved:?}");
}

#[test]
fn a_dead_pop_has_no_clients_after_one_round_and_the_others_stay() {
    let mut world = World::new(500, 10, 100.0);
    world.measure();
    let before = world.round(None).map;
    let dead = PopId::parse("pop-004").expect("good");
    world.change(|pop| {
        if pop.id == dead {
            pop.state = PopState::Down;
        }
    });
    let after = world.round(Some(&before)).map;
    let mut moved = 0;
    for unit in 0..500 {
        let (was, is) = (
            before.choose(address(unit), 0).expect("served"),
            after.choose(address(unit), 0).expect("served"),
        );
        assert_ne!(*after.pop(is.pop), dead);
        if was.reason != Reason::Exploration
            && is.reason != Reason::Exploration
            && was.pop != is.pop
        {
            moved += usize::from(*before.pop(was.pop) != dead);
        }
    }
    assert!(moved <= 25, "{moved} of others moved");
    world.change(|pop| pop.state = PopState::Down);
    let none = world.round(Some(&after)).map;
    assert_eq!(none.choose(address(1), 0), None);
    assert_eq!(none.choose("192.0.2.1".parse().expect("an address"), 0), None);
}

#[test]
fn a_pop_that_left_the_fleet_or_came_to_it_shifts_no_one_else() {
    let mut world = World::new(300, 10, 100.0);
    let before = world.round(None).map;
    let mut pops = world.fleet.pops().to_vec();
    pops.remove(0);
    let mut new = pop(77, 100.0);
    new.id = PopId::parse("aaa").expect("good");
    pops.push(new);
    world.fleet = Arc::new(Fleet::new(pops).expect("good"));
    let after = world.round(Some(&before)).map;
    let stayed = (0..300).filter(|unit| {
        let was = &before.plan(Some(*unit)).shares[0].0;
        let is = &after.plan(Some(*unit)).shares[0].0;
        before.pop(*was) == after.pop(*is)
    });
    let gone = (0..300).filter(|unit| before.plan(Some(*unit)).shares[0].0 == 0).count();
    let stayed = stayed.count();
    assert!(stayed + gone + 16 >= 300, "{stayed} stayed, {gone} had to go");
}

#[test]
fn one_answer_in_a_hundred_explores_and_every_client_gets_its_own_answer_again() {
    let world = World::new(4000, 20, 10_000.0);
    let map = world.round(None).map;
    let again = world.round(None).map;
    let mut explored = 0;
    for unit in 0..4000 {
        let choice = map.choose(address(unit), 3).expect("served");
        assert_eq!(again.choose(address(unit), 3), Some(choice));
        explored += usize::from(choice.reason == Reason::Exploration);
        assert_eq!(choice.found.unit, Some(unit));
    }
    assert!((15..=80).contains(&explored), "{explored} of 4000");
    let outside = map.choose("203.0.113.9".parse().expect("an address"), 0).expect("served");
    assert_eq!(outside.reason, Reason::Unlocated);
}

#[test]
fn a_unit_that_is_split_is_split_among_its_subnets_in_that_ratio() {
    let mut builder = UnitsBuilder::default();
    builder.add("10.0.0.0".parse().expect("an address"), 8, *b"DE", 1, city(1)).expect("few");
    let units = Arc::new(builder.build());
    let fleet = Fleet::new(vec![pop(1, 100.0), pop(2, 300.0)]).expect("good");
    let (fleet, latency) = (Arc::new(fleet), Latency::default());
    let demand = [340.0];
    let inputs = Inputs {
        units: &units,
        demand: &demand,
        fleet: &fleet,
        latency: &latency,
        home: city(1),
        previous: None,
    };
    let map = Round::make(inputs).map;
    let near = (0..4000u32)
        .filter_map(|number| map.choose(IpAddr::V4((10 << 24 | number << 8 | 1).into()), 0))
        .filter(|choice| choice.pop == 0)
        .count();
    assert!((850..1150).contains(&near), "{near} of 4000");
    let full = map.choose("10.0.0.1".parse().expect("an address"), 0).expect("served");
    assert_eq!(full.next, None, "the other one is as full");
}

#[test]
fn a_map_is_adjusted_to_pops_that_went_away_and_nobody_else_moves() {
    let mut world = World::new(400, 20, 100.0);
    world.measure();
    let before = world.round(None).map;
    let dead: Vec<u16> = vec![before.plan(Some(0)).shares[0].0, 7];
    let ids: Vec<_> = dead.iter().map(|pop| before.pop(*pop).clone()).collect();
    // One is dead, one is no more in the fleet, and there is a new one that the map does not know.
    let mut pops = world.fleet.pops().to_vec();
    pops.retain(|pop| pop.id != ids[1]);
    pops.iter_mut().filter(|pop| pop.id == ids[0]).for_each(|pop| pop.state = PopState::Down);
    pops.push(pop(900, 100.0));
    let newer = Fleet::new(pops).expect("good");
    let after = before.adjusted(&newer);
    let mut kept = 0;
    for (old, new) in before.plans().iter().zip(after.plans()) {
        let names_dead = |plan: &Plan| {
            plan.each_share().any(|(pop, _)| dead.contains(&pop))
                || plan.candidates.iter().any(|one| dead.contains(&one.pop))
        };
        assert!(!names_dead(new));
        assert!((new.shares.last().expect("somebody serves").1 - 1.0).abs() < 1e-6);
        if !names_dead(old) {
            assert_eq!(old, new);
            kept += 1;
        }
    }
    assert!(kept > 20, "{kept}");
    for number in 0..400 {
        let choice = after.choose(address(number), 3).expect("somebody serves");
        assert!(!dead.contains(&choice.pop));
    }
    assert!(after.choose([203, 0, 113, 1].into(), 0).is_some_and(|one| !dead.contains(&one.pop)));
    let again = after.adjusted(&newer);
    assert!(Arc::ptr_eq(&after.plans, &again.plans), "nothing to change, nothing copied");
    let none = before.adjusted(&Fleet::default());
    assert!(none.choose(address(1), 0).is_none());
}

#[test]
fn a_map_of_which_the_shares_were_kept_goes_on_as_it_was() {
    let mut world = World::new(400, 20, 30.0);
    world.measure();
    let first = world.round(None).map;
    let shares = |map: &Map| -> HashMap<UnitKey, Vec<(u16, f64)>> {
        let units = map.units().all().iter().zip(map.plans());
        units.map(|(unit, plan)| (unit.key, plan.each_share().collect())).collect()
    };
    // What it would do anew is something else: round trips are forgotten.
    let kept = shares(&first);
    world.latency = Latency::default();
    let recalled = Map::recalled(Arc::clone(&world.units), Arc::clone(&world.fleet), &kept);
    let Round { map, moved } = world.round(Some(&recalled));
    assert!(moved.chosen <= 400.0 * MOVED_SHARE_MAX * 1.000_001 && moved.left > 0.0, "{moved:?}");
    let units = map.plans().iter().zip(first.plans());
    let same = units.filter(|(now, then)| now.shares[0].0 == then.shares[0].0).count();
    assert!(same > 350, "{same} of 400");
}

#[test]
fn the_number_of_cores_changes_nothing() {
    let mut world = World::new(5000, 30, 200.0);
    world.measure();
    let home = city(0);
    let World { units, demand, fleet, latency } = &world;
    let inputs = |previous| Inputs { units, demand, fleet, latency, home, previous };
    let cores = |count| NonZeroUsize::new(count).expect("not 0");
    let one = Round::make_on(cores(1), inputs(None)).map;
    let many = Round::make_on(cores(4), inputs(None)).map;
    assert_eq!(one.plans(), many.plans());
    let next = |count| Round::make_on(cores(count), inputs(Some(&one))).map;
    assert_eq!(next(1).plans(), next(4).plans());
}

/// Demand that left PoPs which serve in both maps, as those who look up addresses would see it.
fn left(before: &Map, after: &Map, demand: &[f64]) -> f64 {
    let serves = |pop: u16| after.fleet().pops()[usize::from(pop)].takes_clients();
    let of_unit = |((before, after), demand): ((&Plan, &Plan), &f64)| {
        let now: HashMap<u16, f64> = after.each_share().collect();
        let lost = |(pop, share): (u16, f64)| (share - now.get(&pop).unwrap_or(&0.0)).max(0.0);
        before.each_share().filter(|(pop, _)| serves(*pop)).map(lost).sum::<f64>() * demand
    };
    before.plans().iter().zip(after.plans()).zip(demand).map(of_unit).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_round_moves_more_than_a_twentieth_but_off_a_dead_pop_and_what_one_cannot_carry(
        seed in any::<u32>(), pops in 2..12u32, roominess in 0.9..20.0f64, dead in 0..24u32,
        amounts in prop::collection::vec(0.1..10.0f64, 60),
    ) {
        let mut world = World::new(60, pops, 0.0);
        let sum: f64 = amounts.iter().sum();
        world.change(|pop| pop.capacity = sum * roominess / f64::from(pops));
        world.demand = amounts;
        world.measure();
        let before = world.round(None).map;
        // All round trips are others now, one PoP may be dead, and demand is another one.
        world.latency = Latency::default();
        for (number, unit) in world.units.all().iter().enumerate() {
            for pop in 0..pops {
                let rtt = true_rtt_ms(number as u32 ^ seed, pop);
                world.latency.observe(&unit.key, pop as u16, &Digest::of(vec![rtt; 30])).expect("room");
            }
        }
        let dead = PopId::parse(format!("pop-{dead:03}")).expect("good");
        world.change(|pop| if pop.id == dead { pop.state = PopState::Down });
        let mut map = before;
        for _ in 0..4 {
            let then = world.round(Some(&map));
            let Moved { forced, chosen, .. } = then.moved;
            prop_assert!(chosen <= sum * MOVED_SHARE_MAX * 1.000_001, "{chosen} of {sum}");
            let has_died = then.map.fleet().pops().iter().zip(map.fleet().pops()).any(|(now, then)| now.state != then.state);
            let left = left(&map, &then.map, &world.demand);
            prop_assert!(left <= chosen + forced + 1e-6);
            // A single PoP could carry the whole: nothing has to go but off a dead one.
            if roominess > f64::from(pops) * 1.2 {
                prop_assert!(left <= sum * MOVED_SHARE_MAX * 1.000_001, "{left} of {sum}");
                prop_assert!(has_died || forced == 0.0);
            }
            map = then.map;
        }
    }
}
