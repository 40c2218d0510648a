//! Whether a purge has reached everybody.
//!
//! A node has to acknowledge. One that is cut off or far behind cannot; but a node's lease counts from a question that
//! it asked, and only once everything is applied that was accepted before. So a lease after a purge was accepted, and
//! a lease after the last heartbeat, a node that has not applied it knows that it may be wrong; what it fetched no
//! longer ago than it then allows itself it serves without asking, so that as much time must have passed since the
//! purge, too. A purge is complete when every node has either applied it or surely asks upstream first.

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
    /// It is cut off or behind for longer than its lease: it applies the purge before it is certain again, and until
    /// then revalidates what can change.
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

/// What can be said of nodes that have not acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long after its last heartbeat a node may still be certain.
    pub lease: Duration,
    /// For how long after it fetched it an uncertain node serves what can change without asking.
    pub uncertain_age_max: Duration,
    /// Whether no other replica hands out heartbeats.
    pub is_alone: bool,
}

/// How far every node is with a purge.
#[must_use]
pub fn confirm(
    entry: &Entry,
    progress: Vec<(NodeSight, Option<u64>)>,
    now_unix_ms: u64,
    limits: Limits,
) -> Vec<Confirmation> {
    let one = |(sight, acked_unix_ms): (NodeSight, Option<u64>)| {
        let state = state(&sight, entry, now_unix_ms, limits);
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

/// Whether so many of a hundred nodes are not pending.
#[must_use]
pub fn is_reached(confirmations: &[Confirmation], percent: u8) -> bool {
    let settled = |one: &&Confirmation| one.state != ConfirmState::Pending;
    confirmations.iter().filter(settled).count() * 100
        >= confirmations.len() * usize::from(percent.min(100))
}

fn state(sight: &NodeSight, entry: &Entry, now_unix_ms: u64, limits: Limits) -> ConfirmState {
    let is_within = |then: u64, time: Duration| now_unix_ms.saturating_sub(then) <= millis(time);
    // A node that this replica does not see may hear another one.
    let may_be_certain =
        !limits.is_alone || sight.has_purge_lane() || is_within(sight.seen_unix_ms, limits.lease);
    if sight.applied.is_some_and(|applied| applied >= entry.offset) {
        ConfirmState::Applied
    } else if may_be_certain && is_within(entry.accepted_unix_ms, limits.lease)
        || is_within(entry.accepted_unix_ms, limits.uncertain_age_max)
    {
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

    const LIMITS: Limits = Limits {
        lease: Duration::from_secs(6),
        uncertain_age_max: Duration::from_secs(2),
        is_alone: true,
    };

    fn sight(applied: Option<u64>, is_connected: bool) -> NodeSight {
        NodeSight {
            name: NodeName {
                pop: PopId::parse("a").expect("good"),
                node: NodeId::parse("n").expect("good"),
            },
            purge_lanes: usize::from(is_connected),
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
        let all = confirm(&entry, vec![(sight.clone(), Some(11_040))], now_unix_ms, LIMITS);
        assert_eq!(all[0].state, expected, "{sight:?} at {now_unix_ms}");
        assert_eq!(all[0].ms, (expected == ConfirmState::Applied).then_some(40));
        assert_eq!(is_complete(&all), expected != ConfirmState::Pending);
    }

    #[test]
    fn a_node_has_applied_it_or_must_or_lost_its_lease() {
        check(sight(Some(7), true), 11_000, ConfirmState::Applied);
        check(sight(Some(9), false), 99_000, ConfirmState::Applied);
        check(sight(Some(6), true), 17_000, ConfirmState::Pending);
        check(sight(Some(6), true), 17_001, ConfirmState::Uncertain);
        check(sight(None, true), 11_000, ConfirmState::Pending);
        check(sight(Some(6), false), 16_000, ConfirmState::Pending);
        check(sight(Some(6), false), 16_001, ConfirmState::Uncertain);
        check(sight(None, false), 16_001, ConfirmState::Uncertain);
    }

    #[test]
    fn a_node_that_may_hear_another_replica_is_waited_for() {
        let entry = Entry {
            offset: 7,
            id: PurgeId::parse("p").expect("good"),
            order_json: bytes::Bytes::new(),
            accepted_unix_ms: 30_000,
            replacement_digest: None,
            replacement: None,
        };
        for (is_alone, now, expected) in [
            (true, 32_000, ConfirmState::Pending),
            (true, 32_001, ConfirmState::Uncertain),
            (false, 36_000, ConfirmState::Pending),
            (false, 36_001, ConfirmState::Uncertain),
        ] {
            let progress = vec![(sight(Some(6), false), None)];
            assert_eq!(
                confirm(&entry, progress, now, Limits { is_alone, ..LIMITS })[0].state,
                expected
            );
        }
    }

    #[test]
    fn a_share_of_the_nodes_is_rounded_up() {
        let one = |state| Confirmation { name: sight(None, true).name, state, ms: None };
        let mut all = vec![one(ConfirmState::Applied); 98];
        all.extend([one(ConfirmState::Uncertain), one(ConfirmState::Pending)]);
        assert!(is_reached(&all, 99) && !is_reached(&all, 100));
        all.push(one(ConfirmState::Pending));
        assert!(!is_reached(&all, 99) && is_reached(&all, 98));
        assert!(is_reached(&[], 100));
    }
}
