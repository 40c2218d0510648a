//! One ask of upstream as a task of its own: it outlives the exchange that began it, settles what the answer is to
//! everybody, and goes on as the pump of a fill.
//!
//! Invariant: whoever waits is told exactly once, before the first byte of the body is waited for; nothing is told to
//! others before it can be found in the store.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::oneshot;

use super::{
    admit::{self, Admitted, Circumstances},
    ahead::{self, Asked},
    collapse::{Outcome, Seat},
    pump::Pump,
    relay::Receiving,
    shared::{Question, Shared, Unsliceable},
    slice::{Aligned, Instead, Part},
    wanted::{Failed, Wanted},
};
use crate::{
    cache::{
        arrival::Unstorable,
        budget::Reservation,
        confirm::{self, ByHead},
        kept,
        key::Key,
        object::{Extent, Head},
        store::{Fill, Found, Store, Tier},
        variance::Vary,
    },
    upstream::{Answer, Candidate, Interim},
};

/// An ask of upstream.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) wanted: Arc<Wanted>,
    /// Those who follow.
    pub(super) seat: Option<Seat>,
    /// The exchange that began it, if it is still there.
    pub(super) reply: Option<oneshot::Sender<Result<Fetched, Failed>>>,
    pub(super) interim: Option<Interim>,
    /// What is stored and has to be confirmed.
    pub(super) stale: Option<Confirmable>,
    /// What to ask for instead of the whole.
    pub(super) instead: Option<Instead>,
    /// Whether the fill goes on when nobody reads it.
    pub(super) is_wanted_anyway: bool,
}

/// Something stored that upstream may confirm.
#[derive(Clone)]
pub(super) struct Confirmable {
    /// The key that it stands under.
    pub(super) key: Key,
    pub(super) head: Arc<Head>,
    pub(super) fill: u64,
    /// Whether an answer that upstream cannot answer is a failure, because what is stored can be served then.
    pub(super) on_error: bool,
}

