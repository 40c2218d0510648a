//! Whether a response may be stored, how long it is fresh, and how long it may be served stale (RFC 9111, RFC 5861).
//!
//! Pure: everything is decided from the response, the property's policy and two points in time. The origin's word
//! counts first, the policy only where it is silent. Invariant: a tier never adds to the freshness that an upstream
//! tier has used up; the age at arrival is subtracted.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use tidegate_contract::property::CachePolicy;

use super::directive::{Directives, seconds};

/// A response as it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whether the request carried `Authorization`.
    pub is_authorized: bool,
    /// When it was asked for.
    pub requested_at: SystemTime,
    /// When its head arrived.
    pub received_at: SystemTime,
}

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
    /// Whether it may never be served without asking upstream (`no-cache`).
    pub always_revalidate: bool,
    /// Whether nothing but a fresh response may ever be served (`must-revalidate`).
    pub forbids_stale: bool,
    /// Whether the resource behind it never changes (`immutable`).
    pub is_immutable: bool,
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstorable {
    /// A status that this cache does not store.
    Status,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request was authorized and the response does not allow sharing.
    Authorized,
    /// A cookie is set and the response does not allow sharing.
    Cookie,
    /// `Vary: *`.
    VaryAny,
    /// Neither freshness nor a validator with a window: it could never be reused.
    NoFreshness,
    /// More surrogate keys than allowed, or broken ones: it could not be purged.
    SurrogateKey,
    /// No room among the fills in flight.
    NoRoom,
    /// Larger than the largest object.
    Size,
}

impl Unstorable {
    /// The reason in logs and in `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorized => "authorized",
            Self::Cookie => "cookie",
            Self::VaryAny => "vary-any",
            Self::NoFreshness => "no-freshness",
            Self::SurrogateKey => "surrogate-key",
            Self::NoRoom => "no-room",
            Self::Size => "size",
        }
    }
}

/// Decides whether a response may be stored and for how long it counts.
///
/// # Errors
/// [`Unstorable`] is the first rule that forbids it.
pub fn judge(arrival: &Arrival<'_>, policy: &CachePolicy) -> Result<Freshness, Unstorable> {
    let directives = Directives::read(arrival.headers);
    may_store(arrival, &directives)?;
    let explicit = lifetime(arrival.headers, &directives);
    let by_default = (arrival.status == StatusCode::OK && !directives.no_cache)
        .then_some(policy.default_ttl)
        .flatten();
    let lifetime = explicit.or(by_default).ok_or(Unstorable::NoFreshness)?;
    let freshness = Freshness {
        received_at: arrival.received_at,
        initial_age: initial_age(arrival),
        lifetime,
        stale_while_revalidate: window(
            &directives,
            lifetime,
            directives.stale_while_revalidate,
            policy.stale_while_revalidate,
        ),
        stale_if_error: window(
            &directives,
            lifetime,
            directives.stale_if_error,
            policy.stale_if_error,
        ),
        always_revalidate: directives.no_cache,
        forbids_stale: directives.must_revalidate,
        is_immutable: directives.immutable,
    };
    let is_ever_fresh = freshness.lifetime > freshness.initial_age && !directives.no_cache;
    if is_ever_fresh || has_validator(arrival.headers) || freshness.has_window() {
        Ok(freshness)
    } else {
        Err(Unstorable::NoFreshness)
    }
}

fn may_store(arrival: &Arrival<'_>, directives: &Directives) -> Result<(), Unstorable> {
    let is_shared =
        directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    let sets_cookie = arrival.headers.contains_key(header::SET_COOKIE);
    let rules = [
        (!is_storable(arrival.status), Unstorable::Status),
        (directives.no_store, Unstorable::NoStore),
        (directives.private, Unstorable::Private),
        (arrival.is_authorized && !is_shared, Unstorable::Authorized),
        (sets_cookie && !directives.public, Unstorable::Cookie),
        (varies_by_anything(arrival.headers), Unstorable::VaryAny),
    ];
    rules.into_iter().find(|(forbids, _)| *forbids).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// What the response itself says of its lifetime. `no-cache` without any is a lifetime of zero.
fn lifetime(headers: &HeaderMap, directives: &Directives) -> Option<Duration> {
    let said = directives.s_maxage.or(directives.max_age).or_else(|| expires(headers));
    said.or(directives.no_cache.then_some(Duration::ZERO))
}

/// `Expires` counted from `Date`; one that cannot be read is in the past (RFC 9111 section 5.3).
fn expires(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::EXPIRES)?;
    let lifetime = || {
        let expires = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
        expires.duration_since(date(headers)?).ok()
    };
    Some(lifetime().unwrap_or_default())
}

