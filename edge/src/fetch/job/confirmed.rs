//! Answers that say that what is stored is still right, or what has changed of it (RFC 9111 4.3.4 and 4.3.5).
//!
//! Invariant: what is confirmed stays the variant as which it was stored.

use std::sync::Arc;

use http::Method;

use super::task::{Confirmable, Fetched, Forward, Job, is_error};
use crate::{
    cache::{
        confirm::{self, ByHead},
        object::{Extent, Head},
    },
    fetch::{
        admit::{self, Admitted, Circumstances},
        collapse::Outcome,
        shared::{Question, Shared},
        wanted::{Failed, Wanted},
    },
    upstream::{Answer, Interim},
};

impl Job {
    /// Upstream confirms what is stored; true when that is a live playlist that stands still.
    pub(super) fn confirmed(mut self, answer: &Answer, born: u64) -> bool {
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
}

/// A HEAD for something that is stored stale: its answer may update or outdate it (RFC 9111 section 4.3.5).
pub(in crate::fetch) async fn head_request(
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
