//! What a job is made of, and whom it tells.
//!
//! A leaf: what the other files of the folder share. Invariant: the seat is vacated before the client is told.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::oneshot;

use crate::{
    cache::{
        arrival::Unstorable,
        key::Key,
        object::Head,
        store::{Fill, Found, Tier},
        variance::Vary,
    },
    fetch::{
        admit::Circumstances,
        collapse::{Outcome, Seat},
        pump::Pump,
        relay::Receiving,
        shared::Shared,
        slice::Instead,
        wanted::{Failed, Wanted},
    },
    upstream::{Answer, Candidate, Interim},
};

/// An ask of upstream.
pub(in crate::fetch) struct Job {
    pub(in crate::fetch) shared: Arc<Shared>,
    pub(in crate::fetch) wanted: Arc<Wanted>,
    /// Those who follow.
    pub(in crate::fetch) seat: Option<Seat>,
    /// The exchange that began it, if it is still there.
    pub(in crate::fetch) reply: Option<oneshot::Sender<Result<Fetched, Failed>>>,
    pub(in crate::fetch) interim: Option<Interim>,
    /// What is stored and has to be confirmed.
    pub(in crate::fetch) stale: Option<Confirmable>,
    /// What to ask for instead of the whole.
    pub(in crate::fetch) instead: Option<Instead>,
    /// Whether the fill goes on when nobody reads it.
    pub(in crate::fetch) is_wanted_anyway: bool,
}

/// Something stored that upstream may confirm.
#[derive(Clone)]
pub(in crate::fetch) struct Confirmable {
    /// The key that it stands under.
    pub(in crate::fetch) key: Key,
    pub(in crate::fetch) head: Arc<Head>,
    pub(in crate::fetch) fill: u64,
    /// Whether an answer that upstream cannot answer is a failure, because what is stored can be served then.
    pub(in crate::fetch) on_error: bool,
}

/// What an ask brought.
pub(in crate::fetch) enum Fetched {
    /// It is being stored, and read from there.
    Stored(Found, Forward, Option<Receiving>),
    /// What is stored counts again, with this head.
    Confirmed(Arc<Head>, Forward),
    /// It passes: nobody else gets it.
    Passed(Box<Answer>, Option<Unstorable>),
    /// Only what the client asks for can be passed on.
    PassOn,
}

/// The exchange with upstream, as the client and the log are told of it.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its `Cache-Status`.
    pub cache_status: Option<HeaderValue>,
    /// Who gave it.
    pub from: Option<Candidate>,
    /// How many upstreams were asked.
    pub attempts: u32,
    /// Headers that only the client gets that asked.
    pub withheld: HeaderMap,
    /// Whether it is being stored, or was confirmed.
    pub is_stored: bool,
}

impl Confirmable {
    /// What was found, as something to be confirmed.
    pub(in crate::fetch) fn of(found: &Found, on_error: bool) -> Self {
        Self { key: found.key, head: found.head.clone(), fill: found.fill, on_error }
    }
}

impl Forward {
    /// What an answer says.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            cache_status: answer.next_hop_cache_status.clone(),
            from: Some(answer.from),
            attempts: answer.attempts,
            withheld: HeaderMap::new(),
            is_stored: false,
        }
    }
}

impl Job {
    pub(super) fn pump(&self, fill: Fill, answer: Answer, is_wanted_anyway: bool) -> Pump {
        let (shared, wanted) = (self.shared.clone(), self.wanted.clone());
        Pump::new(shared, wanted, fill, answer, is_wanted_anyway)
    }

    pub(super) fn grew_too_large(&self) -> bool {
        let known = self.shared.unstorable.get(&self.wanted.route.key);
        known == Some(Unstorable::Size.as_str())
    }

    pub(super) fn note_unstorable(&self, reason: Unstorable) {
        let reason_word = reason.as_str();
        self.shared.parts.metrics.unstorable.with_label_values(&[reason_word]).inc();
        // For want of room it may be stored the next time.
        if reason != Unstorable::NoRoom {
            self.shared.unstorable.note(self.wanted.route.key, reason_word);
        }
    }

    pub(super) fn remember_storable(&self, variance: Option<(Vary, [u8; 16])>) {
        let key = self.wanted.route.key;
        self.shared.unstorable.forget(&key);
        match variance {
            Some((vary, _)) => self.shared.varies.note(key, vary),
            None => self.shared.varies.forget(&key),
        }
    }

    pub(super) fn circumstances<'a>(
        &'a self,
        answer: &Answer,
        born: u64,
        method: &'a Method,
    ) -> Circumstances<'a> {
        Circumstances {
            wanted: &self.wanted,
            method,
            born,
            asked_at: answer.asked_at,
            answered_at: answer.answered_at,
            bytes_max: self.bytes_max(),
        }
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.shared.bytes_max(&self.wanted.route)
    }

    pub(super) fn fail(mut self, failed: Failed) {
        self.settle_now(Outcome::Failed(failed), Err(failed));
    }

    pub(super) fn settle(mut self, outcome: Outcome, told: Result<Fetched, Failed>) {
        self.settle_now(outcome, told);
    }

    pub(super) fn settle_now(&mut self, outcome: Outcome, told: Result<Fetched, Failed>) {
        if let Some(seat) = self.seat.take() {
            seat.vacate(outcome);
        }
        if let Some(reply) = self.reply.take() {
            // The client may be gone.
            let _ = reply.send(told);
        }
    }
}

/// Answers that say that upstream cannot answer now.
pub(super) fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

/// A reader of a fill, from its beginning.
pub(super) fn found(key: Key, fill: &Fill) -> Found {
    Found {
        key,
        head: fill.head().clone(),
        body: fill.body(),
        fill: fill.id(),
        is_in_flight: true,
        tier: Tier::InFlight,
        bytes: fill.head().length,
    }
}
