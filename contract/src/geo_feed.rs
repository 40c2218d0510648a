//! What a node of the DNS hears of the fleet: PoPs, zones, steering policies, round trips, questions of operators.
//!
//! One line of JSON for each [`FeedLine`], whole and never a difference, but for round trips, which are samples: one that
//! got lost costs nothing. Invariant: which PoP measured is said by whoever checked that PoP's certificate, never by the
//! PoP itself, so no client and no node can speak for another one.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    anycast::Coordinates,
    id::PopId,
    network::Network,
    resource::ResourceName,
    resource_spec::SteeringPolicySpec,
    zone_keys::{KeyKind, ProvenSet},
};

/// The largest line, in bytes: zones are most of it.
pub const FEED_LINE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most subnets of one batch of round trips; what a node had beyond them it leaves out and counts.
pub const SUBNETS_PER_BATCH_MAX: usize = 1024;
/// The largest message of round trips, in bytes of JSON; a batch that is larger travels in parts of
/// [`SUBNETS_PER_MESSAGE_MAX`].
pub const ROUND_TRIPS_BYTES_MAX: usize = 60 * 1024;
/// The most subnets of one message.
pub const SUBNETS_PER_MESSAGE_MAX: usize = 128;
/// What a control plane that takes round trips says in the head of its answer on the telemetry lane. To another one a node
/// sends none: it would take them for no message at all, and end the lane.
pub const TAKES_ROUND_TRIPS: &str = "tidegate-takes-round-trips";
/// The most centroids of a subnet in a batch.
pub const CENTROIDS_MAX: usize = 8;
/// The most addresses of ours of which a subnet tells that its clients came to them: the busiest.
pub const REACHED_MAX: usize = 2;
/// The longest prefix of a subnet in a batch, IPv4 and IPv6: no batch tells of a single client.
pub const SUBNET_PREFIX_MAX: (u8, u8) = (24, 48);

/// One line of the feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedLine {
    /// The whole of what is known of the fleet; first, and whenever it changes.
    Fleet(Box<FleetView>),
    /// What a PoP measured.
    RoundTrips(RoundTrips),
    /// What an operator wants to know; answered by `POST /v1/geo/answers/{id}`.
    Question {
        /// Under which the answer is told.
        id: u64,
        /// What is asked.
        question: Question,
    },
    /// Every second: the other side is there.
    Beat {},
}

/// The fleet as DNS and steering see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetView {
    /// Version of the release that PoPs, zones and policies are of.
    pub version: u64,
    /// The PoPs that have a place.
    pub pops: Vec<PopView>,
    /// Zones, by name: master files (RFC 1035).
    pub zones: BTreeMap<String, String>,
    /// Steering policies, by name.
    pub steering: BTreeMap<ResourceName, SteeringPolicySpec>,
    /// Why an operator holds the map; absent: nobody does.
    pub frozen: Option<String>,
    /// The newest set of keys of each signed zone that was rolled over from here, by its apex.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, ProvenSet>,
}

/// One PoP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PopView {
    /// Its id.
    pub id: PopId,
    /// Where it is.
    pub place: Coordinates,
    /// What it can carry, in Mbit/s.
    pub capacity_mbps: f64,
    /// The share of it that may be used, 0 to 1: below 1 while it comes back from a drain.
    pub weight: f64,
    /// How it is.
    pub state: PopCondition,
    /// Its public addresses.
    pub addresses: Vec<IpAddr>,
    /// The port of HTTPS and HTTP/3 there.
    pub port: u16,
    /// A name that its certificate answers to, for those who look whether it is well.
    #[serde(default)]
    pub name: Option<String>,
}

/// How a PoP is, as far as steering is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PopCondition {
    /// Takes clients.
    #[default]
    Up,
    /// Takes clients, but something about it is doubtful.
    Troubled,
    /// Gets no new clients.
    Draining,
    /// Dead, or told to be.
    Down,
}

/// Round trips and traffic of the clients of a node, over some seconds. A node sends it with an empty `pop`; the control
/// plane writes in which one it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoundTrips {
    /// Who measured.
    pub pop: Option<PopId>,
    /// Over how long, in ms.
    pub period_ms: u32,
    /// By subnet.
    pub subnets: Vec<SubnetRoundTrips>,
}

