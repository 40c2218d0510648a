//! How long a response is fresh: what it says itself, else what the policy says, else a guess (RFC 9111 4.2).
//!
//! Pure. Invariant: the origin's word counts before the policy's, the policy's before a guess.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use tidegate_contract::property::CachePolicy;

use super::{
    arrival::Arrival,
    date,
    governing::{Governing, Source},
    media_class::MediaClass,
    storable::{is_heuristically_cacheable, is_temporary},
};

/// A freshness lifetime and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// The response itself.
    Said(Duration),
    /// The policy, or a guess.
    Given(Duration),
    /// Nobody.
    Unsaid,
}

impl Lifetime {
    /// Of a response that may be stored.
    pub(super) fn of(arrival: &Arrival<'_>, governing: &Governing, policy: &CachePolicy) -> Self {
        let said = explicit(arrival, governing);
        let lifetime = match said {
            Some(said) => Self::Said(said),
            None if governing.directives.no_cache => Self::Said(Duration::ZERO),
            None => by_policy(arrival, policy)
                .or_else(|| guess(arrival, governing, policy))
                .map_or(Self::Unsaid, Self::Given),
        };
        lifetime.capped(arrival, policy)
    }

    /// The duration; nobody's is zero.
    pub(super) fn duration(self) -> Duration {
        match self {
            Self::Said(duration) | Self::Given(duration) => duration,
            Self::Unsaid => Duration::ZERO,
        }
    }

    /// What is missing at the live edge may appear any moment, whatever a general rule of the origin says.
    fn capped(self, arrival: &Arrival<'_>, policy: &CachePolicy) -> Self {
        if !arrival.class.is_media() || !is_temporary(arrival.status) {
            return self;
        }
        let max = policy.live_edge_negative_max;
        match self {
            Self::Said(duration) => Self::Said(duration.min(max)),
            Self::Given(duration) => Self::Given(duration.min(max)),
            Self::Unsaid => Self::Unsaid,
        }
    }
}

/// RFC 9111 4.2.1. Where a targeted header governs, `Expires` does not count (RFC 9213 2.2).
fn explicit(arrival: &Arrival<'_>, governing: &Governing) -> Option<Duration> {
    let Governing { directives, source } = governing;
    let said = directives.s_maxage.or(directives.max_age);
    let is_plain = *source == Source::CacheControl;
    said.or_else(|| is_plain.then(|| expires(arrival.headers, arrival.received_at)).flatten())
}

/// `Expires` counted from `Date`; one that cannot be read is in the past (RFC 9111 section 5.3).
fn expires(headers: &HeaderMap, received_at: SystemTime) -> Option<Duration> {
    let value = headers.get(header::EXPIRES)?;
    let from = date::of(headers, &header::DATE).unwrap_or(received_at);
    let until = date::parse(value.as_bytes());
    Some(until.and_then(|until| until.duration_since(from).ok()).unwrap_or_default())
}

fn by_policy(arrival: &Arrival<'_>, policy: &CachePolicy) -> Option<Duration> {
    let status = arrival.status;
    let negative = policy.negative_ttl.iter().find(|entry| entry.status == status.as_u16());
    if let Some(negative) = negative {
        return Some(negative.ttl);
    }
    if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let by_class = match arrival.class {
        MediaClass::Manifest => Some(policy.media_ttl.manifest),
        MediaClass::Init => Some(policy.media_ttl.init),
        MediaClass::Segment => Some(policy.media_ttl.segment),
        MediaClass::Part => Some(policy.media_ttl.part),
        MediaClass::Other => None,
    };
    by_class.filter(|_| policy.media_defaults).or(policy.default_ttl)
}

/// A tenth of the time since it was changed last (RFC 9111 4.2.2).
fn guess(arrival: &Arrival<'_>, governing: &Governing, policy: &CachePolicy) -> Option<Duration> {
    let is_guessable = is_heuristically_cacheable(arrival.status) || governing.directives.public;
    // Who writes Pragma writes for caches older than Cache-Control, and wants no guesses.
    let is_pragmatic = governing.source == Source::CacheControl
        && !arrival.headers.contains_key(header::CACHE_CONTROL)
        && arrival.headers.contains_key(header::PRAGMA);
    if !policy.heuristic || !is_guessable || is_pragmatic || arrival.class.is_live_edge() {
        return None;
    }
    let changed = date::of(arrival.headers, &header::LAST_MODIFIED)?;
    let made = date::of(arrival.headers, &header::DATE).unwrap_or(arrival.received_at);
    let unchanged_for = made.duration_since(changed).ok()?;
    Some((unchanged_for / HEURISTIC_PART).min(HEURISTIC_MAX))
}

const HEURISTIC_PART: u32 = 10;
/// RFC 9111 4.2.2 gives no bound; what a guess can do wrong, it does for a day at most.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);
