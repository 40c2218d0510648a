//! What clients ask for most, over the last minute: of one PoP or of all.
//!
//! Nodes tell it every few seconds on their telemetry lanes; it is kept in memory for a minute, by the replica alone that
//! was told. Invariant: a node counts with at most [`SLICES_MAX`] messages, whatever it sends.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_contract::{
    demand::{Asked, Demand as Told},
    id::{PopId, PropertyId},
};

use crate::{store::NodeName, unix_time::millis};

/// What nodes told. Cheap to clone.
#[derive(Clone, Default)]
pub struct Demand(Arc<Mutex<BTreeMap<NodeName, Slices>>>);

/// What one node told, the oldest first, and when it was heard.
type Slices = VecDeque<(u64, Told)>;

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

impl Demand {
    /// A node told something.
    pub fn put(&self, name: &NodeName, told: Told, now_unix_ms: u64) {
        let mut all = self.lock();
        let slices = all.entry(name.clone()).or_default();
        slices.push_back((now_unix_ms, told));
        slices.drain(..slices.len().saturating_sub(SLICES_MAX));
    }

    /// Forgets nodes that are not known any more.
    pub fn retain(&self, is_known: impl Fn(&NodeName) -> bool) {
        self.lock().retain(|name, _| is_known(name));
    }

    /// What is asked for in a PoP or in all of them, in no order, and how many nodes told it.
    #[must_use]
    pub fn rates(&self, kind: Kind, pop: Option<&PopId>, now_unix_ms: u64) -> (Vec<Rate>, usize) {
        let all = self.lock();
        let mut sums: BTreeMap<(PropertyId, String), Rate> = BTreeMap::new();
        let mut nodes = 0;
        for (name, slices) in all.iter().filter(|(name, _)| pop.is_none_or(|pop| name.pop == *pop))
        {
            let is_fresh = |heard: u64| now_unix_ms.saturating_sub(heard) <= millis(WINDOW);
            let fresh =
                || slices.iter().filter(|(heard, _)| is_fresh(*heard)).map(|(_, told)| told);
            let seconds = fresh().map(|told| told.period_ms as f64 / 1000.0).sum::<f64>();
            if seconds <= 0.0 {
                continue;
            }
            nodes += 1;
            for Asked { property, path, requests, bytes } in fresh().flat_map(|told| match kind {
                Kind::Properties => &told.properties,
                Kind::Assets => &told.assets,
            }) {
                let sum = sums.entry((property.clone(), path.clone())).or_insert_with(|| Rate {
                    property: property.clone(),
                    path: path.clone(),
                    requests: 0.0,
                    bytes: 0.0,
                    pops: BTreeSet::new(),
                });
                sum.requests += *requests as f64 / seconds;
                sum.bytes += *bytes as f64 / seconds;
                if !sum.pops.contains(&name.pop) {
                    sum.pops.insert(name.pop.clone());
                }
            }
        }
        (sums.into_values().collect(), nodes)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, Slices>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is older says nothing any more.
const WINDOW: Duration = Duration::from_secs(60);
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
            let (rates, nodes) = demand.rates(Kind::Assets, pop.as_ref(), now);
            rates.first().map(|rate| (rate.requests, rate.bytes, rate.pops.len(), nodes))
        };
        assert_eq!(rate(Some("ams"), 60_001), Some((5.0, 50.0, 1, 1)));
        assert_eq!(rate(None, 60_001), Some((10.0, 100.0, 2, 2)));
        assert_eq!(rate(None, 120_001), None);
        for _ in 0..100 {
            demand.put(&name("fra"), told(1_000, 5), 60_000);
        }
        assert_eq!(demand.lock()[&name("fra")].len(), SLICES_MAX);
        demand.retain(|known| *known == name("ams"));
        assert_eq!(rate(Some("fra"), 60_001), None);
    }
}
