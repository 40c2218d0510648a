//! From a response to what is stored of it: judged, named, measured.
//!
//! Pure. Invariant: what is stored can be purged by its URL and by every surrogate key that it carries; a response
//! whose keys cannot be read is not stored.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tidegate_contract::{
    header::{CACHE_STATUS, REQUEST_ID, SURROGATE_KEY, TIER},
    surrogate_key::{KEYS_PER_RESPONSE_MAX, KeyHash, SurrogateKey, parse_list},
};

use super::wanted::{Route, Wanted};
use crate::cache::{
    arrival::{Arrival, Unstorable},
    fields::Fields,
    freshness::{Freshness, judge},
    kept,
    media_class::MediaClass,
    object::{Checked, Extent, Head},
    purge,
    variance::{Varies, Vary},
};

/// What is known of the exchange with upstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// What was wanted.
    pub(super) wanted: &'a Wanted,
    /// The method whose answer it counts as.
    pub(super) method: &'a Method,
    /// The number of the last purge known before upstream was asked.
    pub(super) born: u64,
    /// When upstream was asked.
    pub(super) asked_at: SystemTime,
    /// When its head arrived.
    pub(super) answered_at: SystemTime,
    /// The largest body that is kept.
    pub(super) bytes_max: u64,
}

/// A response that may be stored.
pub(super) struct Admitted {
    pub(super) head: Head,
    /// By what it varies and which variant it is.
    pub(super) variance: Option<(Vary, [u8; 16])>,
}

/// The head to store for a response, whose body is all of the resource.
///
/// # Errors
/// [`Unstorable`] says why it is not stored.
pub(super) fn whole(
    status: StatusCode,
    headers: &HeaderMap,
    circumstances: &Circumstances<'_>,
) -> Result<Admitted, Unstorable> {
    let length = length(headers);
    if status == StatusCode::PARTIAL_CONTENT {
        // Nobody asked for a part: it must not be taken for the whole by those who come later.
        return Err(Unstorable::Partial);
    }
    if length.is_some_and(|bytes| bytes > circumstances.bytes_max) {
        // Judged first, so that the reason is the response's own where it has one.
        admit(status, headers.clone(), Extent::Whole, length, circumstances)?;
        return Err(Unstorable::Size);
    }
    admit(status, headers.clone(), Extent::Whole, length, circumstances)
}

/// The head to store for headers that say what the whole resource is, with a body of this extent and length.
///
/// # Errors
/// [`Unstorable`] says why it is not stored.
pub(super) fn admit(
    status: StatusCode,
    headers: HeaderMap,
    extent: Extent,
    length: Option<u64>,
    circumstances: &Circumstances<'_>,
) -> Result<Admitted, Unstorable> {
    let Circumstances { wanted, answered_at, .. } = *circumstances;
    let Route { host, path, .. } = &wanted.route;
    let policy = &wanted.route.property().cache;
    let class = MediaClass::of(path, text(&headers, &header::CONTENT_TYPE));
    let arrival = Arrival {
        method: circumstances.method,
        status,
        headers: &headers,
        is_authorized: wanted.is_authorized(),
        requested_at: circumstances.asked_at,
        received_at: answered_at,
        class,
    };
    let freshness = judge(&arrival, policy)?;
    let names = purge::names(&wanted.route.property().id, host, path, keys(&headers)?);
    let vary = match Varies::of(&headers) {
        Varies::No => None,
        Varies::By(vary) => Some(vary),
        Varies::Any => return Err(Unstorable::VaryAny),
    };
    let variance = vary.clone().map(|vary| {
        let variant = vary.select(&wanted.headers, &policy.vary);
        (vary, variant)
    });
    let headers = stored(&headers, answered_at);
    let head = Head {
        status,
        public: public(&headers),
        headers,
        freshness,
        names,
        born: circumstances.born,
        created: answered_at,
        length,
        extent,
        class,
        vary,
        checked: Checked::default(),
    };
    Ok(Admitted { head, variance })
}

/// The head of a response that answers those who waited for it and nobody else.
pub(super) fn for_the_moment(
    status: StatusCode,
    headers: &HeaderMap,
    circumstances: &Circumstances<'_>,
) -> Head {
    let Route { host, path, .. } = &circumstances.wanted.route;
    let property = circumstances.wanted.route.property();
    let kept = stored(headers, circumstances.answered_at);
    Head {
        status,
        public: public(&kept),
        headers: kept,
        freshness: Freshness {
            received_at: circumstances.answered_at,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_unreachable: Duration::ZERO,
            always_revalidate: false,
            forbids_stale: true,
            is_for_shared: false,
            is_immutable: false,
        },
        names: purge::names(&property.id, host, path, []),
        born: circumstances.born,
        created: circumstances.answered_at,
        length: length(headers),
        extent: Extent::Whole,
        class: circumstances.wanted.route.class,
        vary: None,
        checked: Checked::default(),
    }
}