/// What an ask brought.
pub(super) enum Fetched {
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
    pub(super) fn of(found: &Found, on_error: bool) -> Self {
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
    /// Runs to the end of the answer; true when it was a live playlist that stands still.
    pub(super) async fn run(mut self) -> bool {
        let shared = self.shared.clone();
        let wanted = self.wanted.clone();
        loop {
            let (headers, interim) = (self.headers(), self.interim.clone());
            let stale = self.stale.as_ref().map(|stale| stale.head.clone());
            let asked = ahead::ask(&shared, &wanted, headers, interim, stale.as_deref()).await;
            let Asked { answer, born } = match asked {
                Ok(asked) => asked,
                Err(failure) => {
                    self.fail(Failed::without_answer(failure));
                    return false;
                }
            };
            // What comes now comes with the body.
            self.interim = None;
            if answer.status == StatusCode::NOT_MODIFIED
                && let Some(stale) = &self.stale
            {
                if confirm::does_confirm(&stale.head.headers, &answer.headers) {
                    return self.confirmed(&answer, born);
                }
                // It speaks of something else than what is stored: ask for that.
                self.stale = None;
                continue;
            }
            if answer.status == StatusCode::RANGE_NOT_SATISFIABLE
                && matches!(self.instead, Some(Instead::Last { .. }))
            {
                // Nothing has no last byte, and some origins do not count from the end.
                self.instead = None;
                continue;
            }
            if answer.status == StatusCode::PARTIAL_CONTENT
                && let Some(instead) = self.instead.take()
            {
                let next = match instead {
                    Instead::Slice(aligned) => self.part(answer, born, aligned),
                    Instead::Last { .. } => self.last(answer, born, instead).await,
                };
                match next {
                    Next::Pump(pump) => return pump.run().await,
                    Next::Again => continue,
                    Next::Done => return false,
                }
            }
            return match self.whole(answer, born) {
                Some(pump) => pump.run().await,
                None => false,
            };
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = self.wanted.unconditional();
        if let Some(stale) = &self.stale {
            let question = confirm::question(&stale.head.headers);
            let is_good = stale.head.status.is_success();
            for (name, value) in question.filter(|_| is_good).into_iter().flatten().flatten() {
                headers.insert(name, value);
            }
        }
        if let Some(instead) = &self.instead {
            headers.insert(header::RANGE, instead.header());
        }
        headers
    }

    /// Upstream confirms what is stored; true when that is a live playlist that stands still.
    fn confirmed(mut self, answer: &Answer, born: u64) -> bool {
        let Some(stale) = self.stale.take() else { return false };
        let shared = self.shared.clone();
        let merged = confirm::merge(&stale.head.headers, &answer.headers);
        let circumstances = self.circumstances(answer, born, &Method::GET);
        let extent = stale.head.extent;
        let length = stale.head.length;
        let admitted = admit::admit(stale.head.status, merged, extent, length, &circumstances);
        let mut forward = Forward::of(answer);
        let route = &self.wanted.route;
        let (head, outcome) = match admitted {
            Ok(Admitted { mut head, .. }) => {
                // The variant stays the one that it was stored as.
                (head.created, head.vary) = (stale.head.created, stale.head.vary.clone());
                let head = Arc::new(head);
                forward.is_stored =
                    shared.parts.store.refresh(stale.key, stale.fill, Head::clone(&head));
                shared.parts.metrics.fills.with_label_values(&["confirmed"]).inc();
                let is_for_all = !head.freshness.always_revalidate;
                (head, if is_for_all { Outcome::Settled } else { Outcome::OnYourOwn })
            }
            Err(reason) => {
                // It answers this one exchange, and is forgotten.
                self.note_unstorable(reason);
                shared.parts.store.remove(stale.key, stale.fill);
                (Arc::new(merged_head(&stale.head, answer, &circumstances)), Outcome::OnYourOwn)
            }
        };
        let is_stalled = shared.playlists.saw_again(route, answer.from);
        self.settle(outcome, Ok(Fetched::Confirmed(head, forward)));
        is_stalled
    }

    /// An answer that is no part: of the whole resource, or an error.
    fn whole(mut self, answer: Answer, born: u64) -> Option<Pump> {
        let (is_error, stale) = (is_error(answer.status), self.stale.take());
        if is_error && stale.as_ref().is_some_and(|stale| stale.on_error) {
            self.fail(Failed::answered(answer.status));
            return None;
        }
        let circumstances = self.circumstances(&answer, born, &Method::GET);
        let admitted = admit::whole(answer.status, &answer.headers, &circumstances);
        let sliceable = match &admitted {
            Err(Unstorable::Size) => Aligned::instead_of(&self.wanted, &answer),
            _ => None,
        };
        if let Some(aligned) = sliceable {
            // Too large to be kept whole, so that it comes in slices, each when it is read.
            return self.in_slices(&answer, born, aligned);
        }
        // What grew too large the last time will do so again.
        let admitted = admitted.and_then(|admitted| match admitted.head.length {
            None if self.grew_too_large() => Err(Unstorable::Size),
            _ => Ok(admitted),
        });
        let begun = admitted.and_then(|admitted| {
            let room = self.shared.parts.store.reserve(admitted.head.length);
            room.map(|room| (admitted, room)).ok_or(Unstorable::NoRoom)
        });
        match begun {
            Ok((admitted, room)) => {
                let key = self.wanted.route.key;
                let Admitted { head, variance } = admitted;
                let is_private = head.freshness.always_revalidate;
                let own = variance.as_ref().map_or(key, |(_, variant)| key.variant(variant));
                let fill = self.shared.parts.store.begin(key, variance.clone(), head, room);
                self.remember_storable(variance);
                let outcome = if is_private { Outcome::OnYourOwn } else { Outcome::Settled };
                Some(self.fill(outcome, (own, fill), answer))
            }
            Err(reason) if !self.wanted.is_authorized() && may_be_shared(&answer, reason) => {
                self.share(answer, born, stale.as_ref(), reason)
            }
            Err(reason) => {
                self.unstorable(reason, answer, stale.as_ref());
                None
            }
        }
    }

    /// A refusal that is not stored, but answers all who waited for it: players that ask too early must not all reach
    /// the origin.
    fn share(
        mut self,
        answer: Answer,
        born: u64,
        stale: Option<&Confirmable>,
        reason: Unstorable,
    ) -> Option<Pump> {
        let circumstances = self.circumstances(&answer, born, &Method::GET);
        let head = admit::for_the_moment(answer.status, &answer.headers, &circumstances);
        let Some(room) = self.shared.parts.store.reserve(head.length) else {
            self.unstorable(reason, answer, stale);
            return None;
        };
        self.shared.parts.metrics.unstorable.with_label_values(&[reason.as_str()]).inc();
        let (store, key) = (&self.shared.parts.store, self.wanted.route.key);
        if let Some(stale) = stale {
            store.remove(stale.key, stale.fill);
        }
        let fill = store.begin(key, None, head, room);
        let (found, forward) = (found(key, &fill), Forward::of(&answer));
        self.settle_now(Outcome::Settled, Ok(Fetched::Stored(found, forward, None)));
        let is_wanted_anyway = self.is_wanted_anyway;
        Some(self.pump(fill, answer, is_wanted_anyway).for_the_moment())
    }

    /// A part of the resource that was asked for.
    fn part(&mut self, answer: Answer, born: u64, aligned: Aligned) -> Next {
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
    async fn last(&mut self, mut answer: Answer, born: u64, asked: Instead) -> Next {
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
    fn in_slices(mut self, answer: &Answer, born: u64, aligned: Aligned) -> Option<Pump> {
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

    fn fill(mut self, outcome: Outcome, (key, fill): (Key, Fill), answer: Answer) -> Pump {
        let mut forward = Forward::of(&answer);
        forward.is_stored = true;
        forward.withheld = kept::withheld(&answer.headers);
        let found = found(key, &fill);
        let relays = &self.shared.relays;
        let relay = fill.head().length.is_none().then(|| relays.begin(fill.id()));
        let receiving = relay.as_ref().and_then(|_| relays.join(fill.id()));
        self.settle_now(outcome, Ok(Fetched::Stored(found, forward, receiving)));
        let is_wanted_anyway = self.is_wanted_anyway;
        self.pump(fill, answer, is_wanted_anyway).with_relay(relay)
    }

    fn pump(&self, fill: Fill, answer: Answer, is_wanted_anyway: bool) -> Pump {
        let (shared, wanted) = (self.shared.clone(), self.wanted.clone());
        Pump::new(shared, wanted, fill, answer, is_wanted_anyway)
    }

    /// An answer that nobody else gets.
    fn unstorable(mut self, reason: Unstorable, answer: Answer, stale: Option<&Confirmable>) {
        self.note_unstorable(reason);
        if let Some(stale) = stale.filter(|_| !is_error(answer.status)) {
            // What upstream says now stands in place of what is stored.
            self.shared.parts.store.remove(stale.key, stale.fill);
        }
        let outcome = match answer.status {
            status if is_error(status) => Outcome::Failed(Failed::answered(status)),
            _ => Outcome::OnYourOwn,
        };
        self.settle_now(outcome, Ok(Fetched::Passed(Box::new(answer), Some(reason))));
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

    fn grew_too_large(&self) -> bool {
        let known = self.shared.unstorable.get(&self.wanted.route.key);
        known == Some(Unstorable::Size.as_str())
    }

    fn note_unstorable(&self, reason: Unstorable) {
        let reason_word = reason.as_str();
        self.shared.parts.metrics.unstorable.with_label_values(&[reason_word]).inc();
        // For want of room it may be stored the next time.
        if reason != Unstorable::NoRoom {
            self.shared.unstorable.note(self.wanted.route.key, reason_word);
        }
    }

    fn remember_storable(&self, variance: Option<(Vary, [u8; 16])>) {
        let key = self.wanted.route.key;
        self.shared.unstorable.forget(&key);
        match variance {
            Some((vary, _)) => self.shared.varies.note(key, vary),
            None => self.shared.varies.forget(&key),
        }
    }

    fn circumstances<'a>(
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

    fn bytes_max(&self) -> u64 {
        self.shared.bytes_max(&self.wanted.route)
    }

    fn fail(mut self, failed: Failed) {
        self.settle_now(Outcome::Failed(failed), Err(failed));
    }

    fn settle(mut self, outcome: Outcome, told: Result<Fetched, Failed>) {
        self.settle_now(outcome, told);
    }

    fn settle_now(&mut self, outcome: Outcome, told: Result<Fetched, Failed>) {
        if let Some(seat) = self.seat.take() {
            seat.vacate(outcome);
        }
        if let Some(reply) = self.reply.take() {
            // The client may be gone.
            let _ = reply.send(told);
        }
    }
}

/// What comes after a part.
enum Next {
    Pump(Box<Pump>),
    Again,
    Done,
}

/// A HEAD for something that is stored stale: its answer may update or outdate it (RFC 9111 section 4.3.5).
pub(super) async fn head_request(
    shared: &Shared,
    wanted: &Wanted,
    stored: &Confirmable,
    interim: Option<Interim>,
) -> Result<Answer, Failed> {
    let born = shared.born(&wanted.route);
    let headers = wanted.unconditional();
    let question = Question { method: Method::HEAD, headers, body: None, interim };
    let asked = shared.ask(wanted, question).await;
    let answer = asked.map_err(Failed::without_answer)?;
    if is_error(answer.status) && stored.on_error {
        return Err(Failed::answered(answer.status));
    }
    let store = &shared.parts.store;
    let is_gone = matches!(answer.status.as_u16(), 404 | 410);
    if is_gone {
        store.remove(stored.key, stored.fill);
    } else if answer.status == stored.head.status {
        match confirm::by_head(&stored.head.headers, stored.head.length, &answer.headers) {
            ByHead::Outdated => store.remove(stored.key, stored.fill),
            ByHead::Update(headers) => {
                let circumstances = Circumstances {
                    wanted,
                    method: &Method::GET,
                    born,
                    asked_at: answer.asked_at,
                    answered_at: answer.answered_at,
                    bytes_max: shared.bytes_max(&wanted.route),
                };
                let old = &stored.head;
                let updated =
                    admit::admit(old.status, headers, old.extent, old.length, &circumstances);
                if let Ok(Admitted { mut head, .. }) = updated {
                    (head.created, head.vary) = (old.created, old.vary.clone());
                    store.refresh(stored.key, stored.fill, head);
                }
            }
        }
    }
    Ok(answer)
}

/// Answers that say that upstream cannot answer now.
pub(super) fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

/// Whether an answer that is not stored may answer those who waited for it: it refuses, and it does so for everybody.
fn may_be_shared(answer: &Answer, reason: Unstorable) -> bool {
    let is_for_all =
        matches!(reason, Unstorable::Status | Unstorable::NoFreshness | Unstorable::LiveEdge);
    let is_refusal = matches!(answer.status.as_u16(), 404 | 410 | 416 | 425 | 429);
    is_for_all && is_refusal && !answer.headers.contains_key(header::SET_COOKIE)
}

/// Stores the head of a resource whose body stands in slices.
fn sliced_head(store: &Store, key: Key, whole: Admitted, none: Reservation) -> Option<Found> {
    let own = whole.variance.as_ref().map_or(key, |(_, variant)| key.variant(variant));
    let fill = store.begin(key, whole.variance, whole.head, none);
    let found = found(own, &fill);
    fill.finish().ok().map(|_| found)
}

/// A reader of a fill, from its beginning.
fn found(key: Key, fill: &Fill) -> Found {
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

/// The stored head with what a 304 brings, for one answer.
fn merged_head(stored: &Head, answer: &Answer, circumstances: &Circumstances<'_>) -> Head {
    let merged = confirm::merge(&stored.headers, &answer.headers);
    let mut head = stored.clone();
    head.freshness.received_at = circumstances.answered_at;
    head.freshness.initial_age = std::time::Duration::ZERO;
    head.public = admit::public(&merged);
    head.headers = merged;
    debug_assert!(matches!(head.extent, Extent::Whole | Extent::Sliced { .. }));
    head
}
