//! What the nodes of all PoPs report, and how far each one is.
//!
//! Everything here is about now and lives in memory: after a restart the nodes say it again within a second. A node
//! holds at most one lane for configuration and one for each of its two subscriptions to purges; a newer one ends the
//! older.

mod node;
mod elsewhere;
mod readers;
mod verdict;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_chassis::Clock;
use tidegate_contract::id::PopId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::node::Node;
use crate::{
    metrics::Metrics,
    store::{NodeName, NodeRow},
    unix_time::unix_ms,
};

pub use elsewhere::Elsewhere;
pub use node::{AUTHORITIES_MAX, HealthReport, Nack, NodeSight};
pub use readers::Readers;
pub use verdict::{Limits, NodeState, PopState, node_state, pop_state};

/// The kinds of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Purges down, acknowledgements up.
    Purges(Subscription),
    /// Configuration down; acknowledgements and health up.
    Config,
    /// Orders about routes and clients down, reports up.
    Telemetry,
}

/// Which of a node's two subscriptions to purges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Subscription {
    /// The first, or the only one.
    #[default]
    First,
    /// The other one.
    Second,
}

/// All nodes. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    nodes: Arc<Mutex<BTreeMap<NodeName, Node>>>,
    changes: Arc<watch::Sender<u64>>,
    clock: Clock,
    metrics: Metrics,
}

/// An open lane; closes when dropped.
pub struct LaneGuard {
    fleet: Fleet,
    name: NodeName,
    lane: Lane,
    ended: CancellationToken,
}

impl Lane {
    /// The lane's name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purges(_) => "purges",
            Self::Config => "config",
            Self::Telemetry => "telemetry",
        }
    }
}

impl Subscription {
    /// As a node numbers them.
    #[must_use]
    pub fn of(number: u32) -> Self {
        if number.is_multiple_of(2) { Self::First } else { Self::Second }
    }
}

impl Fleet {
    /// The fleet as the store knows it. Each node counts as seen just now: it may hold a lease that this process
    /// gave before it was restarted.
    #[must_use]
    pub fn new(rows: Vec<NodeRow>, clock: Clock, metrics: Metrics) -> Self {
        let now = unix_ms(clock.now());
        let nodes = rows.into_iter().map(|row| {
            let node = Node::stored(row.applied, row.seen_unix_ms, row.expires_unix_ms, now);
            (row.name, node)
        });
        let nodes = Arc::new(Mutex::new(nodes.collect()));
        Self { nodes, changes: Arc::new(watch::Sender::new(0)), clock, metrics }
    }

    /// A node was enrolled, or enrolled again: its old lanes end, and its cache counts as empty.
    pub fn enrolled(&self, name: NodeName, expires_unix_ms: u64) {
        let node = Node::enrolled(expires_unix_ms, unix_ms(self.clock.now()));
        let before = self.lock().insert(name, node);
        before.iter().for_each(Node::end_lanes);
        self.changed();
    }

    /// A node's certificate was renewed.
    pub fn renewed(&self, name: &NodeName, expires_unix_ms: u64) {
        self.with(name, |node| node.expires_unix_ms = expires_unix_ms);
    }

    /// A node was removed: its lanes end.
    pub fn forget(&self, name: &NodeName) {
        let gone = self.lock().remove(name);
        gone.iter().for_each(Node::end_lanes);
        self.changed();
    }

    /// A PoP was removed, and its nodes with it.
    pub fn forget_pop(&self, pop: &PopId) {
        self.lock().retain(|name, node| {
            let stays = name.pop != *pop;
            if !stays {
                node.end_lanes();
            }
            stays
        });
        self.changed();
    }

    /// The nodes that have a lane here, for other replicas.
    #[must_use]
    pub fn here(&self) -> Vec<(NodeName, Elsewhere)> {
        let nodes = self.lock();
        nodes.iter().filter_map(|(name, node)| Some((name.clone(), node.here()?))).collect()
    }

