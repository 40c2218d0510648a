//! Whose turn it is while the way to the client is narrow (RFC 9218 10): the more urgent first. Pure but for wakers.
//!
//! Only bytes that flow control has let through count, so a stream whose client takes nothing holds up nobody.
//! Invariant: when everything has left, everybody may go on.

use std::{
    collections::HashMap,
    task::{Context, Poll, Waker},
};

use crate::listener::priority::{Priority, URGENCIES};

/// The order of one connection's streams.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Bytes of each urgency that were handed over since everything had left.
    queued: [u64; URGENCIES],
    is_closed: bool,
    /// Streams that wait for their turn.
    waiting: Vec<(u8, u32, Waker)>,
    /// What PRIORITY_UPDATE frames said, by stream.
    updates: HashMap<u32, Priority>,
}

impl Order {
    /// Waits until nothing more urgent is under way.
    pub(super) fn poll_turn(&mut self, stream: u32, urgency: u8, cx: &Context<'_>) -> Poll<()> {
        let more_urgent = &self.queued[..usize::from(urgency)];
        if self.is_closed || more_urgent.iter().all(|bytes| *bytes == 0) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        match self.waiting.iter_mut().find(|(_, waiting, _)| *waiting == stream) {
            Some(entry) => *entry = (urgency, stream, waker),
            None => self.waiting.push((urgency, stream, waker)),
        }
        Poll::Pending
    }

    /// A stream has handed bytes over.
    pub(super) fn queued(&mut self, urgency: u8, bytes: usize) {
        self.queued[usize::from(urgency)] += bytes as u64;
    }

    /// Everything has left: the most urgent are woken first, and so are asked first.
    pub(super) fn drained(&mut self) {
        self.queued = [0; URGENCIES];
        self.wake();
    }

    /// The connection has ended.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.wake();
    }

    /// A client has changed its mind about a stream, which may not have begun yet.
    pub(super) fn update(&mut self, stream: u32, priority: Priority, streams_max: usize) {
        if self.updates.len() < streams_max || self.updates.contains_key(&stream) {
            self.updates.insert(stream, priority);
        }
    }

    /// The urgency of a stream: the last update's, or what it began with.
    pub(super) fn urgency(&self, stream: u32, begun_with: u8) -> u8 {
        if self.updates.is_empty() {
            return begun_with;
        }
        self.updates.get(&stream).map_or(begun_with, |update| update.urgency)
    }

    /// A stream has ended.
    pub(super) fn forget(&mut self, stream: u32) {
        if !self.updates.is_empty() {
            self.updates.remove(&stream);
        }
        if !self.waiting.is_empty() {
            self.waiting.retain(|(_, waiting, _)| *waiting != stream);
        }
    }

    fn wake(&mut self) {
        self.waiting.sort_by_key(|(urgency, stream, _)| (*urgency, *stream));
        for (_, _, waker) in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_go(order: &mut Order, stream: u32, urgency: u8) -> bool {
        order.poll_turn(stream, urgency, &Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_less_urgent_wait_while_the_way_is_full() {
        let mut order = Order::default();
        assert!(may_go(&mut order, 1, 5), "the way is free");
        order.queued(3, 100);
        assert!(!may_go(&mut order, 1, 5));
        assert!(!may_go(&mut order, 1, 5));
        assert_eq!(order.waiting.len(), 1, "once for each stream");
        assert!(may_go(&mut order, 3, 3), "its equals share");
        assert!(may_go(&mut order, 5, 0));
        order.drained();
        assert!(order.waiting.is_empty() && may_go(&mut order, 1, 5));
        order.queued(0, 1);
        order.close();
        assert!(may_go(&mut order, 1, 7), "so that it sees the end");
    }

    #[test]
    fn updates_count_until_the_stream_ends() {
        let mut order = Order::default();
        assert_eq!(order.urgency(1, 3), 3);
        let first = Priority { urgency: 0, is_incremental: false };
        order.update(1, first, 1);
        order.update(3, first, 1);
        assert_eq!((order.urgency(1, 3), order.urgency(3, 5)), (0, 5), "a bounded number");
        order.forget(1);
        assert_eq!(order.urgency(1, 3), 3);
    }
}
