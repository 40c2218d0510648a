//! Whose turn it is while the way to the client is narrow (RFC 9218 10): the more urgent first; of equals those that are
//! not incremental one after the other, in the order of their requests, and then the incremental, which share. Pure but
//! for wakers.
//!
//! Only bytes that flow control has let through count, so a stream whose client takes nothing holds up nobody; and an
//! equal holds others up only while it has more to send, so that many small responses still leave together. A stream
//! that had no room gets one turn ahead of those behind it when everything has left, because it could not hand anything
//! over before. Invariant: when everything has left and such a stream has used its turn or not, everybody may go on.

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
    /// Streams that handed some of them over and have more, and are not incremental.
    unfinished: Vec<Rank>,
    /// The first in the order of those that handed anything over since everything had left.
    foremost: Option<Rank>,
    is_closed: bool,
    /// Streams that wait for their turn.
    waiting: Vec<(Rank, u32, Waker)>,
    /// Streams that flow control or a full buffer holds up.
    blocked: Vec<(Rank, u32)>,
    /// In a turn that belongs to streams up to this rank.
    turn_of: Option<Rank>,
    /// What PRIORITY_UPDATE frames said, by stream.
    updates: HashMap<u32, Priority>,
    /// What they said of streams that have not begun.
    ahead: HashMap<u32, Priority>,
}

/// A stream's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    urgency: u8,
    /// Its number; the same for all that share.
    turn: u32,
}

impl Rank {
    fn of(priority: Priority, stream: u32) -> Self {
        let turn = if priority.is_incremental { SHARED } else { stream };
        Self { urgency: priority.urgency, turn }
    }
}