    /// Takes what the other replicas see, all of it.
    pub fn seen_elsewhere(&self, all: &HashMap<NodeName, Elsewhere>) {
        let now = unix_ms(self.clock.now());
        let mut is_news = false;
        for (name, node) in self.lock().iter_mut() {
            is_news |= node.see_elsewhere(all.get(name).cloned(), now);
        }
        if is_news {
            self.changed();
        }
    }

    /// The names of all nodes.
    #[must_use]
    pub fn names(&self) -> Vec<NodeName> {
        self.lock().keys().cloned().collect()
    }

    /// Whether there is such a node.
    #[must_use]
    pub fn knows(&self, name: &NodeName) -> bool {
        self.lock().contains_key(name)
    }

    /// Whether there is such a node with a certificate that ends then.
    #[must_use]
    pub fn is_as(&self, name: &NodeName, expires_unix_ms: u64) -> bool {
        self.lock().get(name).is_some_and(|node| node.expires_unix_ms == expires_unix_ms)
    }

    /// Opens a lane; `None` when the node is not known.
    #[must_use]
    pub fn open_lane(&self, name: &NodeName, lane: Lane, build: &str) -> Option<LaneGuard> {
        let ended = CancellationToken::new();
        let now = unix_ms(self.clock.now());
        self.with(name, |node| node.open_lane(lane, ended.clone(), build, now))?;
        self.metrics.lanes.with_label_values(&[lane.as_str()]).inc();
        self.changed();
        Some(LaneGuard { fleet: self.clone(), name: name.clone(), lane, ended })
    }

    /// Every node as it is now.
    #[must_use]
    pub fn sights(&self) -> Vec<NodeSight> {
        self.lock().iter().map(|(name, node)| node.sight(name)).collect()
    }

    /// Every node, with when it acknowledged an offset.
    #[must_use]
    pub fn progress(&self, offset: u64) -> Vec<(NodeSight, Option<u64>)> {
        let nodes = self.lock();
        nodes.iter().map(|(name, node)| (node.sight(name), node.acked_at(offset))).collect()
    }

    /// To be told when a lane opens or closes, a node acknowledges, or a node comes or goes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Milliseconds since 1970, by the fleet's clock.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        unix_ms(self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &NodeName, act: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.lock().get_mut(name).map(act)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl LaneGuard {
    /// The node that holds the lane.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// Waits until the lane is to end: a newer one took its place, or the node was removed.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// A message of the node arrived.
    pub fn heard(&self) {
        let now = self.fleet.now_unix_ms();
        self.act(|node| node.heard_unix_ms = Some(now));
    }

    /// A heartbeat was handed to the node: from now on it may hold a lease.
    pub fn beat(&self) {
        let now = self.fleet.now_unix_ms();
        self.act(|node| node.seen_unix_ms = now);
    }

    /// The node stands at an offset, or nobody can tell where; whatever it said before.
    pub fn stands_at(&self, applied: Option<u64>) {
        let now = self.fleet.now_unix_ms();
        self.act(|node| node.stand_at(applied, now));
        self.fleet.changed();
    }

    /// The node applied everything up to an offset; true when that is news.
    pub fn applied(&self, offset: u64) -> bool {
        let now = self.fleet.now_unix_ms();
        let is_news = self.act(|node| node.apply(offset, now)).unwrap_or(false);
        if is_news {
            self.fleet.changed();
        }
        is_news
    }

    /// The node runs a generation.
    pub fn runs(&self, generation: u64) {
        self.act(|node| {
            node.generation = generation;
            node.nack = None;
        });
        self.fleet.changed();
    }

    /// The node refused a generation.
    pub fn refused(&self, nack: Nack) {
        self.act(|node| node.nack = Some(nack));
        self.fleet.changed();
    }

    /// The node told of its health.
    pub fn health(&self, health: HealthReport) {
        self.act(|node| node.health = Some(health));
    }

