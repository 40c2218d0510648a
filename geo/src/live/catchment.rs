//! From where clients reach which PoP, by the addresses of ours that they came to.
//!
//! With anycast nobody but the Internet decides where a client lands, so it can only be seen: PoPs tell how many
//! connections came to which of their addresses, by subnet, and they are added up here by unit. Counts lose half of their
//! weight every minute, as round trips do. Invariant: there are at most [`ENTRIES_MAX`] counts, and what found no room is
//! said.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use serde::Serialize;
use tidegate_contract::{
    geo_feed::{CATCHMENT_NETWORKS_MAX, RoundTrips, SubnetRoundTrips},
    id::PopId,
    network::Network,
};

use crate::{
    latency::FADE,
    map::score::Source,
    unit::{UnitIndex, UnitKey, Units},
    world::World,
};

/// What came to which address of which PoP.
#[derive(Debug, Clone, Default)]
pub(super) struct Catchment {
    pops: BTreeMap<PopId, HashMap<Arrival, Came>>,
    entries: usize,
    /// Connections that found no room since the start.
    left_out: u64,
}

/// From where, and to which of our addresses. Nobody knows where the clients without a unit are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Arrival {
    unit: Option<UnitKey>,
    at: IpAddr,
}

/// How much came.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    connections: f64,
    bytes: f64,
    /// Round trips in ms: their sum, and how many there were.
    rtt_ms: f64,
    samples: f64,
}

/// A catchment, as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatchmentView {
    /// Connections and bytes lose half of their weight in so many seconds.
    pub halves_after_seconds: u64,
    /// Connections of all PoPs.
    pub connections: f64,
    /// Bytes sent by all PoPs.
    pub bytes: f64,
    /// Connections of any group that found no room since the node's start; more than 0: figures are too low.
    pub left_out: u64,
    /// PoPs that somebody reached.
    pub pops: Vec<PopCatchment>,
}

/// Who lands at one PoP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PopCatchment {
    /// The PoP.
    pub pop: PopId,
    /// Connections.
    pub connections: f64,
    /// Its share of the connections of all PoPs, 0 to 1.
    pub connections_share: f64,
    /// Bytes sent.
    pub bytes: f64,
    /// Its share of the bytes of all PoPs, 0 to 1.
    pub bytes_share: f64,
    /// Units that they came from.
    pub units: usize,
    /// The share of its connections that the map would have sent here, too; absent: nobody knows where any of them is.
    pub as_mapped_share: Option<f64>,
    /// How much further its clients are from here than from where the map would send them, in ms, as a mean over those
    /// of which both ways were measured; absent: there are none.
    pub further_ms: Option<f64>,
    /// The share of its connections that this is known of.
    pub further_known_share: f64,
    /// The busiest networks, the first with most connections.
    pub networks: Vec<NetworkView>,
}

/// A unit that lands at a PoP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkView {
    /// Two letters; absent: nobody knows where it is, or in which country.
    pub country: Option<String>,
    /// The autonomous system; absent: nobody said.
    pub asn: Option<u32>,
    /// Degrees north, to a tenth; absent: nobody knows where it is.
    pub latitude: Option<f64>,
    /// Degrees east, to a tenth.
    pub longitude: Option<f64>,
    /// Connections.
    pub connections: f64,
    /// Their share of the PoP's, 0 to 1.
    pub share: f64,
    /// Bytes sent.
    pub bytes: f64,
    /// The mean round trip to here that was measured, in ms; absent: none was.
    pub rtt_ms: Option<f64>,
    /// Where the map sends the most of it; absent: nobody knows where it is, or no PoP serves.
    pub mapped_to: Option<PopId>,
    /// The round trip to there, in ms.
    pub mapped_rtt_ms: Option<f64>,
    /// Where that comes from: `unit`, `network` or `distance`; the last one is a guess.
    pub mapped_source: Option<&'static str>,
    /// How much further it is to here; absent where one of the two was not measured.
    pub further_ms: Option<f64>,
}

