//! Whether a response may be stored, how long it is fresh, and how long it may be served stale (RFC 9111, RFC 5861).
//!
//! Pure: everything is decided from the response, the property's policy and two points in time. The origin's word
//! counts first, the policy only where it is silent. Invariant: a tier never adds to the freshness that an upstream
//! tier has used up; the age at arrival is subtracted.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use tidegate_contract::property::CachePolicy;

pub use super::arrival::{Arrival, Unstorable};
use super::{
    date,
    directive::{Directives, seconds},
    governing::Governing,
    lifetime::Lifetime,
    storable::{is_heuristically_cacheable, may_store},
};

/// How long a stored response counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When its head arrived, or when upstream confirmed it last.
    pub received_at: SystemTime,
    /// How old it was then.
    pub initial_age: Duration,
    /// From which age on it is stale.
    pub lifetime: Duration,
    /// For how long after that it may be served while it is revalidated.
    pub stale_while_revalidate: Duration,
    /// For how long after that it may be served when upstream fails.
    pub stale_if_error: Duration,
    /// For how long after that it may be served when upstream gives no answer at all.
    pub stale_if_unreachable: Duration,
    /// Whether it may never be served without asking upstream (`no-cache`).
    pub always_revalidate: bool,
    /// Whether nothing but a fresh response may ever be served (`must-revalidate`).
    pub forbids_stale: bool,
    /// Whether the lifetime is for shared caches alone (`s-maxage`), past which no client may wish for it.
    pub is_for_shared: bool,
    /// Whether the resource behind it never changes (`immutable`).
    pub is_immutable: bool,
}

/// Decides whether a response may be stored and for how long it counts.
///
/// # Errors
/// [`Unstorable`] is the first rule that forbids it.
pub fn judge(arrival: &Arrival<'_>, policy: &CachePolicy) -> Result<Freshness, Unstorable> {
    let governing = Governing::of(arrival.headers);
    let directives = &governing.directives;
    may_store(arrival, &governing, policy)?;
    let lifetime = Lifetime::of(arrival, &governing, policy);
    let windows = Windows::of(arrival, directives, lifetime.duration(), policy);
    let freshness = Freshness {
        received_at: arrival.received_at,
        initial_age: initial_age(arrival),
        lifetime: lifetime.duration(),
        stale_while_revalidate: windows.while_revalidating,
        stale_if_error: windows.on_error,
        stale_if_unreachable: windows.unreachable,
        always_revalidate: directives.no_cache,
        forbids_stale: directives.must_revalidate || directives.proxy_revalidate,
        is_for_shared: directives.s_maxage.is_some(),
        is_immutable: directives.immutable,
    };
    let is_ever_fresh = freshness.lifetime > freshness.initial_age && !directives.no_cache;
    if is_ever_fresh || freshness.has_window() || can_be_confirmed(arrival, lifetime) {
        Ok(freshness)
    } else {
        Err(Unstorable::NoFreshness)
    }
}

/// Whether it is worth keeping although it is never fresh: upstream can be asked whether it still holds. Conditions
/// count only for responses that succeed (RFC 9110 13.2.1).
fn can_be_confirmed(arrival: &Arrival<'_>, lifetime: Lifetime) -> bool {
    let is_cacheable = lifetime != Lifetime::Unsaid || is_heuristically_cacheable(arrival.status);
    arrival.status.is_success() && is_cacheable && has_validator(arrival.headers)
}

