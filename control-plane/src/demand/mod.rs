//! What clients ask for most, over the last minute: of one PoP or of all.
//!
//! Nodes tell it every few seconds on their telemetry lanes; it is kept in memory for a minute by the replica that was told,
//! and a [`Share`] of it by the others. Invariant: a node counts with at most [`SLICES_MAX`] messages, whatever it sends.

mod share;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_contract::{
    demand::{Asked, Demand as Told},
    id::{PopId, PropertyId},
};

use crate::{store::NodeName, unix_time::millis};

pub use share::{LIST_BYTES_MAX, Left, Share};

/// What nodes told, here and to other replicas. Cheap to clone.
#[derive(Clone, Default)]
pub struct Demand(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    here: BTreeMap<NodeName, VecDeque<(u64, Slice)>>,
    /// What other replicas told, by their ids, and when that was heard.
    elsewhere: HashMap<String, (u64, Arc<Share>)>,
}

/// What a node told once.
type Slice = Arc<Told>;

/// What is asked for, and by whose word.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// How much of what, in no order.
    pub items: Vec<Rate>,
    /// The nodes that told it.
    pub nodes: usize,
    /// How much too low a figure may be, by what other replicas left out.
    pub left: Left,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Properties.
    Properties,
    /// Paths.
    Assets,
}

/// How much of one thing is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// The property.
    pub property: PropertyId,
    /// The path; empty for the whole property.
    pub path: String,
    /// Requests a second.
    pub requests: f64,
    /// Body bytes a second.
    pub bytes: f64,
    /// The PoPs where it is asked for.
    pub pops: BTreeSet<PopId>,
}

impl Kind {
    fn of(self, told: &Told) -> &[Asked] {
        match self {
            Self::Properties => &told.properties,
            Self::Assets => &told.assets,
        }
    }
}

impl Demand {
    /// A node told something.
    pub fn put(&self, name: &NodeName, told: Told, now_unix_ms: u64) {
        let mut known = self.lock();
        let slices = known.here.entry(name.clone()).or_default();
        slices.push_back((now_unix_ms, Arc::new(told)));
        slices.drain(..slices.len().saturating_sub(SLICES_MAX));
    }

    /// Forgets nodes that are not known any more, or that tell it another replica now.
    pub fn retain(&self, is_here: impl Fn(&NodeName) -> bool) {
        self.lock().here.retain(|name, _| is_here(name));
    }

    /// What other replicas shall know of what was told here.
    #[must_use]
    pub fn share(&self, now_unix_ms: u64) -> Share {
        Share::of(&self.fresh(None, now_unix_ms))
    }

    /// Another replica told what it was told.
    pub fn heard(&self, replica: &str, share: Share, now_unix_ms: u64) {
        self.lock().elsewhere.insert(replica.to_owned(), (now_unix_ms, Arc::new(share)));
    }

    /// Forgets replicas that live no more.
    pub fn retain_replicas(&self, is_living: impl Fn(&str) -> bool) {
        self.lock().elsewhere.retain(|id, _| is_living(id));
    }

    /// What is asked for in a PoP or in all of them, by all replicas.
    #[must_use]
    pub fn rates(&self, kind: Kind, pop: Option<&PopId>, now_unix_ms: u64) -> Rates {
        let fresh = self.fresh(pop, now_unix_ms);
        let mut sums: BTreeMap<(PropertyId, String), Rate> = BTreeMap::new();
        let mut sum = |of: &PropertyId, path: &str, requests: f64, bytes: f64, pops: &[PopId]| {
            let sum = sums.entry((of.clone(), path.to_owned())).or_insert_with(|| Rate {
                property: of.clone(),
                path: path.to_owned(),
                requests: 0.0,
                bytes: 0.0,
                pops: BTreeSet::new(),
            });
            sum.requests += requests;
            sum.bytes += bytes;
            for pop in pops.iter().filter(|pop| !sum.pops.contains(pop)).collect::<Vec<_>>() {
                sum.pops.insert(pop.clone());
            }
        };
        for (pop, slices) in &fresh {
            let seconds: f64 = slices.iter().map(|told| told.period_ms as f64 / 1000.0).sum();
            for Asked { property, path, requests, bytes } in
                slices.iter().flat_map(|told| kind.of(told))
            {
                let (requests, bytes) = (*requests as f64 / seconds, *bytes as f64 / seconds);
                sum(property, path, requests, bytes, std::slice::from_ref(pop));
            }
        }
        let (mut nodes, mut left) = (fresh.len(), Left::default());
        for share in self.elsewhere(now_unix_ms) {
            nodes += share.nodes(pop);
            let (rates, lacking) = share.rates(kind, pop);
            left.add(lacking);
            for Rate { property, path, requests, bytes, pops } in rates {
                let pops: Vec<_> = pops.into_iter().collect();
                sum(&property, &path, requests, bytes, &pops);
            }
        }
        Rates { items: sums.into_values().collect(), nodes, left }
    }

