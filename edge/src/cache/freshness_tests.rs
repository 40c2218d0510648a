//! What the rules of freshness come to, case by case.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use proptest::prelude::*;
use tidegate_contract::property::{CachePolicy, MediaTtl, NegativeTtl, SetCookiePolicy};

use super::{
    freshness::{Arrival, Freshness, Unstorable, judge},
    media_class::MediaClass,
    testing::{at, date, headers},
};

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// The arrival of a 200 at 0, asked for at 0.
struct Case<'a> {
    status: u16,
    pairs: Pairs<'a>,
    is_authorized: bool,
    class: MediaClass,
    policy: CachePolicy,
    received_at: SystemTime,
}

impl Case<'_> {
    fn judge(&self) -> Result<Freshness, Unstorable> {
        let headers = headers(self.pairs);
        let arrival = Arrival {
            method: &Method::GET,
            status: StatusCode::from_u16(self.status).unwrap(),
            headers: &headers,
            is_authorized: self.is_authorized,
            requested_at: at(0),
            received_at: self.received_at,
            class: self.class,
        };
        judge(&arrival, &self.policy)
    }
}

fn case<'a>(status: u16, pairs: Pairs<'a>) -> Case<'a> {
    Case {
        status,
        pairs,
        is_authorized: false,
        class: MediaClass::Other,
        policy: CachePolicy::default(),
        received_at: at(0),
    }
}

fn lifetime_s(case: &Case<'_>) -> Result<u64, Unstorable> {
    case.judge().map(|freshness| freshness.lifetime.as_secs())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_lifetime_is_the_most_specific_that_the_response_says() {
    let (now, later, past) = (date(0), date(90), date(-90));
    for (cdn, surrogate, plain, expires, expected) in [
        ("max-age=4", "max-age=3", "max-age=1, s-maxage=2", &*later, Ok(4)),
        ("", "max-age=3", "max-age=1, s-maxage=2", &later, Ok(3)),
        ("", "", "max-age=1, s-maxage=2", &later, Ok(2)),
        ("", "", "max-age=1", &later, Ok(1)),
        ("", "", "max-age=60", &past, Ok(60)),
        ("", "", "max-age=60", "0", Ok(60)),
        ("", "", "public", &later, Ok(90)),
        ("", "", "", &later, Ok(90)),
        ("", "", "", &past, Err(Unstorable::NoFreshness)),
        ("max-age=0", "", "max-age=60", &later, Err(Unstorable::NoFreshness)),
        ("max-age=4", "", "no-store, private, no-cache", &past, Ok(4)),
        ("no-store", "", "max-age=60", &later, Err(Unstorable::NoStore)),
        ("private", "", "max-age=60", &later, Err(Unstorable::Private)),
        ("no-cache", "", "max-age=60", &later, Err(Unstorable::NoFreshness)),
        ("foo", "", "max-age=60", &later, Err(Unstorable::NoFreshness)),
        ("max-age=4, &&", "", "max-age=60", &later, Ok(60)),
        ("", "max-age=3", "no-store", &later, Ok(3)),
        ("", "max-age=3", "private", &later, Err(Unstorable::Private)),
    ] {
        let pairs = [
            ("cdn-cache-control", cdn),
            ("surrogate-control", surrogate),
            ("cache-control", plain),
            ("expires", expires),
            ("date", &now),
        ];
        assert_eq!(lifetime_s(&case(200, &pairs)), expected, "{pairs:?}");
    }
}

#[test]
fn expires_counts_from_date_and_what_cannot_be_read_is_past() {
    let (fast, faster) = (date(300), date(400));
    let soon = date(10);
    for (pairs, expected) in [
        (vec![("expires", &*fast), ("date", &*faster)], Err(Unstorable::NoFreshness)),
        (vec![("expires", &*faster), ("date", &*fast)], Ok(100)),
        (vec![("expires", &*soon), ("date", "foo")], Ok(10)),
        (vec![("expires", &*soon)], Ok(10)),
        (vec![("expires", "0"), ("etag", "\"a\"")], Ok(0)),
        (vec![("expires", "0"), ("expires", &*soon)], Err(Unstorable::NoFreshness)),
    ] {
        assert_eq!(lifetime_s(&case(200, &pairs)), expected, "{pairs:?}");
    }
}

#[test]
fn what_must_not_be_stored_is_not() {
    let (fresh, etag) = (("cache-control", "max-age=9"), ("etag", "\"a\""));
    for (status, pairs, expected) in [
        (200, vec![("cache-control", "no-store, max-age=9")], Unstorable::NoStore),
        (200, vec![("cache-control", "private, max-age=9")], Unstorable::Private),
        (200, vec![fresh, ("vary", "a, *")], Unstorable::VaryAny),
        (206, vec![fresh], Unstorable::Partial),
        (
            206,
            vec![fresh, ("content-range", "bytes 4-9/10"), ("content-length", "5")],
            Unstorable::Partial,
        ),
        (304, vec![fresh], Unstorable::Status),
        (401, vec![fresh], Unstorable::Status),
        (416, vec![fresh], Unstorable::Status),
        (429, vec![fresh], Unstorable::Status),
        (599, vec![("cache-control", "max-age=9, no-store, must-understand")], Unstorable::Status),
        (599, vec![("cache-control", "max-age=9, must-understand")], Unstorable::Status),
        (200, vec![], Unstorable::NoFreshness),
        (200, vec![("cache-control", "max-age=0")], Unstorable::NoFreshness),
        (200, vec![("cache-control", "no-cache")], Unstorable::NoFreshness),
        (404, vec![etag], Unstorable::NoFreshness),
        (500, vec![etag, ("cache-control", "max-age=0")], Unstorable::NoFreshness),
        (201, vec![etag], Unstorable::NoFreshness),
    ] {
        assert_eq!(case(status, &pairs).judge(), Err(expected), "{status} {pairs:?}");
    }
    let map = headers(&[fresh]);
    let arrival = Arrival {
        method: &Method::POST,
        status: StatusCode::OK,
        headers: &map,
        is_authorized: false,
        requested_at: at(0),
        received_at: at(0),
        class: MediaClass::Other,
    };
    assert_eq!(judge(&arrival, &CachePolicy::default()), Err(Unstorable::Method));
}

#[test]
fn any_final_status_may_be_stored_if_it_says_for_how_long() {
    let fresh = [("cache-control", "max-age=9")];
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 503, 599] {
        assert_eq!(lifetime_s(&case(status, &fresh)), Ok(9), "{status}");
    }
    let part = [fresh[0], ("content-range", "bytes 0-4/10"), ("content-length", "5")];
    assert_eq!(lifetime_s(&case(206, &part)), Ok(9));
    let understood = [("cache-control", "max-age=9, no-store, must-understand")];
    assert_eq!(lifetime_s(&case(200, &understood)), Ok(9));
}