/// What is asked of a catchment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Of these addresses.
    pub(super) blocks: &'a [Network],
    /// Of this PoP alone; shares are still those of all.
    pub(super) pop: Option<&'a PopId>,
    /// So many networks of each PoP.
    pub(super) networks: u16,
}

impl Catchment {
    /// Takes a batch in, whose PoP is known by its certificate.
    pub(super) fn take(&mut self, batch: &RoundTrips, units: &Units) {
        let Some(pop) = &batch.pop else { return };
        for subnet in batch.subnets.iter().filter(|subnet| !subnet.reached.is_empty()) {
            let unit = units.lookup().find(subnet.subnet.parts().0).unit;
            let unit = unit.map(|unit| units.all()[unit as usize].key);
            self.add(pop, unit, subnet);
        }
    }

    /// A minute has passed.
    pub(super) fn fade(&mut self) {
        self.pops.retain(|_, came| {
            came.retain(|_, came| {
                for part in
                    [&mut came.connections, &mut came.bytes, &mut came.rtt_ms, &mut came.samples]
                {
                    *part *= FADE;
                }
                came.connections >= CONNECTIONS_MIN || came.bytes >= BYTES_MIN
            });
            !came.is_empty()
        });
        self.entries = self.pops.values().map(HashMap::len).sum();
    }

    /// Who reaches which PoP, held against the map.
    pub(super) fn view(&self, wanted: Wanted<'_>, world: &World) -> CatchmentView {
        let is_wanted =
            |arrival: &Arrival| wanted.blocks.iter().any(|block| block.contains(arrival.at));
        let mut all = Vec::new();
        for (pop, came) in &self.pops {
            let mut by_unit: HashMap<Option<UnitKey>, Came> = HashMap::new();
            for (arrival, came) in came.iter().filter(|(arrival, _)| is_wanted(arrival)) {
                by_unit.entry(arrival.unit).or_default().merge(came);
            }
            if !by_unit.is_empty() {
                all.push((pop, by_unit));
            }
        }
        let sum = |part: fn(&Came) -> f64| -> f64 {
            all.iter().flat_map(|(_, by_unit)| by_unit.values()).map(part).sum()
        };
        let (connections, bytes) = (sum(|came| came.connections), sum(|came| came.bytes));
        let shown: Vec<_> =
            all.iter().filter(|(pop, _)| wanted.pop.is_none_or(|only| only == *pop)).collect();
        let networks_max = usize::from(wanted.networks.min(CATCHMENT_NETWORKS_MAX))
            .min(NETWORKS_MAX / shown.len().max(1));
        let pops = shown.into_iter().map(|(pop, by_unit)| {
            PopCatchment::new(pop, by_unit, (connections, bytes), networks_max, world)
        });
        CatchmentView {
            halves_after_seconds: FADES_EVERY_SECONDS,
            connections: rounded(connections),
            bytes: rounded(bytes),
            left_out: self.left_out,
            pops: pops.collect(),
        }
    }

    fn add(&mut self, pop: &PopId, unit: Option<UnitKey>, subnet: &SubnetRoundTrips) {
        let samples: f64 = subnet.centroids.iter().map(|(_, count)| count).sum();
        let rtt_ms: f64 = subnet.centroids.iter().map(|(ms, count)| ms * count).sum();
        let connections: f64 = subnet.reached.iter().map(|one| f64::from(one.connections)).sum();
        for one in &subnet.reached {
            let arrival = Arrival { unit, at: one.at.to_canonical() };
            let is_known = self.pops.get(pop).is_some_and(|came| came.contains_key(&arrival));
            if !is_known {
                if self.entries >= ENTRIES_MAX {
                    self.left_out = self.left_out.saturating_add(u64::from(one.connections));
                    continue;
                }
                self.entries += 1;
            }
            // The way to a client is the same whichever address of a PoP it came to.
            let part = f64::from(one.connections) / connections.max(1.0);
            let came = Came {
                connections: f64::from(one.connections),
                bytes: one.sent_bytes as f64,
                rtt_ms: rtt_ms * part,
                samples: samples * part,
            };
            let all = self.pops.entry(pop.clone()).or_default();
            all.entry(arrival).or_default().merge(&came);
        }
    }
}

