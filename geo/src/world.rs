//! What answers are made from at a moment: the map, and how far it can be trusted.
//!
//! Everything that answers (DNS, steering manifests, explanations) reads the newest world and never waits for one;
//! whoever made a newer one puts it there in one step. Invariant: there is always a world, so no question is lost to a
//! change.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::map::{Choice, Map, Reason};

/// The most addresses of one PoP in an answer, and of the next one's beside them.
pub const ADDRESSES_MAX: usize = 2;

/// What answers are made from.
#[derive(Debug, Clone)]
pub struct World {
    /// Which PoP serves which part of the Internet.
    pub map: Map,
    /// How far the map can be trusted.
    pub trust: Trust,
    /// The number of the round that made it; a restart goes on from the clock, so that it only grows.
    pub round: u64,
    /// When what it was made from was heard last.
    pub heard: SystemTime,
}

/// How far a map can be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trust {
    /// It is of now, or as old as may be.
    Current,
    /// An operator holds it; PoPs that die are still left out.
    Frozen,
    /// Nothing was heard for long: clients get this node's own PoP, but for a share of them who get another one, as the
    /// last map ranks them.
    Alone {
        /// The PoP of this node, as an index of the map's fleet.
        own: u16,
        /// The share that is sent elsewhere, 0 to 1: what the own PoP cannot carry.
        shed: f32,
    },
}

/// The PoPs that a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// For all clients that share so many first bits with it the same is true.
    pub scope: u8,
    /// The PoP.
    pub pop: u16,
    /// The one to be named after it.
    pub next: Option<u16>,
    /// Why.
    pub reason: Reason,
    /// How long the answer may be kept.
    pub ttl_seconds: u32,
}

/// The newest world.
#[derive(Debug)]
pub struct Worlds {
    newest: ArcSwap<World>,
    changed: watch::Sender<u64>,
}

impl World {
    /// What a client gets; `None` when no PoP serves.
    #[must_use]
    pub fn target(&self, client: IpAddr) -> Option<Target> {
        let choice = self.map.choose(client, self.round)?;
        let target = |Choice { found, pop, next, reason }| Target {
            scope: found.scope,
            pop,
            next,
            reason,
            ttl_seconds: self.map.ttl_seconds(pop),
        };
        let Trust::Alone { own, shed } = self.trust else { return Some(target(choice)) };
        // Who is shed goes anywhere but here, whatever the last map says.
        let elsewhere = match self.map.is_shed(client, shed) {
            true => self.map.choose_but(client, self.round, own),
            false => None,
        };
        let here = Choice { pop: own, next: None, reason: Reason::Alone, ..choice };
        // One subnet of a block may be shed while the others are not.
        let scope = if client.to_canonical().is_ipv4() { 24 } else { 48 };
        Some(Target { scope, ..target(elsewhere.unwrap_or(here)) })
    }

    /// The addresses of a target that an answer names, of one family: up to [`ADDRESSES_MAX`] of the PoP and as many of
    /// the next. Which ones, of a PoP that has more, depends on the round, so that all of them are used.
    pub fn addresses(&self, target: Target, is_v6: bool) -> impl Iterator<Item = IpAddr> + '_ {
        let pops = [Some(target.pop), target.next];
        pops.into_iter().flatten().flat_map(move |pop| self.of_pop(pop, is_v6))
    }

    fn of_pop(&self, pop: u16, is_v6: bool) -> impl Iterator<Item = IpAddr> + '_ {
        let all = &self.map.fleet().pops()[usize::from(pop)].addresses;
        let of_family = move |address: &&IpAddr| address.is_ipv6() == is_v6;
        let count = all.iter().filter(of_family).count().max(1);
        let first = (self.round % count as u64) as usize;
        all.iter().filter(of_family).cycle().skip(first).take(count.min(ADDRESSES_MAX)).copied()
    }
}

