//! What a worker's connections have come to.
//!
//! Invariant: a count only grows.

use std::cell::Cell;

/// Counts since the worker began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were ready for requests.
    pub opened: u64,
    /// Of these, resumed ones.
    pub resumed: u64,
    /// Of these, those whose server took 0-RTT data.
    pub early: u64,
    /// Moves of a connection to another port of ours.
    pub migrated: u64,
    /// Failures that were the rig's own.
    pub socket_errors: u64,
}

/// The counts as they are taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) opened: Cell<u64>,
    pub(super) resumed: Cell<u64>,
    pub(super) early: Cell<u64>,
    pub(super) migrated: Cell<u64>,
    pub(super) socket_errors: Cell<u64>,
}

impl Tally {
    pub(super) fn read(&self) -> Counters {
        Counters {
            opened: self.opened.get(),
            resumed: self.resumed.get(),
            early: self.early.get(),
            migrated: self.migrated.get(),
            socket_errors: self.socket_errors.get(),
        }
    }
}

pub(super) fn add(count: &Cell<u64>, more: bool) {
    count.set(count.get() + u64::from(more));
}