#[test]
fn what_can_be_confirmed_is_kept_although_it_is_never_fresh() {
    for pairs in [
        vec![("etag", "\"a\"")],
        vec![("etag", "\"a\""), ("cache-control", "no-cache")],
        vec![("etag", "\"a\""), ("cache-control", "max-age=9, no-cache")],
        vec![("last-modified", "x"), ("cache-control", "max-age=0")],
    ] {
        let freshness = case(200, &pairs).judge().expect("kept");
        assert!(!freshness.is_fresh(at(0)), "{pairs:?}");
        assert_eq!(freshness.stale_if_unreachable, Duration::ZERO, "{pairs:?}");
    }
}

#[test]
fn authorized_responses_are_shared_only_when_they_say_so() {
    for (value, expected) in [
        ("max-age=9", Err(Unstorable::Authorized)),
        ("max-age=9, proxy-revalidate", Err(Unstorable::Authorized)),
        ("public, max-age=9", Ok(9)),
        ("s-maxage=9", Ok(9)),
        ("must-revalidate, max-age=9", Ok(9)),
    ] {
        let pairs = [("cache-control", value)];
        let authorized = Case { is_authorized: true, ..case(200, &pairs) };
        assert_eq!(lifetime_s(&authorized), expected, "{value}");
    }
    let targeted = [("cdn-cache-control", "max-age=9"), ("cache-control", "public")];
    let authorized = Case { is_authorized: true, ..case(200, &targeted) };
    assert_eq!(lifetime_s(&authorized), Err(Unstorable::Authorized), "only what governs counts");
}