/// RFC 9111 section 4.2.3.
fn initial_age(arrival: &Arrival<'_>) -> Duration {
    let since = |from: SystemTime| arrival.received_at.duration_since(from).unwrap_or_default();
    let apparent = date::of(arrival.headers, &header::DATE).map(since).unwrap_or_default();
    let said = seconds(arrival.headers, &header::AGE).unwrap_or_default();
    // `Date` has whole seconds: less than one says nothing.
    let apparent = if apparent < Duration::from_secs(1) { Duration::ZERO } else { apparent };
    apparent.max(said.saturating_add(since(arrival.requested_at)))
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// For how long a stale response may be served, and when.
struct Windows {
    while_revalidating: Duration,
    on_error: Duration,
    unreachable: Duration,
}

impl Windows {
    const NONE: Self = Self {
        while_revalidating: Duration::ZERO,
        on_error: Duration::ZERO,
        unreachable: Duration::ZERO,
    };

    /// A window that the response itself grants counts always; the policy's does not where `s-maxage` (which RFC 9111
    /// reads as "revalidate") or a lifetime of zero speak against it.
    fn of(
        arrival: &Arrival<'_>,
        directives: &Directives,
        lifetime: Duration,
        policy: &CachePolicy,
    ) -> Self {
        let is_forbidden =
            directives.must_revalidate || directives.proxy_revalidate || directives.no_cache;
        let is_media_error = arrival.class.is_media() && !is_answer(arrival);
        if is_forbidden || is_media_error || arrival.status.is_server_error() {
            return Self::NONE;
        }
        let is_silent = directives.s_maxage.is_none() && !lifetime.is_zero();
        let given = |window: Duration| if is_silent { window } else { Duration::ZERO };
        // What is asked for while it comes into being is of no use much later.
        let bounded = |window: Duration| {
            given(if arrival.class.is_live_edge() { window.min(lifetime) } else { window })
        };
        Self {
            while_revalidating: directives
                .stale_while_revalidate
                .unwrap_or_else(|| bounded(policy.stale_while_revalidate)),
            on_error: directives.stale_if_error.unwrap_or_else(|| given(policy.stale_if_error)),
            unreachable: directives
                .stale_if_error
                .unwrap_or_else(|| bounded(policy.stale_if_unreachable)),
        }
    }
}

fn is_answer(arrival: &Arrival<'_>) -> bool {
    !arrival.status.is_client_error() && !arrival.status.is_server_error()
}

impl Freshness {
    /// How old the response is (RFC 9111 section 4.2.3).
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age.saturating_add(self.resident(now))
    }

    /// How long ago it arrived or was confirmed.
    #[must_use]
    pub fn resident(&self, now: SystemTime) -> Duration {
        now.duration_since(self.received_at).unwrap_or_default()
    }

    /// Whether it is fresh.
    #[must_use]
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        !self.always_revalidate && self.age(now) < self.lifetime
    }

    /// The seconds that it stays fresh; negative when it is stale (RFC 9211 `ttl`).
    #[must_use]
    pub fn ttl_s(&self, now: SystemTime) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime).saturating_sub(seconds(self.age(now)))
    }

    /// Whether it may be served stale while it is revalidated.
    #[must_use]
    pub fn may_serve_while_revalidating(&self, now: SystemTime) -> bool {
        self.is_within(self.stale_while_revalidate, now)
    }

    /// Whether it may be served stale when upstream fails.
    #[must_use]
    pub fn may_serve_on_error(&self, now: SystemTime) -> bool {
        self.is_within(self.stale_if_error, now)
    }

    /// Whether it may be served stale when upstream gives no answer at all.
    #[must_use]
    pub fn may_serve_when_unreachable(&self, now: SystemTime) -> bool {
        self.is_within(self.stale_if_unreachable.max(self.stale_if_error), now)
    }

    /// Whether it may be served this long after it became stale because the client wishes so (`max-stale`).
    #[must_use]
    pub fn may_serve_on_wish(&self, window: Duration, now: SystemTime) -> bool {
        let is_forbidden = self.forbids_stale || self.always_revalidate || self.is_for_shared;
        !is_forbidden && self.is_within(window, now)
    }

    fn is_within(&self, window: Duration, now: SystemTime) -> bool {
        !window.is_zero() && self.age(now) < self.lifetime.saturating_add(window)
    }

    fn has_window(&self) -> bool {
        !self.stale_while_revalidate.is_zero() || !self.stale_if_error.is_zero()
    }
}
