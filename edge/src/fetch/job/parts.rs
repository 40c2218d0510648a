//! Answers that are parts: slices, and the last byte that says how long the whole is.
//!
//! Invariant: a head of the whole is stored only when a part of it has said how long it is, and under which validator.

use http::Method;

use super::task::{Fetched, Forward, Job, found};
use crate::{
    cache::{
        arrival::Unstorable,
        budget::Reservation,
        key::Key,
        store::{Found, Store},
    },
    fetch::{
        admit::Admitted,
        collapse::Outcome,
        pump::Pump,
        shared::Unsliceable,
        slice::{Aligned, Instead, Part},
    },
    upstream::Answer,
};

/// What comes after a part.
pub(super) enum Next {
    Pump(Box<Pump>),
    Again,
    Done,
}

impl Job {
    /// A part of the resource that was asked for.
    pub(super) fn part(&mut self, answer: Answer, born: u64, aligned: Aligned) -> Next {
        let part = match Part::read(&answer, Instead::Slice(aligned)) {
            Ok(part) => part,
            Err(total) => {
                let is_large = total.is_some_and(|total| total > self.bytes_max());
                return self.cannot_slice(is_large);
            }
        };
        let circumstances = self.circumstances(&answer, born, &Method::GET);
        let admitted = part.admit(&answer, aligned.slice_bytes, &circumstances);
        let Ok((whole, slice)) = admitted else {
            // Not storable: the client gets what it asked for, neither more nor less.
            if let Err(reason) = admitted {
                self.note_unstorable(reason);
            }
            return self.pass_on();
        };
        let store = &self.shared.parts.store;
        let (Some(room), Some(none)) = (store.reserve(slice.length), store.reserve(Some(0))) else {
            self.note_unstorable(Unstorable::NoRoom);
            return self.pass_on();
        };
        let key = self.wanted.route.key;
        let slice_key = part.key(&key, aligned.number);
        let fill = store.begin(slice_key, None, slice, room);
        let Some(found) = sliced_head(store, key, whole, none) else { return self.pass_on() };
        self.stale = None;
        let mut forward = Forward::of(&answer);
        forward.is_stored = true;
        self.shared.unstorable.forget(&key);
        self.settle_now(Outcome::Settled, Ok(Fetched::Stored(found, forward, None)));
        Next::Pump(Box::new(self.pump(fill, answer, true)))
    }

    /// The last byte of a resource, whose end is wanted: now it is known how long the whole is, and the slices come when
    /// they are read.
    pub(super) async fn last(&mut self, mut answer: Answer, born: u64, asked: Instead) -> Next {
        let part = match Part::read(&answer, asked) {
            Ok(part) => part,
            Err(total) => {
                let is_large = total.is_some_and(|total| total > self.bytes_max());
                return self.cannot_slice(is_large);
            }
        };
        let circumstances = self.circumstances(&answer, born, &Method::GET);
        let whole = match part.admit(&answer, asked.slice_bytes(), &circumstances) {
            Ok((whole, _)) => whole,
            Err(reason) => {
                self.note_unstorable(reason);
                return self.pass_on();
            }
        };
        let key = self.wanted.route.key;
        let store = &self.shared.parts.store;
        let found = store.reserve(Some(0)).and_then(|none| sliced_head(store, key, whole, none));
        let Some(found) = found else { return self.pass_on() };
        self.stale = None;
        let mut forward = Forward::of(&answer);
        forward.is_stored = true;
        self.shared.unstorable.forget(&key);
        self.settle_now(Outcome::Settled, Ok(Fetched::Stored(found, forward, None)));
        // Read, so that the connection can be used again.
        while let Ok(Some(_)) = answer.body.next().await {}
        Next::Done
    }

    /// A resource that is too large to be kept whole, whose origin gives parts of it.
    pub(super) fn in_slices(
        mut self,
        answer: &Answer,
        born: u64,
        aligned: Aligned,
    ) -> Option<Pump> {
        let circumstances = self.circumstances(answer, born, &Method::GET);
        let store = &self.shared.parts.store;
        let head = aligned.head_of_whole(answer, &circumstances);
        let stored = head.ok().zip(store.reserve(Some(0)));
        let key = self.wanted.route.key;
        let Some(found) = stored.and_then(|(head, none)| sliced_head(store, key, head, none))
        else {
            self.settle(Outcome::OnYourOwn, Ok(Fetched::PassOn));
            return None;
        };
        let mut forward = Forward::of(answer);
        forward.is_stored = true;
        self.settle_now(Outcome::Settled, Ok(Fetched::Stored(found, forward, None)));
        None
    }

    /// The next ask is for the whole, or for what the client asks for.
    fn cannot_slice(&mut self, is_large: bool) -> Next {
        let key = self.wanted.route.key;
        if is_large {
            self.shared.unsliceable.note(key, Unsliceable::Pass);
            return self.pass_on();
        }
        self.shared.unsliceable.note(key, Unsliceable::Whole);
        Next::Again
    }

    fn pass_on(&mut self) -> Next {
        self.settle_now(Outcome::OnYourOwn, Ok(Fetched::PassOn));
        Next::Done
    }
}

/// Stores the head of a resource whose body stands in slices.
fn sliced_head(store: &Store, key: Key, whole: Admitted, none: Reservation) -> Option<Found> {
    let own = whole.variance.as_ref().map_or(key, |(_, variant)| key.variant(variant));
    let fill = store.begin(key, whole.variance, whole.head, none);
    let found = found(own, &fill);
    fill.finish().ok().map(|_| found)
}