impl Worlds {
    /// Begins with a world.
    #[must_use]
    pub fn new(first: World) -> Arc<Self> {
        let changed = watch::Sender::new(first.round);
        Arc::new(Self { newest: ArcSwap::from_pointee(first), changed })
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> arc_swap::Guard<Arc<World>> {
        self.newest.load()
    }

    /// The newest, for longer than a question.
    #[must_use]
    pub fn newest_full(&self) -> Arc<World> {
        self.newest.load_full()
    }

    /// Puts a newer one in its place.
    pub fn replace(&self, world: World) {
        let round = world.round;
        self.newest.store(Arc::new(world));
        self.changed.send_replace(round);
    }

    /// Tells of every newer world by the number of its round.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::Fleet,
        latency::Latency,
        map::{Inputs, Round},
        place::Place,
        unit::UnitsBuilder,
    };

    const FLEET: &str = r#"
        [[pop]]
        id = "fra"
        latitude = 50.1
        longitude = 8.7
        capacity = 100.0
        addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"]

        [[pop]]
        id = "syd"
        latitude = -33.9
        longitude = 151.2
        capacity = 100.0
        addresses = ["198.51.100.1"]
    "#;

    fn world(trust: Trust) -> World {
        let mut units = UnitsBuilder::default();
        for (prefix, latitude, longitude) in [("10.0.0.0", 48.9, 2.4), ("10.1.0.0", -37.8, 145.0)] {
            let place = Place::new(latitude, longitude).expect("a place");
            units.add(prefix.parse().expect("an address"), 16, *b"XX", 0, place).expect("few");
        }
        let (units, fleet) =
            (Arc::new(units.build()), Arc::new(Fleet::from_toml(FLEET).expect("good")));
        let home = fleet.pops()[0].place;
        let demand = [1.0, 1.0];
        let latency = Latency::default();
        let inputs = Inputs {
            units: &units,
            demand: &demand,
            fleet: &fleet,
            latency: &latency,
            home,
            previous: None,
        };
        let map = Round::make(inputs).map;
        World { map, trust, round: 4, heard: SystemTime::UNIX_EPOCH }
    }

    fn addresses(world: &World, client: &str, is_v6: bool) -> Vec<String> {
        let target = world.target(client.parse().expect("an address")).expect("somebody serves");
        world.addresses(target, is_v6).map(|address| address.to_string()).collect()
    }

    #[test]
    fn a_client_gets_addresses_of_its_pop_and_of_its_family() {
        let mut world = world(Trust::Current);
        assert_eq!(addresses(&world, "10.0.0.1", false), ["192.0.2.2", "192.0.2.3"]);
        world.round = 5;
        assert_eq!(addresses(&world, "10.0.0.1", false), ["192.0.2.3", "192.0.2.1"]);
        assert_eq!(addresses(&world, "10.0.0.1", true), ["2001:db8::1"]);
        assert_eq!(addresses(&world, "10.1.0.1", false), ["198.51.100.1"]);
        assert!(addresses(&world, "10.1.0.1", true).is_empty());
    }

    #[test]
    fn alone_a_node_answers_its_own_pop_and_sheds_a_share() {
        let to_own = |shed| {
            let world = world(Trust::Alone { own: 0, shed });
            let target =
                |n: u8| world.target([10, 1, n, 1].into()).expect("somebody serves").reason;
            (0..=255).filter(|n| target(*n) == Reason::Alone).count()
        };
        assert_eq!((to_own(0.0), to_own(1.0)), (256, 0));
        let half = to_own(0.5);
        assert!((90..170).contains(&half), "{half}");
    }

    #[test]
    fn who_is_shed_goes_elsewhere_even_when_the_map_says_here() {
        let world = world(Trust::Alone { own: 0, shed: 1.0 });
        for subnet in 0..=255u8 {
            let target = world.target([10, 0, subnet, 1].into()).expect("somebody serves");
            assert_eq!((target.pop, target.next, target.scope), (1, None, 24));
        }
    }

    #[test]
    fn a_newer_world_is_seen_at_once() {
        let worlds = Worlds::new(world(Trust::Current));
        let mut changes = worlds.changes();
        assert!(!changes.has_changed().expect("there"));
        worlds.replace(World { round: 9, ..world(Trust::Frozen) });
        assert_eq!((worlds.newest().round, *changes.borrow_and_update()), (9, 9));
    }
}