impl Came {
    fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.rtt_ms += other.rtt_ms;
        self.samples += other.samples;
    }

    fn mean_ms(&self) -> Option<f64> {
        (self.samples > 0.0).then(|| self.rtt_ms / self.samples)
    }
}

impl PopCatchment {
    fn new(
        pop: &PopId,
        by_unit: &HashMap<Option<UnitKey>, Came>,
        of_all: (f64, f64),
        networks_max: usize,
        world: &World,
    ) -> Self {
        let (mut connections, mut bytes) = (0.0, 0.0);
        let (mut located, mut as_mapped) = (0.0, 0.0);
        let (mut further, mut known) = (0.0, 0.0);
        let mut networks: Vec<NetworkView> = Vec::with_capacity(by_unit.len());
        for (unit, came) in by_unit {
            let network = NetworkView::new(unit.as_ref(), came, pop, world);
            connections += came.connections;
            bytes += came.bytes;
            if let Some(mapped_to) = &network.mapped_to {
                located += came.connections;
                if mapped_to == pop {
                    as_mapped += came.connections;
                }
            }
            if let Some(ms) = network.further_ms {
                further += ms * came.connections;
                known += came.connections;
            }
            networks.push(network);
        }
        let place = |network: &NetworkView| (network.asn, network.country.clone());
        networks.sort_by(|one, other| {
            let more = other.connections.total_cmp(&one.connections);
            more.then_with(|| other.bytes.total_cmp(&one.bytes))
                .then_with(|| place(one).cmp(&place(other)))
        });
        networks.truncate(networks_max);
        for network in &mut networks {
            network.share = share(network.connections, connections);
            network.connections = rounded(network.connections);
        }
        Self {
            pop: pop.clone(),
            connections: rounded(connections),
            connections_share: share(connections, of_all.0),
            bytes: rounded(bytes),
            bytes_share: share(bytes, of_all.1),
            units: by_unit.keys().flatten().count(),
            as_mapped_share: (located > 0.0).then(|| as_mapped / located),
            further_ms: (known > 0.0).then(|| rounded(further / known)),
            further_known_share: share(known, connections),
            networks,
        }
    }
}

impl NetworkView {
    fn new(key: Option<&UnitKey>, came: &Came, pop: &PopId, world: &World) -> Self {
        let units = world.map.units();
        // The Internet may have been read again since.
        let unit = key.and_then(|key| units.index(key));
        let mapped = unit.and_then(|unit| Mapped::of(unit, world));
        let rtt_ms = came.mean_ms();
        let further_ms = match (rtt_ms, &mapped) {
            (Some(_), Some(mapped)) if mapped.pop == *pop => Some(0.0),
            (Some(here), Some(Mapped { rtt_ms: Some((there, source)), .. }))
                if *source != Source::Distance =>
            {
                Some(rounded(here - there))
            }
            _ => None,
        };
        let tenths = |tenths: i16| f64::from(tenths) / 10.0;
        Self {
            country: key
                .filter(|key| key.country != [0; 2])
                .map(|key| String::from_utf8_lossy(&key.country).into_owned()),
            asn: key.map(|key| key.asn).filter(|asn| *asn != 0),
            latitude: key.map(|key| tenths(key.cell.0)),
            longitude: key.map(|key| tenths(key.cell.1)),
            connections: came.connections,
            share: 0.0,
            bytes: rounded(came.bytes),
            rtt_ms: rtt_ms.map(rounded),
            mapped_rtt_ms: mapped
                .as_ref()
                .and_then(|mapped| mapped.rtt_ms)
                .map(|(ms, _)| rounded(ms)),
            mapped_source: mapped
                .as_ref()
                .and_then(|mapped| mapped.rtt_ms)
                .map(|(_, source)| source.as_str()),
            mapped_to: mapped.map(|mapped| mapped.pop),
            further_ms,
        }
    }
}