/// Round trips and traffic of one subnet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubnetRoundTrips {
    /// The subnet, at most as long as [`SUBNET_PREFIX_MAX`].
    pub subnet: Network,
    /// Round trip in ms and number of samples: the centroids of a t-digest, in order, at most [`CENTROIDS_MAX`].
    pub centroids: Vec<(f64, f64)>,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// To which of our addresses, the busiest first, at most [`REACHED_MAX`]; what is not told of is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
}

/// Connections that came to one of our addresses. Where a prefix is announced from many PoPs, this tells who lands where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The address that the client connected to.
    pub at: IpAddr,
    /// Connections that finished their handshake there.
    pub connections: u32,
    /// Bytes sent from there.
    pub sent_bytes: u64,
}

/// What an operator asks the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What would a client be told, and why?
    Resolve {
        /// The name.
        name: String,
        /// The type of record, as text: `A`.
        record: String,
        /// Who asks: the client itself, or its resolver.
        client: IpAddr,
        /// The subnet of the client that the query carries (RFC 7871).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subnet: Option<Network>,
    },
    /// What does the map look like?
    Map {},
    /// How does the newest map differ from the one some minutes ago?
    MapDiff {
        /// How long ago, in seconds.
        ago_seconds: u32,
    },
    /// What would a player be told by content steering, and why?
    Steer {
        /// The path or URL of what it plays, or of where it asks to be steered.
        asset: String,
        /// The policy; absent: the one that the asset names, or the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
        /// The pathway that it plays from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pathway: Option<String>,
        /// The player.
        client: IpAddr,
    },
    /// From where do clients reach which PoP at these addresses?
    Catchment {
        /// The addresses: the prefixes of a group.
        blocks: Vec<Network>,
        /// Only of this PoP.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pop: Option<PopId>,
        /// So many of the busiest networks of each PoP, at most [`CATCHMENT_NETWORKS_MAX`].
        networks: u16,
    },
    /// Which zones are served, and which of them are signed?
    Zones {},
    /// Where do the keys of signed zones stand?
    Signing {
        /// Only of this zone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// What would the next step of a roll-over make of the keys? Nothing is changed by it; answered by a
    /// [`KeyProposal`](crate::zone_keys::KeyProposal).
    RollKeys {
        /// The zone.
        zone: String,
        /// Which kind of key; absent: the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<KeyKind>,
        /// The step is that the parent has the DS record of the new key.
        #[serde(default)]
        ds_seen: bool,
        /// The revision of the set that the asker has: a node that has not heard of it yet proposes nothing; 0: none.
        revision: u64,
    },
}

/// The newest generation of questions. A node says which it knows when it begins to follow, as `questions`; one that says
/// nothing knows the first. It is asked nothing newer: a line that it cannot read would end the feed.
pub const QUESTIONS_NEWEST: u32 = 3;
/// The most networks of one PoP in an answer about a catchment.
pub const CATCHMENT_NETWORKS_MAX: u16 = 100;

impl Question {
    /// The generation of questions that it is of.
    #[must_use]
    pub fn generation(&self) -> u32 {
        match self {
            Self::Resolve { subnet: None, .. } | Self::Map {} | Self::MapDiff { .. } => 1,
            // Whoever does not know subnets would leave it out and answer something else.
            Self::Resolve { subnet: Some(_), .. }
            | Self::Steer { .. }
            | Self::Catchment { .. }
            | Self::Zones {}
            | Self::Signing { .. } => 2,
            Self::RollKeys { .. } => QUESTIONS_NEWEST,
        }
    }
}

