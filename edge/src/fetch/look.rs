//! What is stored for a request, and what it is good for.
//!
//! Never waits. The decision is made in `cache::reuse`; here its circumstances are gathered. Invariant: what was
//! hard-purged is taken out of the store here, and nothing of it is used for the next answer, not even its validators.

use std::time::SystemTime;

use http::HeaderMap;

use super::{
    shared::Shared,
    wanted::{Failed, Route, Wanted},
};
use crate::cache::{
    reuse::{Question, Reuse, decide},
    store::{Found, Lookup, Stored},
    wishes::Wishes,
};

/// What a lookup depends on, beside the store.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The resource.
    pub route: &'a Route,
    /// The request's headers, which choose the variant.
    pub headers: &'a HeaderMap,
    /// What the client says about the freshness that it wants.
    pub wishes: &'a Wishes,
    /// When the request was made.
    pub began_at: SystemTime,
    /// Whether another node asks for its own cache.
    pub is_for_child: bool,
    /// The time of day.
    pub now: SystemTime,
}

/// What was found, and what it is good for.
pub enum Look {
    /// It answers.
    Serve(Found),
    /// It answers, stale, while it is revalidated.
    ServeStale(Found),
    /// Upstream has to be asked first.
    Revalidate(Stale),
    /// It is on disk, and may be good for something.
    OnDisk(Stored),
    /// Nothing that counts.
    Nothing,
}

/// Something stored that upstream has to confirm.
pub struct Stale {
    /// What is stored.
    pub found: Found,
    /// Whether it may be served when upstream answers that it cannot.
    pub on_error: bool,
    /// Whether it may be served when upstream does not answer.
    pub if_unreachable: bool,
}

impl Stale {
    /// Whether it may be served after a failure.
    #[must_use]
    pub(super) fn is_good_after(&self, failed: &Failed) -> bool {
        if failed.status.is_some() { self.on_error } else { self.on_error || self.if_unreachable }
    }
}

impl<'a> Asked<'a> {
    pub(super) fn of(wanted: &'a Wanted, now: SystemTime) -> Self {
        Self {
            route: &wanted.route,
            headers: &wanted.headers,
            wishes: &wanted.wishes,
            began_at: wanted.began_at,
            is_for_child: wanted.is_for_child,
            now,
        }
    }
}

/// Looks a request up in memory and among the fills in flight.
pub(super) fn look(shared: &Shared, asked: &Asked<'_>) -> Look {
    let vary = &asked.route.property().cache.vary;
    match shared.parts.store.lookup(&asked.route.key, asked.headers, vary) {
        Lookup::Found(found) => judge(shared, asked, found),
        Lookup::OnDisk(stored) => Look::OnDisk(stored),
        Lookup::Nothing => Look::Nothing,
    }
}

/// Decides what something stored is good for.
pub(super) fn judge(shared: &Shared, asked: &Asked<'_>, found: Found) -> Look {
    match decide(&question(shared, asked, &found)) {
        Reuse::Serve => Look::Serve(found),
        Reuse::ServeAndRevalidate => Look::ServeStale(found),
        Reuse::Revalidate { on_error, if_unreachable } => {
            Look::Revalidate(Stale { found, on_error, if_unreachable })
        }
        Reuse::Refetch => {
            shared.parts.store.remove(found.key, found.fill);
            Look::Nothing
        }
    }
}

/// Everything that the decision depends on.
pub(super) fn question<'a>(shared: &Shared, asked: &Asked<'_>, found: &'a Found) -> Question<'a> {
    let (parts, freshness) = (&shared.parts, &found.head.freshness);
    Question {
        now: asked.now,
        freshness,
        verdict: parts.store.verdict(&found.head),
        is_certain: freshness.is_immutable || parts.lease.is_certain(asked.now),
        uncertain_age_max: parts.cache.uncertain_age_max,
        waited_for_it: asked.began_at <= freshness.received_at,
        is_for_child: asked.is_for_child,
        soft_window: parts.cache.soft_purge_window,
        wishes: *asked.wishes,
    }
}
