//! Threads that wait for the disk, so that nobody who serves clients does.
//!
//! Invariant: what waits here is bounded by whoever gives it: every reader holds a part of the budget of read buffers
//! before it asks, and has at most two reads under way.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// A handle on the threads, which end with the last handle.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

type Read = Box<dyn FnOnce() + Send>;

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Read>,
    is_closed: bool,
}

impl Pool {
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        // The threads that could be started end when this is dropped early.
        let pool = Self { shared: shared.clone() };
        for number in 0..threads {
            let shared = shared.clone();
            let name = format!("disk-read-{number}");
            std::thread::Builder::new().name(name).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Does something on one of the threads.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        self.give(Box::new(move || {
            // Nobody may wait for it any more.
            if !answer.is_closed() {
                let _ = answer.send(read());
            }
        }));
        answered
    }

    /// Does something on one of the threads that nobody waits for.
    pub(super) fn give(&self, read: Read) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push_back(read);
        self.shared.wake.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(read) = self.next() {
            // One that panics is a mistake of ours; its asker sees a closed channel, and the thread goes on.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        }
    }

    fn next(&self) -> Option<Read> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(read) = state.waiting.pop_front() {
                return Some(read);
            }
            if state.is_closed {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