/// What is wrong with a batch.
#[derive(Debug, thiserror::Error)]
pub enum RoundTripsError {
    /// Larger than [`ROUND_TRIPS_BYTES_MAX`].
    #[error("at most {ROUND_TRIPS_BYTES_MAX} bytes, not {0}")]
    Size(usize),
    /// Not the JSON of it.
    #[error("cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Too many subnets.
    #[error("a batch has at most {SUBNETS_PER_BATCH_MAX} subnets, this one has {0}")]
    Subnets(usize),
    /// A subnet that is too small to be no person.
    #[error("{0} is longer than a batch may tell")]
    Prefix(Network),
    /// Not the centroids of a digest.
    #[error(
        "{0}: at most {CENTROIDS_MAX} pairs of a round trip in ms and a number of samples, in order"
    )]
    Centroids(Network),
    /// Too many of our addresses.
    #[error("{0}: at most {REACHED_MAX} addresses that were reached")]
    Reached(Network),
}

impl RoundTrips {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a batch holds only texts and finite numbers")
    }

    /// Reads and checks what somebody else sent.
    ///
    /// # Errors
    /// [`RoundTripsError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RoundTripsError> {
        if bytes.len() > ROUND_TRIPS_BYTES_MAX {
            return Err(RoundTripsError::Size(bytes.len()));
        }
        let batch: Self = serde_json::from_slice(bytes)?;
        batch.check()?;
        Ok(batch)
    }

    /// The batch in parts that each fit into one message.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        let Self { pop, period_ms, mut subnets } = self;
        std::iter::from_fn(move || {
            let rest = subnets.split_off(subnets.len().min(SUBNETS_PER_MESSAGE_MAX));
            let subnets = std::mem::replace(&mut subnets, rest);
            (!subnets.is_empty()).then(|| Self { pop: pop.clone(), period_ms, subnets })
        })
    }

    /// Checks what somebody else sent.
    ///
    /// # Errors
    /// [`RoundTripsError`]
    pub fn check(&self) -> Result<(), RoundTripsError> {
        if self.subnets.len() > SUBNETS_PER_BATCH_MAX {
            return Err(RoundTripsError::Subnets(self.subnets.len()));
        }
        for one in &self.subnets {
            let (first, prefix) = one.subnet.parts();
            let longest = if first.is_ipv4() { SUBNET_PREFIX_MAX.0 } else { SUBNET_PREFIX_MAX.1 };
            if prefix > longest {
                return Err(RoundTripsError::Prefix(one.subnet));
            }
            let is_good = |(ms, count): &(f64, f64)| {
                (0.0..=RTT_MS_MAX).contains(ms) && (0.0..=SAMPLES_MAX).contains(count)
            };
            let is_digest = one.centroids.len() <= CENTROIDS_MAX
                && one.centroids.iter().all(is_good)
                && one.centroids.is_sorted_by(|(one, _), (other, _)| one <= other);
            if !is_digest {
                return Err(RoundTripsError::Centroids(one.subnet));
            }
            if one.reached.len() > REACHED_MAX {
                return Err(RoundTripsError::Reached(one.subnet));
            }
        }
        Ok(())
    }
}

