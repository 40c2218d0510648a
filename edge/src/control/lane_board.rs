//! Which lanes to the control plane are open: written by what keeps them, read by who looks at the node.
//!
//! Invariant: a lane is shown as open only while a conversation goes on; one that was never opened is shown too.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// All lanes of this process. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct LaneBoard(Arc<Mutex<BTreeMap<LaneName, LaneState>>>);

/// The kind of a lane, and which of that kind it is.
pub(super) type LaneName = (&'static str, usize);

/// How a lane is.
#[derive(Debug, Clone)]
pub(super) enum LaneState {
    /// Not open; why it ended the last time, or was not opened.
    Closed(String),
    /// Open since then, to this endpoint.
    Open(Instant, String),
}

impl LaneBoard {
    /// A lane that somebody keeps from now on.
    pub(super) fn begin(&self, lane: LaneName) {
        self.lock().insert(lane, LaneState::Closed("not opened yet".to_owned()));
    }

    /// A conversation begins.
    pub(super) fn opened(&self, lane: LaneName, endpoint: String) {
        self.lock().insert(lane, LaneState::Open(Instant::now(), endpoint));
    }

    /// It has ended, or there was none.
    pub(super) fn closed(&self, lane: LaneName, why: &dyn std::fmt::Display) {
        self.lock().insert(lane, LaneState::Closed(why.to_string()));
    }

    /// How all lanes are, by kind and number.
    pub(super) fn all(&self) -> BTreeMap<LaneName, LaneState> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LaneName, LaneState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
