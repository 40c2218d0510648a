//! Whose turn it is while the way to the client is narrow (RFC 9218 10): the more urgent first. Pure but for wakers.
//!
//! Only bytes that flow control has let through count, so a stream whose client takes nothing holds up nobody. A more
//! urgent stream that had no room gets one turn ahead of the others when everything has left, because it could not hand
//! anything over before. Invariant: when everything has left and such a stream has used its turn or not, everybody may
//! go on.

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
    /// Streams that flow control or a full buffer holds up.
    blocked: Vec<(u8, u32)>,
    /// In a turn that belongs to streams of this urgency and more urgent ones.
    turn_of: Option<u8>,
    /// What PRIORITY_UPDATE frames said, by stream.
    updates: HashMap<u32, Priority>,
}

impl Order {
    /// Waits until nothing more urgent is under way.
    pub(super) fn poll_turn(&mut self, stream: u32, urgency: u8, cx: &Context<'_>) -> Poll<()> {
        let more_urgent = &self.queued[..usize::from(urgency)];
        let is_behind = self.turn_of.is_some_and(|last| urgency > last);
        if self.is_closed || !is_behind && more_urgent.iter().all(|bytes| *bytes == 0) {
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
    pub(super) fn queued(&mut self, stream: u32, urgency: u8, bytes: usize) {
        self.queued[usize::from(urgency)] += bytes as u64;
        self.blocked.retain(|(_, blocked)| *blocked != stream);
    }

    /// A stream has something to send and no room for it.
    pub(super) fn blocked(&mut self, stream: u32, urgency: u8) {
        if self.blocked.iter().all(|(_, blocked)| *blocked != stream) {
            self.blocked.push((urgency, stream));
        }
    }

    /// Everything has left. The most urgent are woken first, and so are asked first. True when the others have to wait
    /// for one turn more: then this is to be called again after that turn, also when nothing was handed over in it.
    #[must_use]
    pub(super) fn drained(&mut self) -> bool {
        let last = self.turn_of.take();
        let queued = std::mem::take(&mut self.queued);
        let Some(front) = self.blocked.iter().map(|(urgency, _)| *urgency).min() else {
            self.wake();
            return false;
        };
        let mut others = self.waiting.iter().map(|(urgency, ..)| *urgency);
        let is_behind = |urgency| urgency > front;
        let is_contended =
            others.any(is_behind) || self.blocked.iter().any(|(urgency, _)| is_behind(*urgency));
        let is_spent =
            last.is_some_and(|last| queued[..=usize::from(last)].iter().all(|n| *n == 0));
        if is_contended && !is_spent {
            self.turn_of = Some(front);
            return true;
        }
        self.wake();
        false
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
        self.waiting.retain(|(_, waiting, _)| *waiting != stream);
        self.blocked.retain(|(_, blocked)| *blocked != stream);
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
        order.queued(3, 3, 100);
        assert!(!may_go(&mut order, 1, 5));
        assert!(!may_go(&mut order, 1, 5));
        assert_eq!(order.waiting.len(), 1, "once for each stream");
        assert!(may_go(&mut order, 3, 3), "its equals share");
        assert!(may_go(&mut order, 5, 0));
        assert!(!order.drained());
        assert!(order.waiting.is_empty() && may_go(&mut order, 1, 5));
        order.queued(5, 0, 1);
        order.close();
        assert!(may_go(&mut order, 1, 7), "so that it sees the end");
    }

    #[test]
    fn an_urgent_stream_without_room_goes_before_the_others_once_there_is_room() {
        let mut order = Order::default();
        order.queued(3, 1, 100);
        order.blocked(3, 1);
        assert!(!may_go(&mut order, 1, 5));
        for _ in 0..2 {
            assert!(order.drained(), "the urgent one first");
            assert!(!may_go(&mut order, 1, 5));
            assert!(may_go(&mut order, 3, 1));
            order.queued(3, 1, 100);
            order.blocked(3, 1);
        }
        assert!(order.drained());
        assert!(!order.drained(), "its client gives it no room: its turn has passed");
        assert!(may_go(&mut order, 1, 5));
        order.queued(1, 5, 100);
        assert!(!order.drained(), "nobody waits");
        order.queued(3, 1, 100);
        order.blocked(3, 1);
        assert!(!may_go(&mut order, 1, 5));
        order.forget(3);
        assert!(!order.drained(), "it has ended");
        assert!(order.blocked.is_empty() && may_go(&mut order, 1, 5));
    }

    #[test]
    fn both_without_room_take_it_in_order() {
        let mut order = Order::default();
        order.queued(1, 3, 100);
        order.blocked(1, 3);
        order.queued(3, 0, 100);
        order.blocked(3, 0);
        assert!(order.drained());
        assert!(!may_go(&mut order, 1, 3));
        assert!(may_go(&mut order, 3, 0));
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
