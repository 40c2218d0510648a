//! What a node's and a PoP's reports mean.
//!
//! Pure: a sight and a time go in, a state comes out. A state is for people and for steering; no route is ever
//! withdrawn because of one.

use std::time::Duration;

use super::node::NodeSight;
use crate::unix_time::millis;

/// What a node is, as far as can be told from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Connected, heard of within the lease, ready.
    Up,
    /// Connected, and takes no new work.
    Draining,
    /// Connected, and says that it cannot serve yet, or has not said anything of its health.
    NotReady,
    /// Not heard of for longer than the lease, but not for long enough to be called down. It may well serve.
    Uncertain,
    /// Not heard of for a long time, or never.
    Down,
}

/// What a PoP is: what its best node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PopState {
    /// At least one node has this state, and none a better one.
    Nodes(NodeState),
    /// No node is enrolled.
    Empty,
}

/// When silence means what.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After this silence a node is uncertain.
    pub lease: Duration,
    /// After this silence a node is down.
    pub down_after: Duration,
}

/// What a node is at a time.
#[must_use]
pub fn node_state(sight: &NodeSight, now_unix_ms: u64, limits: Limits) -> NodeState {
    let Some(heard_unix_ms) = sight.heard_unix_ms else { return NodeState::Down };
    let silence_ms = now_unix_ms.saturating_sub(heard_unix_ms);
    let is_connected = sight.has_purge_lane() && sight.has_config_lane;
    if is_connected && silence_ms <= millis(limits.lease) {
        return match sight.health {
            Some(health) if health.draining => NodeState::Draining,
            Some(health) if health.ready => NodeState::Up,
            _ => NodeState::NotReady,
        };
    }
    if silence_ms <= millis(limits.down_after) { NodeState::Uncertain } else { NodeState::Down }
}

/// What a PoP with nodes in these states is.
#[must_use]
pub fn pop_state(nodes: &[NodeState]) -> PopState {
    [NodeState::Up, NodeState::Draining, NodeState::NotReady, NodeState::Uncertain, NodeState::Down]
        .into_iter()
        .find(|state| nodes.contains(state))
        .map_or(PopState::Empty, PopState::Nodes)
}

impl NodeState {
    /// The state's name in the API, tables and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::NotReady => "not_ready",
            Self::Uncertain => "uncertain",
            Self::Down => "down",
        }
    }
}

impl PopState {
    /// The state's name in the API, tables and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes(state) => state.as_str(),
            Self::Empty => "empty",
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::{NodeId, PopId};

    use super::{super::node::HealthReport, *};
    use crate::store::NodeName;

    const LIMITS: Limits =
        Limits { lease: Duration::from_secs(5), down_after: Duration::from_secs(15) };

    fn sight() -> NodeSight {
        let name = NodeName {
            pop: PopId::parse("a").expect("good"),
            node: NodeId::parse("n").expect("good"),
        };
        NodeSight {
            name,
            purge_lanes: 1,
            has_config_lane: true,
            build: String::new(),
            applied: None,
            generation: 1,
            nack: None,
            health: Some(HealthReport { ready: true, ..HealthReport::default() }),
            seen_unix_ms: 100_000,
            heard_unix_ms: Some(100_000),
            expires_unix_ms: 0,
        }
    }

    fn check(change: impl FnOnce(&mut NodeSight), now_unix_ms: u64, expected: NodeState) {
        let mut sight = sight();
        change(&mut sight);
        assert_eq!(node_state(&sight, now_unix_ms, LIMITS), expected, "{sight:?} at {now_unix_ms}");
    }

    #[test]
    fn a_node_is_what_it_says_while_it_is_heard() {
        check(|_| {}, 105_000, NodeState::Up);
        check(|s| s.health = None, 100_000, NodeState::NotReady);
        let draining = HealthReport { ready: true, draining: true, ..HealthReport::default() };
        check(|s| s.health = Some(draining), 100_000, NodeState::Draining);
    }

    #[test]
    fn silence_makes_a_node_uncertain_then_down() {
        check(|_| {}, 105_001, NodeState::Uncertain);
        check(|s| s.purge_lanes = 0, 100_000, NodeState::Uncertain);
        check(|s| s.has_config_lane = false, 115_001, NodeState::Down);
        check(|s| s.heard_unix_ms = None, 100_000, NodeState::Down);
        check(|_| {}, 90_000, NodeState::Up);
    }

    #[test]
    fn a_pop_is_what_its_best_node_is() {
        use NodeState::{Down, Draining, Up};
        assert_eq!(pop_state(&[Down, Up, Draining]).as_str(), "up");
        assert_eq!(pop_state(&[Down, Draining]).as_str(), "draining");
        assert_eq!(pop_state(&[]).as_str(), "empty");
    }
}
