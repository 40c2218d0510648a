//! What the H3 connections of one worker share, so that an idle connection holds none of it: a place to write heads,
//! and room for exchanges that are answered at once.
//!
//! Invariant: all of a worker's connections run on its one thread, so nobody waits for these locks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio_util::sync::ReusableBoxFuture;

/// An exchange that is not finished yet.
pub(super) type Exchange = ReusableBoxFuture<'static, ()>;

/// Shared by the connections of one worker.
#[derive(Default)]
pub(in crate::listener) struct Worker {
    scratch: Mutex<BytesMut>,
    rooms: Mutex<Vec<Exchange>>,
}

impl Worker {
    /// Writes with the shared buffer.
    pub(super) fn write(&self, write: impl FnOnce(&mut BytesMut) -> Bytes) -> Bytes {
        write(&mut self.scratch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs an exchange as far as it goes without waiting, in a room that is used again. What waits comes back, to be
    /// spawned. A panic ends the exchange alone.
    pub(super) fn run_now(
        &self,
        cx: &mut Context<'_>,
        exchange: impl Future<Output = ()> + Send + 'static,
    ) -> Option<Exchange> {
        let room = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut room = match room {
            Some(mut room) => {
                room.set(exchange);
                room
            }
            None => Exchange::new(exchange),
        };
        match catch_unwind(AssertUnwindSafe(|| room.poll(cx))) {
            Ok(Poll::Pending) => return Some(room),
            Ok(Poll::Ready(())) => {}
            // Printed by the panic hook; the stream was reset when the exchange was dropped.
            Err(_) => return None,
        }
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < ROOMS_MAX {
            rooms.push(room);
        }
        None
    }
}

/// Only one exchange runs at a time; another room is for those that begin in between.
const ROOMS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_waits_comes_back_and_what_panics_hurts_nobody() {
        let worker = Worker::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(worker.run_now(&mut cx, async {}).is_none());
        assert_eq!(worker.rooms.lock().unwrap().len(), 1);
        assert!(worker.run_now(&mut cx, std::future::pending()).is_some());
        assert!(worker.run_now(&mut cx, async { panic!("on purpose") }).is_none());
        assert!(worker.run_now(&mut cx, async {}).is_none());
    }
}
