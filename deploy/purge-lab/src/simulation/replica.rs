//! A replica of the control plane in the simulation: what it knows of the log, and the lanes it keeps.
//!
//! The log is one; a replica knows of it what its link to the store brought, which may be cut.

use std::time::Duration;

use prometheus::Registry;
use tidegate_chassis::Clock;
use tidegate_contract::id::{NodeId, PopId};
use tidegate_control::{
    fleet::{Fleet, LaneGuard},
    metrics::Metrics,
    store::{MemoryLog, NodeName, Page},
    sync::purge_cursor::Cursor,
};
use tidegate_edge::control::follower::Heard;

use super::path::Direction;

/// One replica, from one crash to the next.
pub(super) struct Replica {
    pub(super) fleet: Fleet,
    /// The newest offset that it heard of.
    pub(super) head: u64,
    /// When it last heard from the store.
    pub(super) heard_ms: u64,
    /// It does not hear from the store before.
    pub(super) cut_until_ms: u64,
    /// It is not there before.
    pub(super) down_until_ms: u64,
}

/// A connection with a purge lane on it, as both ends see it.
pub(super) struct Lane {
    pub(super) pop: usize,
    pub(super) subscription: u32,
    pub(super) replica: usize,
    pub(super) up: Direction,
    pub(super) down: Direction,
    /// The node's side; absent once it gave the lane up.
    pub(super) near: Option<Near>,
    /// The replica's side; absent before hello and after the end.
    pub(super) far: Option<Far>,
    /// Messages on their way down.
    pub(super) in_flight: usize,
}

pub(super) struct Near {
    pub(super) heard: Heard,
    pub(super) spoken_ms: u64,
}

pub(super) struct Far {
    pub(super) cursor: Cursor,
    pub(super) guard: LaneGuard,
    pub(super) asked: u64,
    /// When the node's side last took something.
    pub(super) moved_ms: u64,
}

impl Replica {
    pub(super) fn new(clock: &Clock, pops: usize, head: u64, now_ms: u64) -> Self {
        let fleet = Fleet::new(vec![], clock.clone(), Metrics::new(&Registry::new()));
        for pop in 0..pops {
            // As after a restart: each may hold a lease that was given before.
            fleet.enrolled(name(pop), u64::MAX);
        }
        Self { fleet, head, heard_ms: now_ms, cut_until_ms: 0, down_until_ms: 0 }
    }

    pub(super) fn is_up(&self, now_ms: u64) -> bool {
        now_ms >= self.down_until_ms
    }

    /// As [`tidegate_control::store::Log::is_current`] has it.
    pub(super) fn is_current(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.heard_ms) <= KNOWLEDGE_MAX.as_millis() as u64
    }

    /// A page as far as this replica knows the log.
    pub(super) fn page(&self, log: &MemoryLog, after: u64) -> Page {
        match log.page(after, PAGE_ENTRIES) {
            Page::Entries(mut entries) => {
                entries.retain(|entry| entry.offset <= self.head);
                Page::Entries(entries)
            }
            gone @ Page::Gone { .. } => gone,
        }
    }
}

pub(super) fn name(pop: usize) -> NodeName {
    let pop = PopId::parse(format!("pop-{pop}")).expect("a good id");
    NodeName { pop, node: NodeId::parse("n").expect("a good id") }
}

/// How old a replica's knowledge may be before it stops to speak; within the margin of the lease.
pub(super) const KNOWLEDGE_MAX: Duration = Duration::from_millis(500);
/// Few, so that pages and heartbeats mingle.
const PAGE_ENTRIES: usize = 3;
