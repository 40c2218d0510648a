//! What a video sees of the outside: the time, the settings, what is known of the link, and a box for what it wants.
//!
//! Invariant: every request leaves with the session's token and its client data, in one place.

use std::{collections::VecDeque, time::Duration};

use rand::rngs::Xoshiro256PlusPlus;
use url::Url;
use uuid::Uuid;

use super::{
    abr::Estimate,
    behaviour::{Behaviour, CmcdMode},
    cmcd::Cmcd,
    event::{Action, FetchId, Request},
    plan::SessionToken,
};
use crate::kind::ObjectKind;

/// The outside, for the length of one call.
pub(super) struct World<'a> {
    pub(super) now: Duration,
    pub(super) behaviour: &'a Behaviour,
    pub(super) session: &'a Session,
    pub(super) estimate: &'a mut Estimate,
    /// Bits per second of the link, if the run told.
    pub(super) link_rate: Option<u64>,
    pub(super) rng: &'a mut Xoshiro256PlusPlus,
    pub(super) outbox: &'a mut Outbox,
}

/// What stays the same for a session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: Uuid,
    pub(super) token: Option<SessionToken>,
    /// Milliseconds since 1970 at the session's beginning.
    pub(super) wall_at_start_ms: i64,
}

/// What the driver has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) actions: VecDeque<Action>,
    fetches: u64,
}

/// A request before it is dressed.
pub(super) struct Ask<'a> {
    pub(super) kind: ObjectKind,
    pub(super) url: &'a Url,
    pub(super) range: Option<(u64, Option<u64>)>,
    pub(super) media: Option<Duration>,
    pub(super) urgency: u8,
    pub(super) timeout: Duration,
    /// Made only when it is wanted.
    pub(super) cmcd: &'a dyn Fn() -> Cmcd,
}

impl World<'_> {
    /// Sends a request.
    pub(super) fn ask(&mut self, ask: Ask<'_>) -> FetchId {
        let id = FetchId(self.outbox.fetches);
        self.outbox.fetches += 1;
        let token = self.session.token.as_ref();
        let mut url = token.map_or_else(|| ask.url.clone(), |token| token.added_to(ask.url));
        let mut headers: Vec<_> = token.and_then(SessionToken::header).into_iter().collect();
        match self.behaviour.cmcd {
            CmcdMode::Off => {}
            CmcdMode::Header => headers.extend((ask.cmcd)().headers()),
            CmcdMode::Query => url = (ask.cmcd)().added_to(&url),
        }
        let Ask { kind, range, media, urgency, timeout, .. } = ask;
        let request = Request { id, kind, url, range, media, headers, urgency, timeout };
        self.outbox.actions.push_back(Action::Fetch(request));
        id
    }

    /// Gives a request up.
    pub(super) fn cancel(&mut self, id: FetchId) {
        self.outbox.actions.push_back(Action::Cancel(id));
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_ms(&self) -> i64 {
        self.session.wall_at_start_ms.saturating_add(self.now.as_millis() as i64)
    }
}