/// The surrogate keys of a response.
fn keys(headers: &HeaderMap) -> Result<Vec<KeyHash>, Unstorable> {
    let mut keys = Vec::new();
    for value in headers.get_all(SURROGATE_KEY) {
        let text = value.to_str().map_err(|_| Unstorable::SurrogateKey)?;
        let list = parse_list(text).map_err(|_| Unstorable::SurrogateKey)?;
        keys.extend(list.iter().map(SurrogateKey::hash));
    }
    if keys.len() > KEYS_PER_RESPONSE_MAX { Err(Unstorable::SurrogateKey) } else { Ok(keys) }
}

/// The length that headers announce.
#[must_use]
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

/// What is kept of a response's headers: as the rules say, without what names this one exchange, and with the time
/// when it was received if it names none (RFC 9110 section 6.6.1).
fn stored(headers: &HeaderMap, received_at: SystemTime) -> HeaderMap {
    let mut kept = kept::kept(headers);
    for name in NOT_KEPT {
        kept.remove(*name);
    }
    if !kept.contains_key(header::DATE) {
        kept.insert(header::DATE, date(received_at));
    }
    kept
}

/// What a client gets of stored headers; the age is said anew with every answer.
pub(super) fn public(headers: &HeaderMap) -> Fields {
    let mut public = kept::public(headers);
    public.remove(header::AGE);
    Fields::new(public)
}

/// A time as a header value.
#[must_use]
pub(crate) fn date(time: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is of letters and digits")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What belongs to one exchange between two nodes.
const NOT_KEPT: &[&str] = &["alt-svc", CACHE_STATUS, TIER, REQUEST_ID];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::wanted;

    fn answer(pairs: &[(&str, &str)]) -> Result<Admitted, Unstorable> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let wanted = wanted("/v/1.m4s");
        let circumstances = Circumstances {
            wanted: &wanted,
            method: &Method::GET,
            born: 7,
            asked_at: now,
            answered_at: now,
            bytes_max: 1000,
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        whole(StatusCode::OK, &headers, &circumstances)
    }

    #[test]
    fn what_names_one_exchange_is_not_kept_and_a_date_is_added() {
        let admitted = answer(&[
            ("x-request-id", "7"),
            ("alt-svc", "h3"),
            ("cache-status", "other; hit"),
            ("age", "3"),
            ("surrogate-key", "a b"),
            ("etag", "\"a\""),
        ]);
        let head = admitted.unwrap().head;
        let names = |map: &HeaderMap| {
            let mut names: Vec<_> = map.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort_unstable();
            names
        };
        let kept = ["age", "cache-control", "date", "etag", "surrogate-key"];
        assert_eq!(names(&head.headers), kept);
        assert_eq!(names(head.public.map()), ["cache-control", "date", "etag"]);
        assert_eq!(head.headers[header::DATE], "Sun, 09 Sep 2001 01:46:40 GMT");
        assert_eq!(head.born, 7);
        // Its URL, its property, two folders, two keys.
        assert_eq!(head.names.len(), 6);
    }

    #[test]
    fn what_cannot_be_purged_is_too_large_or_differs_for_everybody_is_not_stored() {
        let many = (0..=KEYS_PER_RESPONSE_MAX).map(|n| format!("k{n}")).collect::<Vec<_>>();
        for (pairs, expected) in [
            (vec![("surrogate-key", "a,b")], Unstorable::SurrogateKey),
            (vec![("surrogate-key", many.join(" ").as_str())], Unstorable::SurrogateKey),
            (vec![("content-length", "1001")], Unstorable::Size),
            (vec![("vary", "accept, *")], Unstorable::VaryAny),
        ] {
            assert_eq!(answer(&pairs).err(), Some(expected), "{pairs:?}");
        }
    }

    #[test]
    fn a_variant_is_that_of_the_request() {
        let admitted = answer(&[("vary", "accept-language")]).unwrap();
        assert!(admitted.variance.is_some() && admitted.head.vary.is_some());
        assert!(answer(&[]).unwrap().variance.is_none());
    }
}
