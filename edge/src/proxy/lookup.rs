//! What a stored response is good for, in Pingora's words.
//!
//! The decision is made in `cache::reuse`; here its circumstances are gathered and its outcome translated.
//! Invariant: Pingora's own idea of freshness is never used.

use std::time::SystemTime;

use pingora::cache::ForcedFreshness;

use super::{
    exchange::{Exchange, FoundHead},
    storage::{Lookup, StoreAdapter},
};
use crate::cache::{
    Config,
    lease::Lease,
    reuse::{Question, Reuse, decide},
    wishes::Wishes,
};

/// Decides about a stored response and notes it in the exchange.
pub(super) fn judge(
    lookup: &Lookup,
    exchange: &mut Exchange,
    adapter: &StoreAdapter,
    lease: &Lease,
    config: &Config,
    now: SystemTime,
) -> Reuse {
    let freshness = &lookup.head.freshness;
    let question = Question {
        now,
        freshness,
        verdict: adapter.store().verdict(&lookup.head),
        is_certain: freshness.is_immutable || lease.is_certain(now),
        uncertain_age_max: config.uncertain_age_max,
        waited_for_it: exchange.began_at <= freshness.received_at,
        is_for_child: exchange.child.is_some(),
        soft_window: config.soft_purge_window,
        wishes: Wishes::default(),
    };
    let reuse = decide(&question);
    exchange.found =
        Some(FoundHead { freshness: *freshness, reuse, is_in_flight: lookup.is_in_flight });
    reuse
}

/// The decision as Pingora takes it. A background refresh holds the resource's lock already, and Pingora would
/// have it wait for itself if it were told of a miss.
#[must_use]
pub(super) fn forced(reuse: Reuse, is_background: bool) -> ForcedFreshness {
    match reuse {
        Reuse::Serve => ForcedFreshness::ForceFresh,
        Reuse::ServeAndRevalidate | Reuse::Revalidate { .. } => {
            ForcedFreshness::ForceExpiredServeStale { expired_at: None }
        }
        Reuse::Refetch if is_background => ForcedFreshness::ForceExpired,
        Reuse::Refetch => ForcedFreshness::ForceMiss,
    }
}

/// Whether what was found may be served although it is stale: while it is revalidated, or after upstream failed.
#[must_use]
pub(super) fn may_serve_stale(exchange: &Exchange, has_failed: bool) -> bool {
    match exchange.found.map(|found| found.reuse) {
        Some(Reuse::ServeAndRevalidate) => true,
        Some(Reuse::Revalidate { on_error, .. }) => has_failed && on_error,
        Some(Reuse::Serve | Reuse::Refetch) | None => false,
    }
}

/// Whether upstream must not be asked to confirm what is stored: it was purged, validators and all.
#[must_use]
pub(super) fn must_not_confirm(exchange: &Exchange) -> bool {
    exchange.found.is_some_and(|found| found.reuse == Reuse::Refetch)
}