/// Longer round trips are no client's.
const RTT_MS_MAX: f64 = 10_000.0;
/// More samples of one subnet in one batch are not believed.
const SAMPLES_MAX: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(subnet: &str, centroids: &[(f64, f64)]) -> RoundTrips {
        let subnet = subnet.parse().expect("a network");
        let centroids = centroids.to_vec();
        let one = SubnetRoundTrips { subnet, centroids, sent_bytes: 1, reached: Vec::new() };
        RoundTrips { subnets: vec![one], ..RoundTrips::default() }
    }

    fn reached() -> Reached {
        let at = IpAddr::from([0xffff; 8]);
        Reached { at, connections: u32::MAX, sent_bytes: u64::MAX }
    }

    #[test]
    fn only_so_many_of_our_addresses_are_told_and_none_need_be() {
        let mut one = batch("192.0.2.0/24", &[]);
        one.subnets[0].reached = vec![reached(); REACHED_MAX];
        assert!(one.check().is_ok());
        one.subnets[0].reached.push(reached());
        assert!(matches!(one.check(), Err(RoundTripsError::Reached(_))));
        let old = br#"{"subnets":[{"subnet":"192.0.2.0/24","centroids":[],"sent_bytes":1}]}"#;
        assert_eq!(RoundTrips::from_bytes(old).expect("good").subnets[0].reached, []);
    }

    #[test]
    fn a_batch_tells_of_no_single_client_and_only_of_round_trips() {
        let good = [(1.0, 3.0), (1.0, 1.0), (20.5, 2.0)];
        for (batch, is_good) in [
            (batch("192.0.2.0/24", &good), true),
            (batch("2001:db8:1::/48", &good), true),
            (batch("192.0.2.7/32", &good), false),
            (batch("2001:db8:1:1::/64", &good), false),
            (batch("192.0.2.0/24", &[(2.0, 1.0), (1.0, 1.0)]), false),
            (batch("192.0.2.0/24", &[(f64::NAN, 1.0)]), false),
            (batch("192.0.2.0/24", &[(1.0, -1.0)]), false),
            (batch("192.0.2.0/24", &[(1.0, 1.0); CENTROIDS_MAX + 1]), false),
        ] {
            assert_eq!(batch.check().is_ok(), is_good, "{batch:?}");
        }
    }

    #[test]
    fn a_full_batch_travels_in_parts_that_fit() {
        let one = |number: u32| {
            let first = IpAddr::from([0x2001, 0xdb8, number as u16, 0, 0, 0, 0, 0]);
            let subnet = Network::new(first, 48).expect("short");
            let centroids = vec![(9999.99, SAMPLES_MAX); CENTROIDS_MAX];
            let reached = vec![reached(); REACHED_MAX];
            SubnetRoundTrips { subnet, centroids, sent_bytes: u64::MAX, reached }
        };
        let subnets: Vec<_> = (0..SUBNETS_PER_BATCH_MAX as u32).map(one).collect();
        let batch = RoundTrips { subnets, ..RoundTrips::default() };
        let read = |part: RoundTrips| RoundTrips::from_bytes(&part.to_bytes()).expect("it fits");
        let parts: Vec<_> = batch.clone().parts().map(read).collect();
        let together: Vec<_> = parts.into_iter().flat_map(|part| part.subnets).collect();
        assert_eq!(together, batch.subnets);
        assert_eq!(RoundTrips::default().parts().count(), 0);
        let large = vec![b' '; ROUND_TRIPS_BYTES_MAX + 1];
        assert!(matches!(RoundTrips::from_bytes(&large), Err(RoundTripsError::Size(_))));
    }

    #[test]
    fn lines_travel_as_json() {
        let line = FeedLine::Question {
            id: 3,
            question: Question::Resolve {
                name: "v.example".into(),
                record: "A".into(),
                client: IpAddr::from([192, 0, 2, 1]),
                subnet: None,
            },
        };
        let text = serde_json::to_string(&line).expect("plain data");
        assert_eq!(serde_json::from_str::<FeedLine>(&text).expect("the same"), line);
        assert!(matches!(serde_json::from_str(r#"{"beat":{}}"#), Ok(FeedLine::Beat {})));
        let fleet: FeedLine = serde_json::from_str(r#"{"fleet":{"version":2}}"#).expect("defaults");
        assert!(matches!(fleet, FeedLine::Fleet(view) if view.version == 2));
    }

    #[test]
    fn what_an_older_node_reads_looks_as_it_always_did() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let (name, record) = ("v.example".to_owned(), "A".to_owned());
        let plain =
            Question::Resolve { name: name.clone(), record: record.clone(), client, subnet: None };
        let text = serde_json::to_string(&plain).expect("plain data");
        let old = r#"{"resolve":{"name":"v.example","record":"A","client":"192.0.2.1"}}"#;
        assert_eq!((text.as_str(), plain.generation()), (old, 1));
        let subnet = "198.51.100.0/24".parse().ok();
        let newer = Question::Resolve { name, record, client, subnet };
        assert_eq!(newer.generation(), 2);
        assert_eq!(Question::Map {}.generation(), 1);
        assert_eq!(Question::Zones {}.generation(), 2);
        let (zone, kind) = ("cdn.example.".to_owned(), Some(KeyKind::Zsk));
        let roll = Question::RollKeys { zone, kind, ds_seen: false, revision: 0 };
        assert_eq!(roll.generation(), QUESTIONS_NEWEST);
        let text = serde_json::to_string(&FleetView::default()).expect("plain data");
        assert!(!text.contains("keys"), "{text}");
    }
}