#[test]
fn a_cookie_is_kept_as_the_policy_says() {
    use SetCookiePolicy::{Fresh, Never, Shared};
    let cookie = ("set-cookie", "a=b");
    let changed = date(-1000);
    for (pairs, never, shared, fresh) in [
        (vec![cookie, ("cache-control", "max-age=9")], false, false, true),
        (vec![cookie, ("cache-control", "max-age=9, public")], false, true, true),
        (vec![cookie, ("cache-control", "s-maxage=9")], false, true, true),
        (vec![cookie, ("cdn-cache-control", "max-age=9")], false, true, true),
        (vec![cookie, ("surrogate-control", "max-age=9")], false, true, true),
        (vec![cookie, ("last-modified", &*changed)], false, false, false),
        (vec![cookie, ("cache-control", "max-age=9, private=\"Set-Cookie\"")], true, true, true),
    ] {
        for (set_cookie, expected) in [(Never, never), (Shared, shared), (Fresh, fresh)] {
            let policy = CachePolicy { set_cookie, ..CachePolicy::default() };
            let outcome = Case { policy, ..case(200, &pairs) }.judge();
            let expected = if expected { None } else { Some(Unstorable::Cookie) };
            assert_eq!(outcome.err(), expected, "{set_cookie:?} {pairs:?}");
        }
    }
}

#[test]
fn a_guess_is_a_tenth_of_the_time_without_change() {
    let (now, hour_ago, year_ago) = (date(0), date(-3600), date(-365 * 86_400));
    let none = Err(Unstorable::NoFreshness);
    for (status, pairs, expected) in [
        (200, vec![("last-modified", &*hour_ago), ("date", &*now)], Ok(360)),
        (200, vec![("last-modified", &*hour_ago)], Ok(360)),
        (200, vec![("last-modified", &*year_ago)], Ok(86_400)),
        (404, vec![("last-modified", &*hour_ago)], Ok(360)),
        (204, vec![("last-modified", &*hour_ago)], Ok(360)),
        (201, vec![("last-modified", &*hour_ago)], none),
        (503, vec![("last-modified", &*hour_ago)], none),
        (599, vec![("last-modified", &*hour_ago)], none),
        (599, vec![("last-modified", &*hour_ago), ("cache-control", "public")], Ok(360)),
        (200, vec![("last-modified", &*hour_ago), ("cache-control", "max-age=0")], Ok(0)),
        (200, vec![("last-modified", &*hour_ago), ("pragma", "no-cache")], Ok(0)),
        (200, vec![("last-modified", &*now), ("date", &*hour_ago)], Ok(0)),
    ] {
        assert_eq!(lifetime_s(&case(status, &pairs)), expected, "{status} {pairs:?}");
    }
    let pairs = [("last-modified", &*hour_ago)];
    let manifest = Case { class: MediaClass::Manifest, ..case(200, &pairs) };
    assert_eq!(lifetime_s(&manifest), Ok(0), "a manifest may be of a live event");
    let off = CachePolicy { heuristic: false, ..CachePolicy::default() };
    assert_eq!(lifetime_s(&Case { policy: off, ..case(200, &pairs) }), Ok(0));
}

