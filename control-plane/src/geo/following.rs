//! One node of the DNS that follows: what it is told, in which order, and when it is given up.
//!
//! The fleet comes first and is always the newest; round trips that it is too slow for are lost, and counted. Invariant:
//! what waits for one node is bounded, and a node that takes nothing for [`SLOW_MAX`] is let go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_contract::geo_feed::FeedLine;
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::hub::{Told, line};

/// A node that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// What it calls itself, or its token where it does not.
    pub name: String,
    /// The public id of its token.
    pub token: String,
    /// The label of its token.
    pub label: String,
    /// The newest generation of questions that it knows.
    pub questions: u32,
}

/// A node that follows, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerView {
    /// What it calls itself.
    pub node: String,
    /// The label of its token.
    pub label: String,
    /// Since when it follows this replica.
    pub since_unix_ms: u64,
    /// The version of the release that it was told last; 0: none yet.
    pub version: u64,
    /// Round trips that it was too slow for.
    pub lost: u64,
}

/// What a node is told from.
pub(super) struct Sources {
    pub(super) fleet: watch::Receiver<Option<Arc<Told>>>,
    pub(super) round_trips: broadcast::Receiver<Bytes>,
    pub(super) questions: mpsc::Receiver<Bytes>,
}

/// What happens while it is told.
pub(super) enum Event<'a> {
    /// It has the newest fleet, now or again.
    Standing(&'a Told),
    /// Round trips were lost.
    Lost(u64),
}

impl Sources {
    /// Tells a node until it is gone, too slow, or everything ends.
    pub(super) async fn tell(mut self, to: mpsc::Sender<Bytes>, note: impl Fn(Event<'_>)) {
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.fleet.wait_for(Option::is_some).await.is_err() {
            return;
        }
        let mut told = None;
        self.fleet.mark_changed();
        let beat = line(&FeedLine::Beat {});
        loop {
            let next = tokio::select! {
                () = to.closed() => return,
                changed = self.fleet.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let Some(newest) = self.fleet.borrow_and_update().clone() else { continue };
                    let is_same = told.as_ref().is_some_and(|told: &Arc<Told>| told.is_as(&newest));
                    if !is_same && !send(&to, newest.line.clone()).await {
                        return;
                    }
                    note(Event::Standing(&newest));
                    told = Some(newest);
                    continue;
                }
                question = self.questions.recv() => match question {
                    Some(question) => question,
                    None => return,
                },
                batch = self.round_trips.recv() => match batch {
                    Ok(batch) => batch,
                    Err(broadcast::error::RecvError::Lagged(lost)) => {
                        note(Event::Lost(lost));
                        continue;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = beats.tick() => beat.clone(),
            };
            // Before the fleet there is nothing to be said.
            if told.is_none() {
                continue;
            }
            if !send(&to, next).await {
                return;
            }
            if let Some(told) = &told {
                note(Event::Standing(told));
            }
        }
    }
}

async fn send(to: &mpsc::Sender<Bytes>, line: Bytes) -> bool {
    timeout(SLOW_MAX, to.send(line)).await.is_ok_and(|sent| sent.is_ok())
}

/// The other side is taken for gone after a few that did not come.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A node that reads nothing for so long may as well connect anew.
const SLOW_MAX: Duration = Duration::from_secs(10);
