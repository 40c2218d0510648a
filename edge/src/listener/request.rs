//! Is this H2 or H3 request well-formed, and what does the app see of it? Pure.
//!
//! `section` has looked at each line; here stand the rules on the request as a whole (RFC 9113 8.3, RFC 9114 4.3), the
//! same for both protocols. Invariant: what leaves here has exactly one authority, an origin-form target
//! and unambiguous framing, so it can be turned into H1.

use std::time::Instant;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Method};

use super::authority;
use super::downstream::Downstream;
use super::priority::Priority;
use super::refusal::Refusal;
use super::section::Head;
use super::stream::{BodyLength, Request};

/// Turns a decoded request into the one that the app sees, or says why not. `body` is `Empty` when the stream has
/// ended with the head, and `Unknown` otherwise.
///
/// # Errors
/// The rule that the request breaks.
pub(super) fn admit(
    head: Head,
    downstream: Downstream,
    body: BodyLength,
) -> Result<Request, Refusal> {
    check_method(&head.method, downstream)?;
    let Head { method, authority, target, mut headers, is_plain, .. } = head;
    let named = authority.as_deref();
    let (authority, body, expects_continue) = if is_plain {
        // None of the fields is there that the rules are about.
        let name = named.ok_or(Refusal::Malformed("no :authority and no host"))?;
        (host(name)?, body, false)
    } else {
        headers.remove(TE);
        let body = body_length(&mut headers, body)?;
        let authority = settle_host(&mut headers, named)?;
        let expects_continue = take_expectation(&mut headers)? && body != BodyLength::Empty;
        join_cookies(&mut headers);
        (authority, body, expects_continue)
    };
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

/// Urgency of the `Priority` header, 0 (first) to 7 (last), 3 when absent (RFC 9218 4.1).
#[must_use]
pub fn urgency(headers: &HeaderMap) -> u8 {
    Priority::of(headers).urgency
}

/// Takes the expectations out, a list over all their lines; true when 100-continue is there.
///
/// # Errors
/// For any other (RFC 9110 10.1.1).
pub(super) fn take_expectation(headers: &mut HeaderMap) -> Result<bool, Refusal> {
    let mut is_there = false;
    let mut lines = headers.get_all(EXPECT).iter().peekable();
    if lines.peek().is_none() {
        return Ok(false);
    }
    for value in lines {
        for expected in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if !expected.is_empty() && !expected.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            is_there |= !expected.is_empty();
        }
    }
    headers.remove(EXPECT);
    Ok(is_there)
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

const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");
/// 2^60 bytes, an exbibyte.
const LENGTH_MAX: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{
        config::Limits,
        downstream::Protocol,
        field_line::{Value, name_of},
        section::Lines,
    };

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/p?q=1")];

    /// The request with these pseudo-headers, in place of those of a plain one, and these fields.
    fn request(pseudo: &[(&str, Option<&str>)], fields: &[(&str, &str)]) -> Head {
        let said = |name: &str| pseudo.iter().find(|(other, _)| *other == name);
        let pseudo = GET.iter().filter_map(|(name, value)| match said(name) {
            Some((_, said)) => said.map(|said| (*name, said)),
            None => Some((*name, *value)),
        });
        let mut lines = Lines::new(&Limits::default());
        for (name, value) in pseudo.chain(fields.iter().copied()) {
            let name = name_of(name.as_bytes());
            let value = Value::of(&name, bytes::Bytes::copy_from_slice(value.as_bytes()));
            lines.take(name, value, 32);
        }
        lines.head(&Limits::default(), |why| why).unwrap()
    }

    fn downstream(early_data: bool) -> Downstream {
        let client = "192.0.2.1:5".parse().unwrap();
        Downstream { protocol: Protocol::Http3, client, tls: true, early_data }
    }

    #[test]
    fn a_plain_request_has_an_authority_and_an_origin_form_target() {
        let head = request(&[], &[("host", "A.test"), ("te", "trailers")]);
        let request = admit(head, downstream(false), BodyLength::Empty).unwrap();
        assert_eq!(request.target.as_str(), "/p?q=1");
        assert_eq!(request.authority, "a.test");
        assert_eq!(request.body, BodyLength::Empty);
        assert!(request.headers.is_empty(), "neither host nor te: {:?}", request.headers);
    }

    #[test]
    fn host_must_agree_with_the_authority() {
        for (authority, hosts, expected) in [
            (Some("a.test"), &["a.test"][..], None),
            (Some("a.test"), &["b.test"], Some("host differs from :authority")),
            (Some("a.test"), &["a.test", "a.test"], Some("more than one host")),
            (None, &["a.test"], None),
            (None, &[""], Some("empty host")),
            (None, &["a b"], Some("host is no authority")),
            (None, &[], Some("no :authority and no host")),
            (Some("u@a.test"), &[], Some("user information in the host")),
            (Some(""), &[], Some("empty host")),
            (Some("a b"), &[], Some("host is no authority")),
            (Some("a.test/x"), &[], Some("host is no authority")),
            (Some("a.test:"), &[], Some("port is no number")),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let head = request(&[(":authority", authority)], &hosts);
            let refusal = admit(head, downstream(false), BodyLength::Unknown).err();
            assert_eq!(refusal, expected.map(Refusal::Malformed), "{authority:?} {hosts:?}");
        }
    }

    #[test]
    fn content_length_is_one_plain_number_or_refused() {
        for (values, expected) in [
            (&["5"][..], Ok(Some(5))),
            (&["007"], Ok(Some(7))),
            (&[], Ok(None)),
            (&["5", "5"], Err(())),
            (&["5, 5"], Err(())),
            (&["5", "6"], Err(())),
            (&["5,"], Err(())),
            (&[""], Err(())),
            (&["+5"], Err(())),
            (&["-1"], Err(())),
            (&["0x5"], Err(())),
            (&["five"], Err(())),
            (&["1152921504606846977"], Err(())),
            (&["99999999999999999999999"], Err(())),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            assert_eq!(content_length(&headers).map_err(drop), expected, "{values:?}");
        }
    }

    #[test]
    fn the_body_is_as_long_as_the_head_says() {
        let body = |value, body| {
            let head = request(&[(":method", Some("POST"))], &[("content-length", value)]);
            admit(head, downstream(false), body).map(|request| request.body)
        };
        assert_eq!(body("7", BodyLength::Unknown), Ok(BodyLength::Known(7)));
        assert_eq!(body("0", BodyLength::Empty), Ok(BodyLength::Known(0)));
        assert!(body("5", BodyLength::Empty).is_err(), "nothing follows");
        assert!(body("1152921504606846977", BodyLength::Unknown).is_err());
    }

    #[test]
    fn tunnels_echoes_and_unsafe_early_data_are_refused_by_name() {
        let trace = request(&[(":method", Some("TRACE"))], &[]);
        let refusal = admit(trace, downstream(false), BodyLength::Empty).err();
        assert_eq!(refusal, Some(Refusal::Method));
        let early = |method| {
            let head = request(&[(":method", Some(method))], &[]);
            admit(head, downstream(true), BodyLength::Empty)
        };
        assert_eq!(early("POST").err(), Some(Refusal::TooEarly));
        assert_eq!(early("GET").unwrap().headers["early-data"], "1");
        assert_eq!(Refusal::TooEarly.status(), 425);
    }

    #[test]
    fn expectations_are_taken_out_or_refused() {
        let expect = |value, body| {
            let head = request(&[(":method", Some("POST"))], &[("expect", value)]);
            admit(head, downstream(false), body)
        };
        let waits = expect("100-Continue", BodyLength::Unknown).unwrap();
        assert!(waits.expects_continue && waits.headers.is_empty());
        assert!(!expect("100-continue", BodyLength::Empty).unwrap().expects_continue);
        assert!(
            expect("100-continue, ,100-Continue", BodyLength::Unknown).unwrap().expects_continue
        );
        let nothing = expect(",", BodyLength::Unknown).unwrap();
        assert!(!nothing.expects_continue && nothing.headers.is_empty());
        for other in
            ["a pony", "100-continue, a pony", "100-continue;q=1", "100", "\"100-continue\""]
        {
            let refusal = expect(other, BodyLength::Unknown).err();
            assert_eq!(refusal, Some(Refusal::Expectation), "{other}");
        }
        let lines = [("expect", "100-continue"), ("expect", "a pony")];
        let head = request(&[(":method", Some("POST"))], &lines);
        let refusal = admit(head, downstream(false), BodyLength::Unknown).err();
        assert_eq!(refusal, Some(Refusal::Expectation), "all lines are one list");
    }

    #[test]
    fn cookie_fields_become_one() {
        let head = request(&[], &[("cookie", "a=1"), ("cookie", "b=2")]);
        let admitted = admit(head, downstream(false), BodyLength::Empty).unwrap();
        let cookies: Vec<_> = admitted.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