/// RFC 9111 section 4.2.3.
fn initial_age(arrival: &Arrival<'_>) -> Duration {
    let since = |from: SystemTime| arrival.received_at.duration_since(from).unwrap_or_default();
    let apparent = date(arrival.headers).map(since).unwrap_or_default();
    let said = seconds(arrival.headers, &header::AGE).unwrap_or_default();
    // `Date` has whole seconds: less than one says nothing.
    let apparent = if apparent < Duration::from_secs(1) { Duration::ZERO } else { apparent };
    apparent.max(said.saturating_add(since(arrival.requested_at)))
}

/// A window in which a stale response may be served. One that the response itself grants counts always; the
/// policy's does not where `s-maxage` (which RFC 9111 reads as "revalidate") or a lifetime of zero speak against it.
fn window(
    directives: &Directives,
    lifetime: Duration,
    said: Option<Duration>,
    by_policy: Duration,
) -> Duration {
    if directives.must_revalidate || directives.no_cache {
        return Duration::ZERO;
    }
    let is_silent = directives.s_maxage.is_none() && !lifetime.is_zero();
    said.unwrap_or(if is_silent { by_policy } else { Duration::ZERO })
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

fn varies_by_anything(headers: &HeaderMap) -> bool {
    let names = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    names.flat_map(|value| value.split(',')).any(|name| name.trim() == "*")
}

/// Final statuses whose meaning this cache knows. 206 is not among them: a fill asks for the whole.
fn is_storable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 501
    )
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

    fn is_within(&self, window: Duration, now: SystemTime) -> bool {
        !window.is_zero() && self.age(now) < self.lifetime.saturating_add(window)
    }

    fn has_window(&self) -> bool {
        !self.stale_while_revalidate.is_zero() || !self.stale_if_error.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(parse).collect()
    }

    fn judge_at(status: u16, map: &HeaderMap, authorized: bool) -> Result<Freshness, Unstorable> {
        let policy = CachePolicy {
            stale_while_revalidate: Duration::from_secs(7),
            ..CachePolicy::default()
        };
        let arrival = Arrival {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            is_authorized: authorized,
            requested_at: at(0),
            received_at: at(0),
        };
        judge(&arrival, &policy)
    }

    fn cache_control(value: &str) -> Result<Freshness, Unstorable> {
        judge_at(200, &headers(&[("cache-control", value)]), false)
    }

    #[test]
    fn the_lifetime_is_the_most_specific_that_the_response_says() {
        let date = httpdate::fmt_http_date(at(0));
        let expires = httpdate::fmt_http_date(at(90));
        for (cache_control, expected) in [
            ("max-age=60", Some(60)),
            ("max-age=60, s-maxage=30", Some(30)),
            ("public", Some(90)),
            ("", Some(90)),
        ] {
            let map = headers(&[
                ("cache-control", cache_control),
                ("date", &date),
                ("expires", &expires),
            ]);
            let lifetime = judge_at(200, &map, false).ok().map(|f| f.lifetime.as_secs());
            assert_eq!(lifetime, expected, "{cache_control:?}");
        }
        let past = headers(&[("expires", "0"), ("etag", "\"a\"")]);
        assert_eq!(judge_at(200, &past, false).unwrap().lifetime, Duration::ZERO);
    }

    #[test]
    fn what_must_not_be_stored_is_not() {
        for (status, pairs, authorized, expected) in [
            (200, vec![("cache-control", "no-store, max-age=9")], false, Unstorable::NoStore),
            (200, vec![("cache-control", "private, max-age=9")], false, Unstorable::Private),
            (200, vec![("cache-control", "max-age=9")], true, Unstorable::Authorized),
            (
                200,
                vec![("cache-control", "max-age=9"), ("set-cookie", "a=b")],
                false,
                Unstorable::Cookie,
            ),
            (
                200,
                vec![("cache-control", "max-age=9"), ("vary", "a, *")],
                false,
                Unstorable::VaryAny,
            ),
            (206, vec![("cache-control", "max-age=9")], false, Unstorable::Status),
            (500, vec![("cache-control", "max-age=9")], false, Unstorable::Status),
            (200, vec![], false, Unstorable::NoFreshness),
            (200, vec![("cache-control", "max-age=0")], false, Unstorable::NoFreshness),
            (200, vec![("cache-control", "no-cache")], false, Unstorable::NoFreshness),
            (404, vec![("etag", "\"a\"")], false, Unstorable::NoFreshness),
        ] {
            assert_eq!(judge_at(status, &headers(&pairs), authorized), Err(expected), "{pairs:?}");
        }
        for shared in ["public, max-age=9", "s-maxage=9", "must-revalidate, max-age=9"] {
            let map = headers(&[("cache-control", shared)]);
            assert!(judge_at(200, &map, true).is_ok(), "{shared}");
        }
        assert!(judge_at(404, &headers(&[("cache-control", "max-age=9")]), false).is_ok());
    }

    #[test]
    fn stale_windows_follow_the_response_before_the_policy() {
        for (value, swr, sie) in [
            ("max-age=1", 7, 0),
            ("max-age=1, stale-while-revalidate=3, stale-if-error=4", 3, 4),
            ("s-maxage=1", 0, 0),
            ("max-age=0, stale-while-revalidate=3", 3, 0),
            ("s-maxage=1, stale-while-revalidate=3", 3, 0),
            ("max-age=1, must-revalidate, stale-while-revalidate=3", 0, 0),
        ] {
            let freshness = cache_control(value).unwrap();
            assert_eq!(freshness.stale_while_revalidate.as_secs(), swr, "{value}");
            assert_eq!(freshness.stale_if_error.as_secs(), sie, "{value}");
        }
    }

    #[test]
    fn a_default_lifetime_counts_only_where_the_response_is_silent() {
        let policy =
            CachePolicy { default_ttl: Some(Duration::from_secs(5)), ..CachePolicy::default() };
        let lifetime = |status: u16, value: Option<&str>| {
            let map = value.map(|v| headers(&[("cache-control", v)])).unwrap_or_default();
            let arrival = Arrival {
                status: StatusCode::from_u16(status).unwrap(),
                headers: &map,
                is_authorized: false,
                requested_at: at(0),
                received_at: at(0),
            };
            judge(&arrival, &policy).map(|f| f.lifetime.as_secs())
        };
        assert_eq!(lifetime(200, None), Ok(5));
        assert_eq!(lifetime(200, Some("max-age=60")), Ok(60));
        assert_eq!(lifetime(200, Some("no-cache")), Err(Unstorable::NoFreshness));
        assert_eq!(lifetime(404, None), Err(Unstorable::NoFreshness));
    }

    #[test]
    fn the_age_that_upstream_tiers_used_up_is_subtracted() {
        let date = httpdate::fmt_http_date(at(0) - Duration::from_secs(20));
        for (pairs, age) in [
            (vec![("cache-control", "max-age=60")], 0),
            (vec![("cache-control", "max-age=60"), ("age", "50")], 50),
            (vec![("cache-control", "max-age=60"), ("date", &date)], 20),
            (vec![("cache-control", "max-age=60"), ("age", "50"), ("date", &date)], 50),
        ] {
            let freshness = judge_at(200, &headers(&pairs), false).unwrap();
            assert_eq!(freshness.age(at(0)).as_secs(), age, "{pairs:?}");
            assert_eq!(freshness.ttl_s(at(10)), 60 - age as i64 - 10);
        }
        let slow = headers(&[("cache-control", "max-age=60"), ("age", "1")]);
        let arrival = Arrival {
            status: StatusCode::OK,
            headers: &slow,
            is_authorized: false,
            requested_at: at(0),
            received_at: at(4),
        };
        let freshness = judge(&arrival, &CachePolicy::default()).unwrap();
        assert_eq!(freshness.initial_age.as_secs(), 5, "the time upstream took counts, too");
    }

    proptest! {
        #[test]
        fn what_is_stale_never_becomes_fresh_again(
            lifetime in 0_u64..100, window in 0_u64..100, first in 0_u64..300, later in 0_u64..300,
        ) {
            let value = format!("max-age={lifetime}, stale-while-revalidate={window}");
            let map = headers(&[("cache-control", &value), ("etag", "\"a\"")]);
            let freshness = judge_at(200, &map, false).unwrap();
            let (first, later) = (at(first.min(later)), at(first.max(later)));
            prop_assert!(freshness.is_fresh(first) || !freshness.is_fresh(later));
            prop_assert!(
                freshness.may_serve_while_revalidating(first)
                    || !freshness.may_serve_while_revalidating(later)
            );
            prop_assert!(freshness.age(first) <= freshness.age(later));
        }
    }
}