#[test]
fn the_policy_counts_only_where_the_response_is_silent() {
    let policy = CachePolicy {
        default_ttl: Some(secs(5)),
        negative_ttl: vec![NegativeTtl { status: 404, ttl: secs(3) }],
        ..CachePolicy::default()
    };
    let media = CachePolicy { media_defaults: true, ..policy.clone() };
    let ttl = MediaTtl::default();
    let none = Err(Unstorable::NoFreshness);
    let said = [("cache-control", "max-age=60")];
    for (policy, status, pairs, class, expected) in [
        (&policy, 200, &[][..], MediaClass::Other, Ok(5)),
        (&policy, 200, &said, MediaClass::Other, Ok(60)),
        (&policy, 200, &[("cache-control", "no-cache")], MediaClass::Other, none),
        (&policy, 404, &[], MediaClass::Other, Ok(3)),
        (&policy, 404, &said, MediaClass::Other, Ok(60)),
        (&policy, 410, &[], MediaClass::Other, none),
        (&policy, 302, &[], MediaClass::Other, none),
        (&policy, 200, &[], MediaClass::Segment, Ok(5)),
        (&media, 200, &[], MediaClass::Segment, Ok(ttl.segment.as_secs())),
        (&media, 200, &[], MediaClass::Manifest, Ok(ttl.manifest.as_secs())),
        (&media, 200, &[], MediaClass::Init, Ok(ttl.init.as_secs())),
        (&media, 200, &[], MediaClass::Part, Ok(ttl.part.as_secs())),
        (&media, 200, &[], MediaClass::Other, Ok(5)),
        (&media, 200, &said, MediaClass::Manifest, Ok(60)),
    ] {
        let case = Case { policy: policy.clone(), class, ..case(status, pairs) };
        assert_eq!(lifetime_s(&case), expected, "{status} {pairs:?} {class:?}");
    }
}

#[test]
fn an_error_at_the_live_edge_is_hardly_kept_whatever_the_origin_says() {
    let long = [("cache-control", "max-age=600, stale-while-revalidate=600")];
    for (status, class, expected) in [
        (404, MediaClass::Segment, Ok(1)),
        (503, MediaClass::Init, Ok(1)),
        (404, MediaClass::Part, Err(Unstorable::LiveEdge)),
        (404, MediaClass::Manifest, Err(Unstorable::LiveEdge)),
        (410, MediaClass::Manifest, Ok(600)),
        (404, MediaClass::Other, Ok(600)),
        (200, MediaClass::Part, Ok(600)),
    ] {
        let case = Case { class, ..case(status, &long) };
        assert_eq!(lifetime_s(&case), expected, "{status} {class:?}");
        if expected == Ok(1) {
            assert_eq!(case.judge().unwrap().stale_while_revalidate, Duration::ZERO);
        }
    }
}

#[test]
fn stale_windows_follow_the_response_before_the_policy() {
    let policy = CachePolicy { stale_while_revalidate: secs(7), ..CachePolicy::by_the_letter() };
    let unreachable = policy.stale_if_unreachable.as_secs();
    let by_default = case(200, &[("cache-control", "max-age=1")]).judge().unwrap();
    assert_eq!(by_default.stale_if_unreachable, Duration::ZERO);
    for (value, swr, sie, away) in [
        ("max-age=1", 7, 0, unreachable),
        ("max-age=1, stale-while-revalidate=3, stale-if-error=4", 3, 4, 4),
        ("s-maxage=1", 0, 0, 0),
        ("max-age=0, stale-while-revalidate=3", 3, 0, 0),
        ("s-maxage=1, stale-while-revalidate=3", 3, 0, 0),
        ("max-age=1, must-revalidate, stale-while-revalidate=3", 0, 0, 0),
        ("max-age=1, proxy-revalidate, stale-if-error=3", 0, 0, 0),
    ] {
        let pairs = [("cache-control", value)];
        let freshness = Case { policy: policy.clone(), ..case(200, &pairs) }.judge().unwrap();
        assert_eq!(freshness.stale_while_revalidate.as_secs(), swr, "{value}");
        assert_eq!(freshness.stale_if_error.as_secs(), sie, "{value}");
        assert_eq!(freshness.stale_if_unreachable.as_secs(), away, "{value}");
    }
    let targeted = [("cdn-cache-control", "max-age=1, stale-while-revalidate=3, stale-if-error=4")];
    let freshness = case(200, &targeted).judge().unwrap();
    assert_eq!(freshness.stale_while_revalidate, secs(3));
    assert_eq!(freshness.stale_if_error, secs(4));
}

#[test]
fn a_live_manifest_is_not_served_much_later_than_it_was_made() {
    let policy = CachePolicy {
        stale_while_revalidate: secs(60),
        stale_if_error: secs(60),
        ..CachePolicy::by_the_letter()
    };
    let pairs = [("cache-control", "max-age=2")];
    let manifest = Case { policy, class: MediaClass::Manifest, ..case(200, &pairs) };
    let freshness = manifest.judge().unwrap();
    assert_eq!(freshness.stale_while_revalidate, secs(2));
    assert_eq!(freshness.stale_if_unreachable, secs(2));
    assert_eq!(freshness.stale_if_error, secs(60), "the operator asked for it");
}