/// Where the map sends the most of a unit.
struct Mapped {
    pop: PopId,
    rtt_ms: Option<(f64, Source)>,
}

impl Mapped {
    fn of(unit: UnitIndex, world: &World) -> Option<Self> {
        let plan = world.map.plan(Some(unit));
        let (pop, _) = plan.each_share().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        let candidate = plan.candidates.iter().find(|candidate| candidate.pop == pop);
        let rtt_ms =
            candidate.map(|candidate| (f64::from(candidate.score.rtt_ms), candidate.score.source));
        Some(Self { pop: world.map.pop(pop).clone(), rtt_ms })
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// To a tenth: what is finer has faded.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Networks in one answer, over all PoPs: some 300 bytes each, and an answer has a megabyte.
const NETWORKS_MAX: usize = 2000;
/// Counts that are kept, of some hundred bytes each.
const ENTRIES_MAX: usize = 200_000;
/// As the rounds let it fade.
const FADES_EVERY_SECONDS: u64 = 60;
/// Fewer connections are forgotten.
const CONNECTIONS_MIN: f64 = 0.1;
/// Fewer bytes are, too.
const BYTES_MIN: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use tidegate_contract::geo_feed::Reached;

    use super::*;
    use crate::{
        fleet::Fleet,
        latency::{Digest, Latency},
        map::{Inputs, Round},
        place::Place,
        unit::UnitsBuilder,
        world::Trust,
    };

    const FLEET: &str = r#"
        pop = [
            { id = "a", latitude = 0.0, longitude = 0.0, capacity = 100.0 },
            { id = "b", latitude = 0.0, longitude = 40.0, capacity = 100.0 },
        ]
    "#;

    fn id(text: &str) -> PopId {
        PopId::parse(text).expect("good")
    }

    /// 10.1/16 is near a and measured there; 10.2/16 is near b, and nothing is measured.
    fn world() -> World {
        let mut units = UnitsBuilder::default();
        for (first, longitude) in [("10.1.0.0", 1.0), ("10.2.0.0", 39.0)] {
            let place = Place::new(0.0, longitude).expect("a place");
            units.add(first.parse().expect("an address"), 16, *b"XX", 7, place).expect("few");
        }
        let (units, fleet) =
            (Arc::new(units.build()), Arc::new(Fleet::from_toml(FLEET).expect("good")));
        let mut latency = Latency::default();
        let near_a = units.all()[0].key;
        latency.observe(&near_a, 0, &Digest::of(vec![5.0; 100])).expect("room");
        let demand = vec![1.0; 2];
        let inputs = Inputs {
            units: &units,
            demand: &demand,
            fleet: &fleet,
            latency: &latency,
            home: fleet.pops()[0].place,
            previous: None,
        };
        let map = Round::make(inputs).map;
        World { map, trust: Trust::Current, round: 1, heard: SystemTime::UNIX_EPOCH }
    }

    fn batch(pop: &str, subnet: &str, ms: f64, reached: &[(&str, u32, u64)]) -> RoundTrips {
        let reached = reached.iter().map(|(at, connections, sent_bytes)| Reached {
            at: at.parse().expect("an address"),
            connections: *connections,
            sent_bytes: *sent_bytes,
        });
        let subnet = SubnetRoundTrips {
            subnet: subnet.parse().expect("a network"),
            centroids: vec![(ms, 10.0)],
            sent_bytes: 0,
            reached: reached.collect(),
        };
        RoundTrips { pop: Some(id(pop)), period_ms: 10_000, subnets: vec![subnet] }
    }

    const ANYCAST: &str = "203.0.113.1";

    fn view(catchment: &Catchment, world: &World, pop: Option<&PopId>) -> CatchmentView {
        let blocks = ["203.0.113.0/24".parse().expect("a network")];
        catchment.view(Wanted { blocks: &blocks, pop, networks: 10 }, world)
    }

    #[test]
    fn who_lands_where_is_held_against_the_map_and_what_is_not_known_is_not_said() {
        let world = world();
        let units = world.map.units();
        let mut catchment = Catchment::default();
        // One of the PoP's own addresses is no catchment.
        let both = [(ANYCAST, 30, 3000), ("192.0.2.1", 10, 1_000_000)];
        catchment.take(&batch("a", "10.1.3.0/24", 5.0, &both), units);
        catchment.take(&batch("b", "10.1.4.0/24", 45.0, &[(ANYCAST, 10, 1000)]), units);
        catchment.take(&batch("b", "10.2.4.0/24", 3.0, &[(ANYCAST, 50, 6000)]), units);
        catchment.take(&batch("a", "10.2.5.0/24", 60.0, &[(ANYCAST, 9, 0)]), units);
        catchment.take(&batch("a", "192.168.1.0/24", 60.0, &[(ANYCAST, 1, 0)]), units);
        let seen = view(&catchment, &world, None);
        assert_eq!((seen.connections, seen.bytes, seen.left_out), (100.0, 10_000.0, 0));
        let [a, b] = &seen.pops[..] else { panic!("{seen:?}") };
        assert_eq!((a.connections_share, a.bytes_share, a.units), (0.4, 0.3, 2));
        assert_eq!((b.connections_share, b.units), (0.6, 2));
        // Of a's located clients 30 of 39 are where the map wants them, of b's 50 of 60.
        assert_eq!(a.as_mapped_share, Some(30.0 / 39.0));
        assert_eq!(b.as_mapped_share, Some(50.0 / 60.0));
        // 10 of b's are 40 ms further than from a, as measured; 50 are where they belong.
        assert_eq!((b.further_ms, b.further_known_share), (Some(6.7), 1.0));
        let stray = &b.networks[1];
        assert_eq!((stray.rtt_ms, stray.further_ms), (Some(45.0), Some(40.0)));
        assert_eq!((stray.mapped_to.clone(), stray.mapped_source), (Some(id("a")), Some("unit")));
        // What the map only guesses is no measure.
        let guessed = &a.networks[1];
        assert_eq!((guessed.mapped_source, guessed.further_ms), (Some("distance"), None));
        let unknown = &a.networks[2];
        assert_eq!((unknown.asn, unknown.mapped_to.clone(), unknown.latitude), (None, None, None));

        let only = view(&catchment, &world, Some(&id("b")));
        assert_eq!((only.pops.len(), only.pops[0].connections_share), (1, 0.6));
    }

    #[test]
    fn counts_fade_and_are_bounded() {
        let world = world();
        let units = world.map.units();
        let mut catchment = Catchment::default();
        catchment.take(&batch("a", "10.1.3.0/24", 5.0, &[(ANYCAST, 8, 0)]), units);
        catchment.fade();
        let seen = view(&catchment, &world, None);
        assert_eq!((seen.connections, seen.pops[0].networks[0].rtt_ms), (4.0, Some(5.0)));
        for _ in 0..10 {
            catchment.fade();
        }
        assert!(view(&catchment, &world, None).pops.is_empty());
        assert_eq!(catchment.entries, 0);
        for number in 0..ENTRIES_MAX as u32 + 5 {
            let at = IpAddr::V4((0xcb00_7100 + number).into()).to_string();
            catchment.take(&batch("a", "10.1.3.0/24", 5.0, &[(&at, 2, 0)]), units);
        }
        assert_eq!((catchment.entries, catchment.left_out), (ENTRIES_MAX, 10));
    }
}