    /// What nodes told here and still says something, each with its PoP.
    fn fresh(&self, pop: Option<&PopId>, now_unix_ms: u64) -> Vec<share::Fresh> {
        let known = self.lock();
        let asked = known.here.iter().filter(|(name, _)| pop.is_none_or(|pop| name.pop == *pop));
        let fresh = asked.map(|(name, slices)| {
            let is_fresh = |heard: u64| now_unix_ms.saturating_sub(heard) <= millis(WINDOW);
            let fresh = slices.iter().filter(|(heard, _)| is_fresh(*heard));
            (name.pop.clone(), fresh.map(|(_, told)| Arc::clone(told)).collect::<Vec<_>>())
        });
        // Without any time nothing is a rate.
        let says = |(_, slices): &share::Fresh| slices.iter().any(|told| told.period_ms > 0);
        fresh.filter(says).collect()
    }

    fn elsewhere(&self, now_unix_ms: u64) -> Vec<Arc<Share>> {
        let known = self.lock();
        let is_fresh = |heard: u64| now_unix_ms.saturating_sub(heard) <= millis(SHARE_FRESH);
        let fresh = known.elsewhere.values().filter(|(heard, _)| is_fresh(*heard));
        fresh.map(|(_, share)| Arc::clone(share)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is older says nothing any more.
const WINDOW: Duration = Duration::from_secs(60);
/// A share is told anew every few seconds.
const SHARE_FRESH: Duration = Duration::from_secs(20);
/// As many as a minute has by default, and one.
const SLICES_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use tidegate_contract::id::NodeId;

    use super::*;

    fn told(period_ms: u64, requests: u64) -> Told {
        let property = PropertyId::parse("demo").expect("good");
        let asset = Asked { property, path: "/a".to_owned(), requests, bytes: requests * 10 };
        let properties = vec![Asked { path: String::new(), ..asset.clone() }];
        Told { period_ms, properties, assets: vec![asset] }
    }

    #[test]
    fn rates_are_those_of_the_last_minute_added_over_nodes_and_an_endless_talker_is_bounded() {
        let demand = Demand::default();
        let name = |pop: &str| NodeName {
            pop: PopId::parse(pop).expect("good"),
            node: NodeId::parse("n").expect("good"),
        };
        demand.put(&name("ams"), told(10_000, 1_000_000), 0);
        demand.put(&name("ams"), told(10_000, 100), 30_000);
        demand.put(&name("ams"), told(30_000, 100), 60_000);
        demand.put(&name("fra"), told(1_000, 5), 60_000);
        let rate = |pop: Option<&str>, now| {
            let pop = pop.map(|pop| PopId::parse(pop).expect("good"));
            let Rates { items, nodes, .. } = demand.rates(Kind::Assets, pop.as_ref(), now);
            items.first().map(|rate| (rate.requests, rate.bytes, rate.pops.len(), nodes))
        };
        assert_eq!(rate(Some("ams"), 60_001), Some((5.0, 50.0, 1, 1)));
        assert_eq!(rate(None, 60_001), Some((10.0, 100.0, 2, 2)));
        assert_eq!(rate(None, 120_001), None);
        for _ in 0..100 {
            demand.put(&name("fra"), told(1_000, 5), 60_000);
        }
        assert_eq!(demand.lock().here[&name("fra")].len(), SLICES_MAX);
        demand.retain(|known| *known == name("ams"));
        assert_eq!(rate(Some("fra"), 60_001), None);
    }
    #[test]
    fn what_two_replicas_were_told_is_added_and_ends_when_one_of_them_falls_silent() {
        let (here, there) = (Demand::default(), Demand::default());
        let name = |pop: &str, node: &str| NodeName {
            pop: PopId::parse(pop).expect("good"),
            node: NodeId::parse(node).expect("good"),
        };
        here.put(&name("ams", "n1"), told(1_000, 5), 0);
        there.put(&name("ams", "n2"), told(1_000, 7), 0);
        there.put(&name("fra", "n1"), told(1_000, 1), 0);
        here.heard("other", there.share(0), 0);
        let of = |pop: Option<&str>, now| {
            let pop = pop.map(|pop| PopId::parse(pop).expect("good"));
            let Rates { items, nodes, left } = here.rates(Kind::Assets, pop.as_ref(), now);
            assert_eq!(left, Left::default());
            (items[0].requests, items[0].pops.len(), nodes)
        };
        assert_eq!(of(None, 1), (13.0, 2, 3));
        assert_eq!(of(Some("ams"), 1), (12.0, 1, 2));
        assert_eq!(of(Some("fra"), 1), (1.0, 1, 1));
        assert_eq!(of(None, 20_001), (5.0, 1, 1));
        here.retain_replicas(|id| id != "other");
        assert_eq!(of(None, 1), (5.0, 1, 1));
        assert!(here.share(60_001).is_empty());
    }
}
