//! What the sessions of one worker share: connections, the recorder, and counts of who does what.
//!
//! Invariant: one thread owns it; nothing is held over an await.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::plan::RunPlan;
use crate::{
    measure::{Gauges, Recorder},
    net::{Net, Shape},
    player::Status,
};

/// One worker's own.
pub(super) struct Shared {
    pub(super) plan: Arc<RunPlan>,
    pub(super) net: Net,
    pub(super) recorder: RefCell<Recorder>,
    /// The beginning of the run, with its warm-up, on two clocks.
    pub(super) start: Instant,
    pub(super) start_unix_ms: i64,
    /// When the next session is to begin.
    pub(super) due: Cell<Option<Instant>>,
    /// Last miles by index, and the bits per second of each, for players that know it.
    pub(super) links: Vec<Option<(Shape, u64)>>,
    pub(super) hashes: HashMap<String, [u8; 32]>,
    /// Ends all sessions.
    pub(super) cut: CancellationToken,
    /// Said when the last session has ended.
    pub(super) idle: Notify,
    pub(super) bytes: Cell<u64>,
    pub(super) sessions: Cell<u64>,
    pub(super) playing: Cell<u64>,
    pub(super) stalled: Cell<u64>,
    pub(super) panics: Cell<u64>,
}

impl Shared {
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            sessions: self.sessions.get(),
            playing: self.playing.get(),
            stalled: self.stalled.get(),
        }
    }

    /// Time since the beginning of the run.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// One session in the counts, for as long as it is held.
pub(super) struct Presence {
    shared: Rc<Shared>,
    is_playing: bool,
    is_stalled: bool,
}

impl Presence {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        bump(&shared.sessions, true);
        Self { shared, is_playing: false, is_stalled: false }
    }

    /// Takes over how the player is.
    pub(super) fn update(&mut self, status: &Status) {
        if status.is_playing != self.is_playing {
            self.is_playing = status.is_playing;
            bump(&self.shared.playing, status.is_playing);
        }
        if status.is_stalled != self.is_stalled {
            self.is_stalled = status.is_stalled;
            bump(&self.shared.stalled, status.is_stalled);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.update(&Status::default());
        bump(&self.shared.sessions, false);
        if std::thread::panicking() {
            self.shared.panics.set(self.shared.panics.get() + 1);
        }
        if self.shared.sessions.get() == 0 {
            self.shared.idle.notify_waiters();
        }
    }
}

fn bump(count: &Cell<u64>, is_up: bool) {
    count.set(if is_up { count.get() + 1 } else { count.get().saturating_sub(1) });
}
