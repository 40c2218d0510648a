//! The streams of a connection: which are open, how far they are, and which have ended lately (RFC 9113 5.1).
//!
//! Pure but for wakers. A stream is known by its number while it is open, and by its place until its exchange is over
//! and its content has left, which may be longer. Invariant: what is held of streams that have ended is bounded, however many there were.

use std::{collections::VecDeque, task::Waker};

use bytes::BytesMut;

use super::flow::{ReceiveWindow, SendWindow};
use crate::listener::account::Grant;

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The number of the stream at each place; 0 when none is open there.
    ids: Vec<u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    open: usize,
    last: u32,
    ended: VecDeque<(u32, EndedBy)>,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u32,
    /// What may be sent.
    pub(super) window: SendWindow,
    /// Content that waits in the connection's output.
    pub(super) queued: usize,
    /// As much may wait there.
    pub(super) queued_max: usize,
    /// Content of the request that nobody has read.
    pub(super) incoming: BytesMut,
    pub(super) receive: ReceiveWindow,
    /// What is still to come of the content that was announced.
    pub(super) expected: Option<u64>,
    pub(super) is_request_over: bool,
    pub(super) is_response_over: bool,
    /// Why it carries no more.
    pub(super) lost: Option<Lost>,
    /// The exchange is over; what it may hold stays taken until everything has left.
    pub(super) concluded: Option<Grant>,
    /// Waits for content.
    pub(super) reader: Option<Waker>,
    /// Waits for room.
    pub(super) writer: Option<Waker>,
    /// Waits for the end.
    pub(super) watcher: Option<Waker>,
}

/// Why a stream carries no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The client has reset it, with this code.
    Reset(u32),
    /// The client broke the protocol.
    Broken(&'static str),
    /// The connection has ended.
    Connection,
}

/// Who ended a stream: what the client sent before it knew may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    Us,
    /// The client has reset it, or both have said everything.
    Client,
}

/// What is known of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody has begun it.
    Idle,
    /// It is open; its place.
    Open(usize),
    Ended(EndedBy),
    /// It was passed over, or ended long ago.
    Past,
}

impl Streams {
    pub(super) fn known(&self, id: u32) -> Known {
        if id > self.last || id.is_multiple_of(2) {
            return Known::Idle;
        }
        if let Some(place) = self.ids.iter().position(|open| *open == id) {
            return Known::Open(place);
        }
        let ended = self.ended.iter().rev().find(|(ended, _)| *ended == id);
        ended.map_or(Known::Past, |(_, by)| Known::Ended(*by))
    }

    /// Open streams, as SETTINGS_MAX_CONCURRENT_STREAMS counts them.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// The highest number that a client has used.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// A client has used this number.
    pub(super) fn begin(&mut self, id: u32) {
        self.last = id;
    }

    /// Opens a stream; its place is its own until [`Streams::remove`].
    pub(super) fn insert(&mut self, entry: Entry) -> usize {
        self.open += 1;
        let id = entry.id;
        if let Some(place) = self.free.pop() {
            self.ids[place] = id;
            self.entries[place] = Some(entry);
            return place;
        }
        self.ids.push(id);
        self.entries.push(Some(entry));
        self.ids.len() - 1
    }

    /// The stream at a place.
    pub(super) fn get(&mut self, place: usize) -> Option<&mut Entry> {
        self.entries.get_mut(place)?.as_mut()
    }

    /// All that have a place.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().flatten()
    }

    /// A stream is not open any more, though its exchange may last.
    pub(super) fn close(&mut self, place: usize, by: EndedBy) {
        let Some(id) = self.ids.get_mut(place) else { return };
        let id = std::mem::take(id);
        if id > 0 {
            self.open -= 1;
            self.remember(id, by);
        }
    }

    /// Remembers for a while how a stream has ended.
    pub(super) fn remember(&mut self, id: u32, by: EndedBy) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, by));
    }

    /// The exchange is over, and its stream closed.
    pub(super) fn remove(&mut self, place: usize) -> Option<Entry> {
        let entry = self.entries.get_mut(place)?.take()?;
        self.free.push(place);
        if self.free.len() == self.entries.len() && self.free.len() > PLACES_KEPT {
            // An idle connection holds little.
            (self.ids, self.entries, self.free) = Default::default();
        }
        Some(entry)
    }
}

impl Entry {
    /// Wakes everybody who waits for something.
    pub(super) fn wake(&mut self) {
        for waiting in [&mut self.reader, &mut self.writer, &mut self.watcher] {
            if let Some(waker) = waiting.take() {
                waker.wake();
            }
        }
    }
}

/// Streams of which is remembered how they ended: as many as may be open by default, so that what is under way when all
/// are reset is understood.
const REMEMBERED: usize = 100;
/// Places that an idle connection keeps.
const PLACES_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32) -> Entry {
        Entry {
            id,
            window: SendWindow::new(1),
            queued: 0,
            queued_max: 1,
            incoming: BytesMut::new(),
            receive: ReceiveWindow::new(1),
            expected: None,
            is_request_over: true,
            is_response_over: false,
            lost: None,
            concluded: None,
            reader: None,
            writer: None,
            watcher: None,
        }
    }

    #[test]
    fn a_number_goes_from_idle_to_open_to_ended_to_past() {
        let mut streams = Streams::default();
        assert_eq!(streams.known(1), Known::Idle);
        streams.begin(3);
        let three = streams.insert(entry(3));
        assert_eq!((streams.known(3), streams.known(1)), (Known::Open(three), Known::Past));
        assert_eq!((streams.known(2), streams.known(5)), (Known::Idle, Known::Idle));
        streams.close(three, EndedBy::Us);
        streams.close(three, EndedBy::Client);
        assert_eq!((streams.known(3), streams.open()), (Known::Ended(EndedBy::Us), 0));
        assert!(streams.get(three).is_some(), "its exchange lasts");
        assert!(streams.remove(three).is_some() && streams.get(three).is_none());
        assert!(streams.remove(three).is_none(), "once");
        for id in (5..1005).step_by(2) {
            streams.begin(id);
            let place = streams.insert(entry(id));
            streams.close(place, EndedBy::Client);
            streams.remove(place);
        }
        assert_eq!(streams.known(3), Known::Past);
        assert_eq!(streams.known(1003), Known::Ended(EndedBy::Client));
        assert_eq!((streams.entries.len(), streams.ended.len()), (1, REMEMBERED));
    }

    #[test]
    fn places_are_used_again_and_given_back_when_there_were_many() {
        let mut streams = Streams::default();
        let places: Vec<usize> = (0..100).map(|n| streams.insert(entry(2 * n + 1))).collect();
        assert_eq!(places, (0..100).collect::<Vec<_>>());
        streams.begin(199);
        streams.close(7, EndedBy::Client);
        streams.remove(7);
        assert_eq!(streams.insert(entry(201)), 7);
        for place in 0..100 {
            streams.close(place, EndedBy::Client);
            streams.remove(place);
        }
        assert_eq!((streams.open(), streams.entries.capacity()), (0, 0));
    }
}
