//! Whether a purge has reached everybody.
//!
//! A node that is connected has to acknowledge. A node that is cut off cannot; but its lease runs out, and from
//! then on it asks upstream before it serves what can change. So a purge is complete when every node has either
//! applied it or surely lost its lease.

use std::time::Duration;

use crate::{
    fleet::NodeSight,
    store::{Entry, NodeName},
    unix_time::millis,
};

/// How far one node is with one purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmState {
    /// It applied it.
    Applied,
    /// It did not say so yet, and may serve what was purged.
    Pending,
    /// It is cut off for longer than its lease: it applies the purge before it is certain again, and until then
    /// revalidates what can change.
    Uncertain,
}

/// One node's part in a purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The node.
    pub name: NodeName,
    /// How far it is.
    pub state: ConfirmState,
    /// From acceptance to acknowledgement, as far as that is remembered.
    pub ms: Option<u64>,
}

/// How far every node is with a purge. `lease` is how long after its last heartbeat a node may still be certain.
#[must_use]
pub fn confirm(
    entry: &Entry,
    progress: Vec<(NodeSight, Option<u64>)>,
    now_unix_ms: u64,
    lease: Duration,
) -> Vec<Confirmation> {
    let one = |(sight, acked_unix_ms): (NodeSight, Option<u64>)| {
        let state = state(&sight, entry.offset, now_unix_ms, lease);
        let ms = acked_unix_ms.map(|at| at.saturating_sub(entry.accepted_unix_ms));
        let ms = ms.filter(|_| state == ConfirmState::Applied);
        Confirmation { name: sight.name, state, ms }
    };
    progress.into_iter().map(one).collect()
}

/// Whether nobody is pending.
#[must_use]
pub fn is_complete(confirmations: &[Confirmation]) -> bool {
    confirmations.iter().all(|confirmation| confirmation.state != ConfirmState::Pending)
}

fn state(sight: &NodeSight, offset: u64, now_unix_ms: u64, lease: Duration) -> ConfirmState {
    let since_beat_ms = now_unix_ms.saturating_sub(sight.seen_unix_ms);
    if sight.applied.is_some_and(|applied| applied >= offset) {
        ConfirmState::Applied
    } else if sight.has_purge_lane || since_beat_ms <= millis(lease) {
        ConfirmState::Pending
    } else {
        ConfirmState::Uncertain
    }
}

impl ConfirmState {
    /// The state's name in the API and in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Uncertain => "uncertain",
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::{NodeId, PopId, PurgeId};

    use super::*;

    fn sight(applied: Option<u64>, has_purge_lane: bool) -> NodeSight {
        NodeSight {
            name: NodeName {
                pop: PopId::parse("a").expect("good"),
                node: NodeId::parse("n").expect("good"),
            },
            has_purge_lane,
            has_config_lane: false,
            build: String::new(),
            applied,
            generation: 0,
            nack: None,
            health: None,
            seen_unix_ms: 10_000,
            heard_unix_ms: None,
            expires_unix_ms: 0,
        }
    }

    fn check(sight: NodeSight, now_unix_ms: u64, expected: ConfirmState) {
        let entry = Entry {
            offset: 7,
            id: PurgeId::parse("p").expect("good"),
            order_json: bytes::Bytes::new(),
            accepted_unix_ms: 11_000,
            replacement_digest: None,
            replacement: None,
        };
        let lease = Duration::from_secs(6);
        let all = confirm(&entry, vec![(sight.clone(), Some(11_040))], now_unix_ms, lease);
        assert_eq!(all[0].state, expected, "{sight:?} at {now_unix_ms}");
        assert_eq!(all[0].ms, (expected == ConfirmState::Applied).then_some(40));
        assert_eq!(is_complete(&all), expected != ConfirmState::Pending);
    }

    #[test]
    fn a_node_has_applied_it_or_must_or_lost_its_lease() {
        check(sight(Some(7), true), 11_000, ConfirmState::Applied);
        check(sight(Some(9), false), 99_000, ConfirmState::Applied);
        check(sight(Some(6), true), 99_000, ConfirmState::Pending);
        check(sight(None, true), 11_000, ConfirmState::Pending);
        check(sight(Some(6), false), 16_000, ConfirmState::Pending);
        check(sight(Some(6), false), 16_001, ConfirmState::Uncertain);
        check(sight(None, false), 16_001, ConfirmState::Uncertain);
    }
}
