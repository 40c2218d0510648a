//! Is this H2 or H3 request well-formed, and what does the app see of it? Pure.
//!
//! The codecs check field syntax; here stand the rules on the request as a whole (RFC 9113 8.2 and 8.3, RFC 9114 4.2
//! and 4.3), the same for both protocols. Invariant: what leaves here has exactly one authority, an origin-form target
//! and unambiguous framing, so it can be turned into H1.

use std::time::Instant;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};

use super::authority;
use super::config::Limits;
use super::downstream::Downstream;
use super::priority::Priority;
pub use super::refusal::Refusal;
use super::stream::{BodyLength, Request};

/// Refuses what is larger than a client may send.
///
/// # Errors
/// The limit that is broken.
pub(super) fn check_limits(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    if parts.headers.len() > limits.headers_max {
        return Err(Refusal::HeaderTooLarge);
    }
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target as u64 > limits.target_bytes_max.as_u64() {
        return Err(Refusal::TargetTooLong);
    }
    Ok(())
}

/// Turns a decoded request into the one that the app sees, or says why not. `body` is `Empty` when the stream has
/// ended with the head, and `Unknown` otherwise.
///
/// # Errors
/// The rule that the request breaks.
pub(super) fn admit(
    parts: Parts,
    downstream: Downstream,
    body: BodyLength,
) -> Result<Request, Refusal> {
    check_method(&parts.method, downstream)?;
    check_connection_headers(&parts.headers)?;
    let target = origin_form(&parts.method, &parts.uri)?;
    let authority = parts.uri.authority().map(|named| named.as_str().as_bytes());
    admit_target(parts.method, authority, target, parts.headers, downstream, body)
}

/// The same for a request whose target and connection headers were looked at where its head was read.
///
/// # Errors
/// The rule that the request breaks.
pub(super) fn admit_target(
    method: Method,
    authority: Option<&[u8]>,
    target: PathAndQuery,
    mut headers: HeaderMap,
    downstream: Downstream,
    body: BodyLength,
) -> Result<Request, Refusal> {
    check_method(&method, downstream)?;
    headers.remove(TE);
    let body = body_length(&mut headers, body)?;
    let authority = settle_host(&mut headers, authority)?;
    let expects_continue = take_expectation(&mut headers)? && body != BodyLength::Empty;
    join_cookies(&mut headers);
    if downstream.early_data {
        // RFC 8470 5.1: an upstream that cannot take the risk answers 425, and the client retries.
        headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
    }
    Ok(Request {
        method,
        authority,
        target,
        headers,
        body,
        expects_continue,
        downstream,
        arrived_at: Instant::now(),
    })
}

/// The same for a request without any field that the rules are about: no `Host`, `Cookie`, `Content-Length`, `TE` or
/// `Expect`.
///
/// # Errors
/// The rule that the request breaks.
pub(super) fn admit_plain(
    method: Method,
    named: Option<&[u8]>,
    target: PathAndQuery,
    headers: HeaderMap,
    downstream: Downstream,
    body: BodyLength,
) -> Result<Request, Refusal> {
    if downstream.early_data {
        return admit_target(method, named, target, headers, downstream, body);
    }
    check_method(&method, downstream)?;
    let name = named.ok_or(Refusal::Malformed("no :authority and no host"))?;
    Ok(Request {
        method,
        authority: host(name)?,
        target,
        headers,
        body,
        expects_continue: false,
        downstream,
        arrived_at: Instant::now(),
    })
}

/// Urgency of the `Priority` header, 0 (first) to 7 (last), 3 when absent (RFC 9218 4.1).
#[must_use]
pub fn urgency(headers: &HeaderMap) -> u8 {
    Priority::of(headers).urgency
}

/// Takes the expectation out; true when it is 100-continue.
///
/// # Errors
/// For any other (RFC 9110 10.1.1).
pub(super) fn take_expectation(headers: &mut HeaderMap) -> Result<bool, Refusal> {
    let Some(value) = headers.remove(EXPECT) else { return Ok(false) };
    if value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Ok(true);
    }
    Err(Refusal::Expectation)
}

/// Reads the one content-length of a message; more than one, or a list, is refused even if they agree: readers differ
/// on which of them counts (RFC 9110 8.6).
///
/// # Errors
/// When it is not one plain number.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Malformed("more than one content-length"));
    }
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed("content-length"));
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    // Above this, sums of lengths could overflow, and nobody sends so much.
    match text.parse::<u64>() {
        Ok(length) if length <= LENGTH_MAX => Ok(Some(length)),
        _ => Err(Refusal::Malformed("content-length")),
    }
}