    /// Changes the node while this lane is its lane: what a replaced lane still says is not believed.
    fn act<T>(&self, act: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.fleet
            .with(&self.name, |node| (!self.ended.is_cancelled()).then(|| act(node)))
            .flatten()
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        let is_current = !self.ended.is_cancelled();
        if is_current {
            self.fleet.with(&self.name, |node| node.close_lane(self.lane));
        }
        self.fleet.metrics.lanes.with_label_values(&[self.lane.as_str()]).dec();
        self.fleet.changed();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tidegate_contract::id::NodeId;

    use super::*;

    const PURGES: Lane = Lane::Purges(Subscription::First);

    fn name(pop: &str, node: &str) -> NodeName {
        NodeName { pop: PopId::parse(pop).expect("good"), node: NodeId::parse(node).expect("good") }
    }

    fn fleet(clock: &Clock) -> Fleet {
        let fleet = Fleet::new(vec![], clock.clone(), Metrics::for_test());
        fleet.enrolled(name("a", "n1"), 9_000_000);
        fleet
    }

    fn clock() -> Clock {
        Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1000))
    }

    fn only(fleet: &Fleet) -> NodeSight {
        fleet.sights().into_iter().next().expect("one node")
    }

    #[test]
    fn a_newer_lane_takes_the_place_of_an_older_one() {
        let clock = clock();
        let fleet = fleet(&clock);
        let first = fleet.open_lane(&name("a", "n1"), PURGES, "1").expect("enrolled");
        let second = fleet.open_lane(&name("a", "n1"), PURGES, "1").expect("enrolled");
        assert!(first.ended.is_cancelled() && !second.ended.is_cancelled());
        first.applied(7);
        assert_eq!(only(&fleet).applied, None, "the old lane is not believed");
        drop(first);
        assert!(only(&fleet).has_purge_lane(), "its end does not close the new one");
        drop(second);
        assert!(!only(&fleet).has_purge_lane());
    }

    #[test]
    fn two_subscriptions_stand_side_by_side() {
        let clock = clock();
        let fleet = fleet(&clock);
        let second = Lane::Purges(Subscription::Second);
        let first = fleet.open_lane(&name("a", "n1"), PURGES, "1").expect("enrolled");
        let second = fleet.open_lane(&name("a", "n1"), second, "1").expect("enrolled");
        assert!(!first.ended.is_cancelled());
        first.stands_at(Some(4));
        second.stands_at(Some(4));
        assert!(second.applied(6) && !first.applied(5) && first.applied(7));
        assert_eq!(only(&fleet).purge_lanes, 2);
        drop(first);
        assert!(only(&fleet).has_purge_lane());
        second.stands_at(Some(7));
        assert_eq!(
            fleet.progress(6)[0].1,
            Some(1_000_000),
            "a lane that opens anew forgets no time"
        );
        drop(second);
        assert!(!only(&fleet).has_purge_lane());
    }

    #[test]
    fn a_node_that_is_not_known_gets_no_lane_and_a_removed_one_loses_it() {
        let clock = clock();
        let fleet = fleet(&clock);
        assert!(fleet.open_lane(&name("b", "n1"), Lane::Config, "1").is_none());
        let lane = fleet.open_lane(&name("a", "n1"), Lane::Config, "1").expect("enrolled");
        fleet.forget_pop(&name("a", "n1").pop);
        assert!(lane.ended.is_cancelled());
        assert!(fleet.sights().is_empty());
    }

    #[test]
    fn an_acknowledgement_is_remembered_with_its_time_and_never_goes_back() {
        let clock = clock();
        let fleet = fleet(&clock);
        let lane = fleet.open_lane(&name("a", "n1"), PURGES, "1").expect("enrolled");
        assert!(lane.applied(5));
        clock.advance(Duration::from_millis(30));
        assert!(lane.applied(9));
        assert!(!lane.applied(8) && !lane.applied(9));
        let at = |offset| fleet.progress(offset)[0].1;
        assert_eq!(
            (at(4), at(5), at(6), at(9), at(10)),
            (Some(1_000_000), Some(1_000_000), Some(1_000_030), Some(1_000_030), None)
        );
        assert_eq!(only(&fleet).applied, Some(9));
    }
}
