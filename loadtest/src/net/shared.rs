//! What the sessions of one worker share.
//!
//! Invariant: all of it belongs to one thread, so nothing here is locked against another.

use std::{cell::Cell, rc::Rc};

use super::{
    Failure,
    config::NetConfig,
    counters::{Tally, add},
    endpoints::Endpoints,
    resolve::Names,
    transport::Buffer,
    trust::Trust,
    turns::Turns,
};
use crate::kind::FailureClass;

/// Settings, names, tickets, sockets and counts of one worker.
pub(super) struct Shared {
    pub(super) config: NetConfig,
    pub(super) trust: Trust,
    pub(super) names: Names,
    pub(super) endpoints: Endpoints,
    pub(super) buffer: Buffer,
    pub(super) turns: Rc<Turns>,
    pub(super) tally: Rc<Tally>,
    /// Whose turn it is among our own addresses.
    pub(super) sources: Cell<usize>,
}

impl Shared {
    /// Takes note of a failure that is the rig's own.
    pub(super) fn failed(&self, failure: &Failure) {
        add(&self.tally.socket_errors, failure.class == FailureClass::Rig);
    }
}