/// Browsers send one field per cookie for better compression; H1 wants one field (RFC 9113 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.by_ref().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Joined from valid field values by a valid separator, so this is one too.
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Tunnels and echoes are not for anybody, and early data only for what may be repeated.
fn check_method(method: &Method, downstream: Downstream) -> Result<(), Refusal> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    if downstream.early_data && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Refusal::TooEarly);
    }
    Ok(())
}

/// Headers of one H1 connection make an H2 or H3 request malformed; `TE` may say `trailers`.
fn check_connection_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if CONNECTION_HEADERS.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::Malformed("connection-specific header"));
    }
    if headers.get_all(TE).iter().any(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        return Err(Refusal::Malformed("te other than trailers"));
    }
    Ok(())
}

/// How much follows, by the header and by whether the stream has ended.
fn body_length(headers: &mut HeaderMap, body: BodyLength) -> Result<BodyLength, Refusal> {
    match (content_length(headers)?, body) {
        (Some(0), BodyLength::Empty) => Ok(BodyLength::Known(0)),
        (Some(_), BodyLength::Empty) => Err(Refusal::Malformed("content-length without content")),
        (Some(length), _) => {
            headers.insert(CONTENT_LENGTH, length.into());
            Ok(BodyLength::Known(length))
        }
        (None, body) => Ok(body),
    }
}

/// Exactly one host: `:authority`, and a `Host` beside it must say the same (RFC 9114 4.3.1).
fn settle_host(headers: &mut HeaderMap, named: Option<&[u8]>) -> Result<String, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Malformed("more than one host"));
    }
    let name = match (named, host) {
        (Some(named), Some(host)) if !authority::is_same(named, host.as_bytes()) => {
            return Err(Refusal::Malformed("host differs from :authority"));
        }
        (Some(named), _) => named,
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(Refusal::Malformed("no :authority and no host")),
    };
    let name = self::host(name)?;
    headers.remove(HOST);
    Ok(name)
}

