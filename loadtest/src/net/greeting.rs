//! How a handshake went: told by whoever drives it, read by the fetch that it was for.
//!
//! With 0-RTT a request goes out before the handshake is over, so its outcome is known later than the connection.
//! Invariant: a handshake ends once, and counts once.

use std::{cell::Cell, rc::Rc};

use tokio::time::Instant;

use super::counters::{Tally, add};

/// One handshake.
#[derive(Debug)]
pub(super) struct Greeting {
    tally: Rc<Tally>,
    done: Cell<Option<Greeted>>,
}

/// Its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Greeted {
    pub(super) at: Instant,
    pub(super) is_resumed: bool,
    pub(super) is_early: bool,
}

impl Greeting {
    pub(super) fn new(tally: Rc<Tally>) -> Rc<Self> {
        Rc::new(Self { tally, done: Cell::new(None) })
    }

    pub(super) fn finish(&self, is_resumed: bool, is_early: bool) {
        if self.done.get().is_none() {
            self.done.set(Some(Greeted { at: Instant::now(), is_resumed, is_early }));
            add(&self.tally.opened, true);
            add(&self.tally.resumed, is_resumed);
            add(&self.tally.early, is_early);
        }
    }

    pub(super) fn done(&self) -> Option<Greeted> {
        self.done.get()
    }
}
