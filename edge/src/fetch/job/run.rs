//! The way of an ask: what upstream answers, and what becomes of it.
//!
//! Invariant: whoever waits is told exactly once, before the first byte of the body is waited for; nothing is told to
//! others before it can be found in the store.

use http::{HeaderMap, Method, StatusCode, header};

use super::{
    parts::Next,
    task::{Confirmable, Fetched, Forward, Job, found, is_error},
};
use crate::{
    cache::{arrival::Unstorable, confirm, kept, key::Key, store::Fill},
    fetch::{
        admit::{self, Admitted},
        ahead::{self, Asked},
        collapse::Outcome,
        pump::Pump,
        slice::{Aligned, Instead},
        wanted::Failed,
    },
    upstream::Answer,
};

impl Job {
    /// Runs to the end of the answer; true when it was a live playlist that stands still.
    pub(in crate::fetch) async fn run(mut self) -> bool {
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
            if answer.status == StatusCode::NOT_MODIFIED {
                let Some(stale) = &self.stale else {
                    // Nothing was asked that this could be the answer to.
                    self.fail(Failed::beside_the_point(answer.status));
                    return false;
                };
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
}

/// Whether an answer that is not stored may answer those who waited for it: it refuses, and it does so for everybody.
fn may_be_shared(answer: &Answer, reason: Unstorable) -> bool {
    let is_for_all =
        matches!(reason, Unstorable::Status | Unstorable::NoFreshness | Unstorable::LiveEdge);
    let is_refusal = matches!(answer.status.as_u16(), 404 | 410 | 416 | 425 | 429);
    is_for_all && is_refusal && !answer.headers.contains_key(header::SET_COOKIE)
}