impl Order {
    /// Waits until nothing is under way that goes before.
    pub(super) fn poll_turn(&mut self, stream: u32, rank: Rank, cx: &Context<'_>) -> Poll<()> {
        let more_urgent = &self.queued[..usize::from(rank.urgency)];
        let is_before = |other: &Rank| other.urgency == rank.urgency && other.turn < rank.turn;
        let is_held_up = more_urgent.iter().any(|bytes| *bytes > 0)
            || self.unfinished.iter().any(is_before)
            || self.turn_of.is_some_and(|last| rank > last);
        if self.is_closed || !is_held_up {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        match self.waiting.iter_mut().find(|(_, waiting, _)| *waiting == stream) {
            Some(entry) => *entry = (rank, stream, waker),
            None => self.waiting.push((rank, stream, waker)),
        }
        Poll::Pending
    }

    /// A stream has handed bytes over; with `is_last` it has no more.
    pub(super) fn queued(&mut self, stream: u32, rank: Rank, bytes: usize, is_last: bool) {
        self.queued[usize::from(rank.urgency)] += bytes as u64;
        self.foremost = Some(self.foremost.map_or(rank, |foremost| foremost.min(rank)));
        self.blocked.retain(|(_, blocked)| *blocked != stream);
        let is_known = self.unfinished.contains(&rank);
        if is_last && is_known {
            self.unfinished.retain(|unfinished| *unfinished != rank);
            self.wake();
        } else if !is_last && !is_known && rank.turn != SHARED {
            self.unfinished.push(rank);
        }
    }

    /// A stream has something to send and no room for it.
    pub(super) fn blocked(&mut self, stream: u32, rank: Rank) {
        if self.blocked.iter().all(|(_, blocked)| *blocked != stream) {
            self.blocked.push((rank, stream));
        }
    }

    /// Everything has left. Those in front are woken first, and so are asked first. True when the others have to wait
    /// for one turn more: then this is to be called again after that turn, also when nothing was handed over in it.
    #[must_use]
    pub(super) fn drained(&mut self) -> bool {
        let last = self.turn_of.take();
        let foremost = self.foremost.take();
        self.queued = Default::default();
        self.unfinished.clear();
        let Some(front) = self.blocked.iter().map(|(rank, _)| *rank).min() else {
            self.wake();
            return false;
        };
        let is_behind = |rank: Rank| rank > front;
        let is_contended = self.waiting.iter().any(|(rank, ..)| is_behind(*rank))
            || self.blocked.iter().any(|(rank, _)| is_behind(*rank));
        let is_spent = last.is_some_and(|last| foremost.is_none_or(|foremost| foremost > last));
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

    /// A client says what it wants of a stream above `last`, which it has not begun; false when it does so for more
    /// than there is `room` for (RFC 9218 7.1).
    #[must_use]
    pub(super) fn expect(
        &mut self,
        stream: u32,
        priority: Priority,
        last: u32,
        room: usize,
    ) -> bool {
        self.ahead.retain(|ahead, _| *ahead > last);
        self.ahead.insert(stream, priority);
        self.ahead.len() <= room
    }

    /// A stream has begun; those before it that have not never will.
    pub(super) fn begin(&mut self, stream: u32) {
        if self.ahead.is_empty() {
            return;
        }
        if let Some(priority) = self.ahead.remove(&stream) {
            self.updates.insert(stream, priority);
        }
        self.ahead.retain(|ahead, _| *ahead > stream);
    }

    /// A client has changed its mind about a stream.
    pub(super) fn update(&mut self, stream: u32, priority: Priority, streams_max: usize) {
        if self.updates.len() < streams_max || self.updates.contains_key(&stream) {
            self.updates.insert(stream, priority);
        }
    }

    /// The place of a stream: by the last update, or by what it began with.
    pub(super) fn rank(&self, stream: u32, begun_with: Priority) -> Rank {
        if self.updates.is_empty() {
            return Rank::of(begun_with, stream);
        }
        Rank::of(self.updates.get(&stream).copied().unwrap_or(begun_with), stream)
    }

    /// A stream has ended.
    pub(super) fn forget(&mut self, stream: u32) {
        if !self.updates.is_empty() {
            self.updates.remove(&stream);
        }
        self.waiting.retain(|(_, waiting, _)| *waiting != stream);
        self.blocked.retain(|(_, blocked)| *blocked != stream);
        let before = self.unfinished.len();
        self.unfinished.retain(|rank| rank.turn != stream);
        if self.unfinished.len() < before {
            self.wake();
        }
    }

    fn wake(&mut self) {
        self.waiting.sort_by_key(|(rank, stream, _)| (*rank, *stream));
        for (_, _, waker) in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

/// Behind the number of every stream.
const SHARED: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(stream: u32, urgency: u8) -> Rank {
        Rank::of(Priority { urgency, is_incremental: false }, stream)
    }

    fn shared(urgency: u8) -> Rank {
        Rank::of(Priority { urgency, is_incremental: true }, 1)
    }

    fn asks(order: &mut Order, stream: u32, rank: Rank) -> bool {
        order.poll_turn(stream, rank, &Context::from_waker(Waker::noop())).is_ready()
    }

    fn may_go(order: &mut Order, stream: u32, urgency: u8) -> bool {
        asks(order, stream, rank(stream, urgency))
    }

    /// Some of a longer body.
    fn hand(order: &mut Order, stream: u32, urgency: u8) {
        order.queued(stream, rank(stream, urgency), 100, false);
    }

    #[test]
    fn the_less_urgent_wait_while_the_way_is_full() {
        let mut order = Order::default();
        assert!(may_go(&mut order, 1, 5), "the way is free");
        hand(&mut order, 3, 3);
        assert!(!may_go(&mut order, 1, 5));
        assert!(!may_go(&mut order, 1, 5));
        assert_eq!(order.waiting.len(), 1, "once for each stream");
        assert!(may_go(&mut order, 3, 3), "it goes on");
        assert!(may_go(&mut order, 5, 0));
        assert!(!order.drained());
        assert!(order.waiting.is_empty() && may_go(&mut order, 1, 5));
        hand(&mut order, 5, 0);
        order.close();
        assert!(may_go(&mut order, 1, 7), "so that it sees the end");
    }

    #[test]
    fn equals_go_one_after_the_other_and_small_ones_together() {
        let mut order = Order::default();
        for stream in [1, 3, 5] {
            assert!(may_go(&mut order, stream, 3), "whole at once");
            order.queued(stream, rank(stream, 3), 100, true);
        }
        hand(&mut order, 7, 3);
        assert!(!may_go(&mut order, 9, 3), "the one before has more");
        assert!(may_go(&mut order, 3, 3), "one that was asked for before");
        order.queued(7, rank(7, 3), 100, true);
        assert!(order.waiting.is_empty() && may_go(&mut order, 9, 3));
        hand(&mut order, 9, 3);
        assert!(!may_go(&mut order, 11, 3));
        order.forget(9);
        assert!(may_go(&mut order, 11, 3), "it was reset");
        // One that has nothing to send now holds up nobody for longer than what it sent takes.
        hand(&mut order, 11, 3);
        assert!(!may_go(&mut order, 13, 3));
        assert!(!order.drained());
        assert!(may_go(&mut order, 13, 3));
    }

    #[test]
    fn the_incremental_share_behind_those_that_are_not() {
        let mut order = Order::default();
        order.queued(3, shared(3), 100, false);
        assert!(asks(&mut order, 1, shared(3)) && asks(&mut order, 5, shared(3)));
        hand(&mut order, 7, 3);
        assert!(!asks(&mut order, 1, shared(3)));
        assert!(asks(&mut order, 1, shared(2)), "more urgent");
        order.queued(7, rank(7, 3), 100, true);
        assert!(asks(&mut order, 1, shared(3)));
    }

    #[test]
    fn one_without_room_goes_before_its_equals_once_there_is_room() {
        let mut order = Order::default();
        hand(&mut order, 1, 3);
        order.blocked(1, rank(1, 3));
        assert!(!may_go(&mut order, 3, 3));
        assert!(order.drained());
        assert!(!may_go(&mut order, 3, 3) && may_go(&mut order, 1, 3));
        assert!(!order.drained(), "it has not used its turn");
        assert!(may_go(&mut order, 3, 3));
    }

    #[test]
    fn an_urgent_stream_without_room_goes_before_the_others_once_there_is_room() {
        let mut order = Order::default();
        hand(&mut order, 3, 1);
        order.blocked(3, rank(3, 1));
        assert!(!may_go(&mut order, 1, 5));
        for _ in 0..2 {
            assert!(order.drained(), "the urgent one first");
            assert!(!may_go(&mut order, 1, 5));
            assert!(may_go(&mut order, 3, 1));
            hand(&mut order, 3, 1);
            order.blocked(3, rank(3, 1));
        }
        assert!(order.drained());
        assert!(!order.drained(), "its client gives it no room: its turn has passed");
        assert!(may_go(&mut order, 1, 5));
        hand(&mut order, 1, 5);
        assert!(!order.drained(), "nobody waits");
        hand(&mut order, 3, 1);
        order.blocked(3, rank(3, 1));
        assert!(!may_go(&mut order, 1, 5));
        order.forget(3);
        assert!(!order.drained(), "it has ended");
        assert!(order.blocked.is_empty() && may_go(&mut order, 1, 5));
    }

    #[test]
    fn both_without_room_take_it_in_order() {
        let mut order = Order::default();
        hand(&mut order, 1, 3);
        order.blocked(1, rank(1, 3));
        hand(&mut order, 3, 0);
        order.blocked(3, rank(3, 0));
        assert!(order.drained());
        assert!(!may_go(&mut order, 1, 3));
        assert!(may_go(&mut order, 3, 0));
    }

    #[test]
    fn updates_count_until_the_stream_ends() {
        let mut order = Order::default();
        let begun = |urgency| Priority { urgency, is_incremental: false };
        assert_eq!(order.rank(1, begun(3)), rank(1, 3));
        order.update(1, begun(0), 1);
        order.update(3, begun(0), 1);
        assert_eq!(order.rank(1, begun(3)), rank(1, 0));
        assert_eq!(order.rank(3, begun(5)), rank(3, 5), "a bounded number");
        order.forget(1);
        assert_eq!(order.rank(1, begun(3)), rank(1, 3));
    }

    #[test]
    fn what_is_said_ahead_counts_when_the_stream_begins() {
        let mut order = Order::default();
        let wanted = |urgency| Priority { urgency, is_incremental: false };
        assert!(order.expect(3, wanted(0), 0, 2) && order.expect(5, wanted(1), 0, 2));
        assert!(order.expect(5, wanted(2), 0, 2), "the same once more");
        assert!(!order.expect(7, wanted(0), 0, 2), "more than there is room for");
        order.begin(5);
        assert_eq!(order.rank(5, wanted(3)), rank(5, 2));
        order.begin(3);
        assert_eq!(order.rank(3, wanted(3)), rank(3, 3), "passed over by 5, as 7 is not");
        assert!(order.expect(9, wanted(0), 7, 1), "7 is not to come any more");
    }
}