/// A checked host with its port.
fn host(name: &[u8]) -> Result<String, Refusal> {
    authority::check(name)?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// The target as H1 writes it: an absolute path, or `*` for OPTIONS.
fn origin_form(method: &Method, uri: &Uri) -> Result<PathAndQuery, Refusal> {
    if !matches!(uri.scheme_str(), None | Some("https" | "http")) {
        return Err(Refusal::Malformed("scheme other than http and https"));
    }
    let Some(target) = uri.path_and_query() else {
        return Err(Refusal::Malformed("no :path"));
    };
    authority::check_target(method, target.as_str().as_bytes())?;
    Ok(target.clone())
}

const CONNECTION_HEADERS: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");
/// 2^60 bytes, an exbibyte.
const LENGTH_MAX: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use http::Request as HttpRequest;

    use super::*;
    use crate::listener::downstream::Protocol;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = HttpRequest::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refusal(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        admit(request(method, uri, headers), downstream(false), BodyLength::Unknown).err()
    }

    fn downstream(early_data: bool) -> Downstream {
        let client = "192.0.2.1:5".parse().unwrap();
        Downstream { protocol: Protocol::Http3, client, tls: true, early_data }
    }

    const URI: &str = "https://a.test/p?q=1";

    #[test]
    fn a_plain_request_has_an_authority_and_an_origin_form_target() {
        let request = request("GET", URI, &[("host", "A.test"), ("te", "trailers")]);
        let request = admit(request, downstream(false), BodyLength::Empty).unwrap();
        assert_eq!(request.target.as_str(), "/p?q=1");
        assert_eq!(request.authority, "a.test");
        assert_eq!(request.body, BodyLength::Empty);
        assert!(request.headers.is_empty(), "neither host nor te: {:?}", request.headers);
    }

    #[test]
    fn host_must_agree_with_the_authority() {
        for (uri, hosts, expected) in [
            (URI, &[("host", "a.test")][..], None),
            (URI, &[("host", "b.test")], Some(Refusal::Malformed("host differs from :authority"))),
            (
                URI,
                &[("host", "a.test"), ("host", "a.test")],
                Some(Refusal::Malformed("more than one host")),
            ),
            ("/p", &[("host", "a.test")], None),
            ("/p", &[("host", "")], Some(Refusal::Malformed("empty host"))),
            ("/p", &[("host", "a b")], Some(Refusal::Malformed("host is no authority"))),
            ("/p", &[], Some(Refusal::Malformed("no :authority and no host"))),
            ("https://u@a.test/p", &[], Some(Refusal::Malformed("user information in the host"))),
        ] {
            assert_eq!(refusal("GET", uri, hosts), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn headers_of_an_h1_connection_are_malformed() {
        for name in CONNECTION_HEADERS {
            assert_eq!(
                refusal("GET", URI, &[(name, "x")]),
                Some(Refusal::Malformed("connection-specific header")),
                "{name}"
            );
        }
        assert_eq!(refusal("GET", URI, &[("te", "trailers")]), None);
        assert_eq!(
            refusal("GET", URI, &[("te", "gzip")]),
            Some(Refusal::Malformed("te other than trailers"))
        );
    }

    #[test]
    fn content_length_is_one_plain_number_or_refused() {
        for (values, expected) in [
            (&["5"][..], Some(BodyLength::Known(5))),
            (&["007"], Some(BodyLength::Known(7))),
            (&[], Some(BodyLength::Unknown)),
            (&["5", "5"], None),
            (&["5, 5"], None),
            (&["5", "6"], None),
            (&["5,"], None),
            (&[""], None),
            (&["+5"], None),
            (&["-1"], None),
            (&["0x5"], None),
            (&["five"], None),
            (&["1152921504606846977"], None),
            (&["99999999999999999999999"], None),
        ] {
            let headers: Vec<_> = values.iter().map(|v| ("content-length", *v)).collect();
            let parts = request("POST", URI, &headers);
            let admitted = admit(parts, downstream(false), BodyLength::Unknown);
            assert_eq!(admitted.ok().map(|request| request.body), expected, "{values:?}");
        }
        let ended = |value| {
            let parts = request("POST", URI, &[("content-length", value)]);
            admit(parts, downstream(false), BodyLength::Empty)
        };
        assert_eq!(ended("0").unwrap().body, BodyLength::Known(0));
        assert!(ended("5").is_err(), "nothing follows");
    }

    #[test]
    fn only_absolute_paths_and_the_options_star_are_targets() {
        let target = |text: &str| Uri::from(PathAndQuery::try_from(text).unwrap());
        let star = target("*");
        assert_eq!(origin_form(&Method::OPTIONS, &star).unwrap().as_str(), "*");
        assert!(origin_form(&Method::GET, &star).is_err());
        assert!(origin_form(&Method::GET, &target("?q")).is_err_and(|r| r.status() == 400));
        assert!(refusal("GET", "ftp://a.test/", &[]).is_some());
    }

    #[test]
    fn tunnels_echoes_and_unsafe_early_data_are_refused_by_name() {
        assert_eq!(refusal("CONNECT", "a.test:443", &[]), Some(Refusal::Method));
        assert_eq!(refusal("TRACE", URI, &[]), Some(Refusal::Method));
        let early = |method| admit(request(method, URI, &[]), downstream(true), BodyLength::Empty);
        assert_eq!(early("POST").err(), Some(Refusal::TooEarly));
        assert_eq!(early("GET").unwrap().headers["early-data"], "1");
        assert_eq!(Refusal::TooEarly.status(), 425);
    }

    #[test]
    fn expectations_are_taken_out_or_refused() {
        let expect = |value, body| {
            admit(request("POST", URI, &[("expect", value)]), downstream(false), body)
        };
        let waits = expect("100-Continue", BodyLength::Unknown).unwrap();
        assert!(waits.expects_continue && waits.headers.is_empty());
        assert!(!expect("100-continue", BodyLength::Empty).unwrap().expects_continue);
        assert_eq!(expect("a pony", BodyLength::Unknown).err(), Some(Refusal::Expectation));
    }

    #[test]
    fn limits_name_what_is_too_large() {
        let limits = Limits {
            headers_max: 2,
            target_bytes_max: bytesize::ByteSize::b(8),
            ..Limits::default()
        };
        let check = |uri, headers: &[_]| check_limits(&request("GET", uri, headers), &limits);
        assert_eq!(check(URI, &[("a", "1"), ("a", "2")]), Ok(()));
        let three = [("a", "1"), ("a", "2"), ("b", "3")];
        assert_eq!(check(URI, &three), Err(Refusal::HeaderTooLarge));
        assert_eq!(check("https://a.test/12345678", &[]), Err(Refusal::TargetTooLong));
    }

    #[test]
    fn cookie_fields_become_one() {
        let parts = request("GET", URI, &[("cookie", "a=1"), ("cookie", "b=2")]);
        let admitted = admit(parts, downstream(false), BodyLength::Empty).unwrap();
        let cookies: Vec<_> = admitted.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