#[test]
fn the_age_that_upstream_tiers_used_up_is_subtracted() {
    let (ago, fresh) = (date(-20), ("cache-control", "max-age=60"));
    for (pairs, age) in [
        (vec![fresh], 0),
        (vec![fresh, ("age", "50")], 50),
        (vec![fresh, ("age", "50, 0")], 50),
        (vec![fresh, ("age", "0"), ("age", "50")], 0),
        (vec![fresh, ("age", "50.0")], 0),
        (vec![fresh, ("date", &*ago)], 20),
        (vec![fresh, ("age", "50"), ("date", &*ago)], 50),
    ] {
        let freshness = case(200, &pairs).judge().unwrap();
        assert_eq!(freshness.age(at(0)).as_secs(), age, "{pairs:?}");
        assert_eq!(freshness.ttl_s(at(10)), 60 - i64::try_from(age).unwrap() - 10);
    }
    let slow = [fresh, ("age", "1")];
    let slow = Case { received_at: at(4), ..case(200, &slow) };
    let initial_age = slow.judge().unwrap().initial_age;
    assert_eq!(initial_age, secs(5), "the time upstream took counts, too");
    let old = [("cdn-cache-control", "max-age=3600"), ("age", "7200")];
    assert_eq!(case(200, &old).judge(), Err(Unstorable::NoFreshness));
}

proptest! {
    #[test]
    fn what_is_stale_never_becomes_fresh_again(
        lifetime in 0_u64..100, window in 0_u64..100, age in 0_u64..100,
        first in 0_u64..300, later in 0_u64..300,
    ) {
        let value = format!("max-age={lifetime}, stale-while-revalidate={window}, stale-if-error={window}");
        let age = age.to_string();
        let pairs = [("cache-control", &*value), ("etag", "\"a\""), ("age", &age)];
        let freshness = case(200, &pairs).judge().unwrap();
        let (first, later) = (at(first.min(later)), at(first.max(later)));
        for is_so in [
            Freshness::is_fresh,
            Freshness::may_serve_while_revalidating,
            Freshness::may_serve_on_error,
            Freshness::may_serve_when_unreachable,
        ] {
            prop_assert!(is_so(&freshness, first) || !is_so(&freshness, later));
        }
        prop_assert!(freshness.age(first) <= freshness.age(later));
        prop_assert!(freshness.ttl_s(first) >= freshness.ttl_s(later));
    }

    #[test]
    fn no_header_makes_the_arithmetic_panic(
        cache_control in "((max-age|s-maxage|stale-if-error)=[0-9]{0,25}[,\" ]?){0,4}",
        age in "[0-9,. -]{0,25}",
        expires in any::<u32>(), made in any::<u32>(), changed in any::<u32>(),
        requested in any::<u32>(), received in any::<u32>(), now in any::<u64>(),
    ) {
        let moment = |seconds: u32| SystemTime::UNIX_EPOCH + secs(u64::from(seconds));
        let text = |seconds| httpdate::fmt_http_date(moment(seconds));
        let (expires, made, changed) = (text(expires), text(made), text(changed));
        let headers = headers(&[
            ("cache-control", &cache_control), ("age", &age), ("expires", &expires),
            ("date", &made), ("last-modified", &changed), ("etag", "\"a\""),
        ]);
        let arrival = Arrival {
            method: &Method::GET,
            status: StatusCode::OK,
            headers: &headers,
            is_authorized: false,
            requested_at: moment(requested),
            received_at: moment(received),
            class: MediaClass::Other,
        };
        if let Ok(freshness) = judge(&arrival, &CachePolicy::default()) {
            let now = SystemTime::UNIX_EPOCH.checked_add(secs(now)).unwrap_or(at(0));
            let _ = (freshness.age(now), freshness.ttl_s(now), freshness.is_fresh(now));
            let _ = freshness.may_serve_when_unreachable(now);
            prop_assert!(freshness.age(now) >= freshness.initial_age);
        }
    }
}
