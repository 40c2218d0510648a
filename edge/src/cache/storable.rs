//! May a response be stored at all (RFC 9111 section 3)? How long it counts is another question.
//!
//! Pure. Invariant: what was made for one client is not given to another.

use http::{Method, StatusCode, header};
use tidegate_contract::property::{CachePolicy, SetCookiePolicy};

use super::{
    arrival::{Arrival, Unstorable},
    governing::{Governing, Source, withheld},
    range,
    variance::Varies,
};

/// Whether nothing forbids storing it.
///
/// # Errors
/// [`Unstorable`] is the first rule that forbids it.
pub(super) fn may_store(
    arrival: &Arrival<'_>,
    governing: &Governing,
    policy: &CachePolicy,
) -> Result<(), Unstorable> {
    let Governing { directives, .. } = governing;
    let is_understood = is_understood(arrival.status);
    let misses_the_point = directives.must_understand && !is_understood;
    let no_store = directives.no_store && !(directives.must_understand && is_understood);
    let is_shared =
        directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    let rules = [
        (arrival.method != Method::GET, Unstorable::Method),
        (!is_storable(arrival.status) || misses_the_point, Unstorable::Status),
        (is_uncertain_part(arrival), Unstorable::Partial),
        (no_store, Unstorable::NoStore),
        (directives.private, Unstorable::Private),
        (arrival.is_authorized && !is_shared, Unstorable::Authorized),
        (is_cookie_in_the_way(arrival, governing, policy.set_cookie), Unstorable::Cookie),
        (matches!(Varies::of(arrival.headers), Varies::Any), Unstorable::VaryAny),
        (is_about_to_appear(arrival), Unstorable::LiveEdge),
    ];
    rules.into_iter().find(|(forbids, _)| *forbids).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// Whether a response without any freshness may be given some (RFC 9110 15.1, RFC 9111 4.2.2).
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Any final status may be stored if the response says for how long (RFC 9111 section 3). Not those that are about one
/// request or one connection rather than about the resource: what confirms or refuses a condition, a range, a login,
/// a rate.
fn is_storable(status: StatusCode) -> bool {
    let is_of_one_request = matches!(
        status.as_u16(),
        304 | 401 | 407 | 408 | 412 | 416 | 417 | 421 | 425 | 426 | 428 | 429 | 431 | 511
    );
    !status.is_informational() && !is_of_one_request
}

/// The statuses whose meaning for caches this program knows: those of RFC 9110.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn is_uncertain_part(arrival: &Arrival<'_>) -> bool {
    arrival.status == StatusCode::PARTIAL_CONTENT && range::enclosed(arrival.headers).is_none()
}

fn is_cookie_in_the_way(
    arrival: &Arrival<'_>,
    governing: &Governing,
    policy: SetCookiePolicy,
) -> bool {
    if !arrival.headers.contains_key(header::SET_COOKIE) {
        return false;
    }
    let Governing { directives, source } = governing;
    if directives.withholds_fields {
        let mut is_withheld = false;
        withheld(arrival.headers, |name| is_withheld |= name == header::SET_COOKIE);
        if is_withheld {
            return false;
        }
    }
    let is_explicit = governing.is_explicit(arrival.headers);
    match policy {
        SetCookiePolicy::Never => true,
        SetCookiePolicy::Shared => {
            let is_targeted = *source != Source::CacheControl && is_explicit;
            !(directives.public || directives.s_maxage.is_some() || is_targeted)
        }
        SetCookiePolicy::Fresh => !(directives.public || is_explicit),
    }
}

/// An error where the next manifest or part is expected.
fn is_about_to_appear(arrival: &Arrival<'_>) -> bool {
    arrival.class.is_live_edge() && is_temporary(arrival.status)
}

/// An error that may be gone the next moment; 410 says that it is meant for good.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    (status.is_client_error() || status.is_server_error()) && status != StatusCode::GONE
}
