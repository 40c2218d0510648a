//! Is this H2 or H3 request well-formed, and what does the app see of it?
//!
//! The codecs check field syntax; here stand the rules on the request as a whole (RFC 9113 8.2 and
//! 8.3, RFC 9114 4.2 and 4.3), the same for both protocols. Pure. Invariant: what leaves here has
//! exactly one `Host`, an origin-form target and unambiguous framing, so it can be turned into H1.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, TE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use pingora::http::RequestHeader;

use super::downstream::Downstream;

/// Turns a decoded request into the one that the app sees, or says why not.
pub(super) fn admit(mut parts: Parts, downstream: Downstream) -> Result<RequestHeader, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    if downstream.early_data && !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Refusal::TooEarly);
    }
    check_connection_headers(&parts.headers)?;
    settle_content_length(&mut parts.headers)?;
    let authority = parts.uri.authority().cloned();
    settle_host(&mut parts.headers, authority.as_ref())?;
    parts.uri = origin_form(&parts.method, &parts.uri)?;
    join_cookies(&mut parts.headers);
    if downstream.early_data {
        // RFC 8470 5.1: an upstream that cannot take the risk answers 425, and the client retries.
        parts.headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
    }
    parts.version = Version::HTTP_2;
    parts.extensions.insert(downstream);
    Ok(parts.into())
}

/// Urgency of the `Priority` header, 0 (first) to 7 (last), 3 when absent (RFC 9218 4.1).
pub(super) fn urgency(headers: &HeaderMap) -> u8 {
    headers
        .get(PRIORITY)
        .and_then(|value| value.to_str().ok())
        .into_iter()
        .flat_map(|value| value.split(','))
        .find_map(|part| part.trim().strip_prefix("u="))
        .and_then(|digit| digit.parse().ok())
        .filter(|urgency| *urgency <= 7)
        .unwrap_or(3)
}

/// Why a request does not reach the app.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Tunnels are not offered.
    #[error("CONNECT is not supported")]
    Connect,
    /// Might be a replay and might change something (RFC 8470 5.2).
    #[error("only GET and HEAD are accepted as early data")]
    TooEarly,
    /// The header section is larger than the limit.
    #[error("the header section is larger than the limit")]
    HeaderTooLarge,
    /// Breaks the protocol; the text says which rule.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}

impl Refusal {
    /// The status that the client gets.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooEarly => StatusCode::TOO_EARLY,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The label in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::TooEarly => "early_data",
            Self::HeaderTooLarge => "header_size",
            Self::Malformed(_) => "malformed",
        }
    }
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

/// One content-length or none: repeated equal values become one, others are refused (RFC 9110 8.6).
fn settle_content_length(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let malformed = Refusal::Malformed("content-length");
    let mut settled: Option<u64> = None;
    let mut values = 0;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.to_str().map_err(|_| malformed)?.split(',') {
            let part = part.trim();
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(malformed);
            }
            let length = part.parse().map_err(|_| malformed)?;
            if settled.is_some_and(|other| other != length) {
                return Err(malformed);
            }
            settled = Some(length);
            values += 1;
        }
    }
    if let (Some(length), true) = (settled, values > 1) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(())
}

/// Exactly one host: `:authority`, and a `Host` beside it must say the same (RFC 9114 4.3.1).
fn settle_host(headers: &mut HeaderMap, authority: Option<&Authority>) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Malformed("more than one host"));
    }
    let name = match (authority, host) {
        (Some(authority), Some(host)) if authority.as_str().as_bytes() != host.as_bytes() => {
            return Err(Refusal::Malformed("host differs from :authority"));
        }
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) if Authority::try_from(host.as_bytes()).is_ok() => host.as_bytes(),
        (None, Some(_)) => return Err(Refusal::Malformed("host is no authority")),
        (None, None) => return Err(Refusal::Malformed("no :authority and no host")),
    };
    // User information would be dropped by some readers and kept by others (RFC 9110 4.2.4).
    if name.contains(&b'@') {
        return Err(Refusal::Malformed("user information in the host"));
    }
    let value =
        HeaderValue::from_bytes(name).map_err(|_| Refusal::Malformed("host is no field value"))?;
    headers.insert(HOST, value);
    Ok(())
}

/// The target as H1 writes it: an absolute path, or `*` for OPTIONS.
fn origin_form(method: &Method, uri: &Uri) -> Result<Uri, Refusal> {
    if !matches!(uri.scheme_str(), None | Some("https" | "http")) {
        return Err(Refusal::Malformed("scheme other than http and https"));
    }
    let Some(target) = uri.path_and_query() else {
        return Err(Refusal::Malformed("no :path"));
    };
    if !is_target_allowed(method, target) {
        return Err(Refusal::Malformed(":path is not an absolute path"));
    }
    Ok(Uri::from(target.clone()))
}

fn is_target_allowed(method: &Method, target: &PathAndQuery) -> bool {
    let text = target.as_str().as_bytes();
    let is_printable = text.iter().all(|byte| !matches!(byte, 0..=b' ' | 0x7f));
    is_printable && (text.starts_with(b"/") || (text == b"*" && method == Method::OPTIONS))
}

/// Browsers send one field per cookie for better compression; H1 wants one field (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
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

const CONNECTION_HEADERS: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");
const PRIORITY: HeaderName = HeaderName::from_static("priority");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::downstream::Protocol;
    use http::Request;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refusal(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        admit(request(method, uri, headers), downstream(false)).err()
    }

    fn downstream(early_data: bool) -> Downstream {
        let client = "192.0.2.1:5".parse().unwrap();
        Downstream { protocol: Protocol::Http3, client, tls: true, early_data }
    }

    const URI: &str = "https://a.test/p?q=1";

    #[test]
    fn a_plain_request_is_presented_in_origin_form_with_host() {
        let header = admit(request("GET", URI, &[]), downstream(false)).unwrap();
        assert_eq!(header.version, Version::HTTP_2);
        assert_eq!(header.uri.to_string(), "/p?q=1");
        assert_eq!(header.raw_path(), b"/p?q=1");
        assert_eq!(header.headers[HOST], "a.test");
        assert!(!header.headers.contains_key("early-data"));
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
            ("/p", &[("host", "")], Some(Refusal::Malformed("host is no authority"))),
            ("/p", &[("host", "a b")], Some(Refusal::Malformed("host is no authority"))),
            ("/p", &[], Some(Refusal::Malformed("no :authority and no host"))),
            ("https://u@a.test/p", &[], Some(Refusal::Malformed("user information in the host"))),
        ] {
            assert_eq!(refusal("GET", uri, hosts), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn headers_of_an_h1_connection_are_malformed() {
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
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
    fn content_length_is_one_number_or_refused() {
        for (values, settled) in [
            (&["5"][..], Some("5")),
            (&["5", "5"], Some("5")),
            (&["5, 5"], Some("5")),
            (&["5", "6"], None),
            (&["5,"], None),
            (&["+5"], None),
            (&["-1"], None),
            (&["five"], None),
            (&["99999999999999999999999"], None),
        ] {
            let headers: Vec<_> = values.iter().map(|v| ("content-length", *v)).collect();
            let admitted = admit(request("POST", URI, &headers), downstream(false));
            match settled {
                Some(text) => {
                    let header = admitted.unwrap();
                    let all: Vec<_> = header.headers.get_all(CONTENT_LENGTH).iter().collect();
                    assert_eq!(all, [text], "{values:?}");
                }
                None => {
                    let refused = admitted.err();
                    assert_eq!(refused, Some(Refusal::Malformed("content-length")), "{values:?}");
                }
            }
        }
    }

    #[test]
    fn only_absolute_paths_and_the_options_star_are_targets() {
        let target = |text: &str| Uri::from(PathAndQuery::try_from(text).unwrap());
        let star = target("*");
        assert_eq!(origin_form(&Method::OPTIONS, &star).unwrap().to_string(), "*");
        assert!(origin_form(&Method::GET, &star).is_err());
        assert!(origin_form(&Method::GET, &target("?q")).is_err_and(|r| r.status() == 400));
        assert!(refusal("GET", "ftp://a.test/", &[]).is_some());
    }

    #[test]
    fn tunnels_and_unsafe_early_data_are_refused_by_name() {
        assert_eq!(refusal("CONNECT", "a.test:443", &[]), Some(Refusal::Connect));
        let early = |method| admit(request(method, URI, &[]), downstream(true));
        assert_eq!(early("POST").err(), Some(Refusal::TooEarly));
        assert_eq!(early("GET").unwrap().headers["early-data"], "1");
        assert_eq!(Refusal::TooEarly.status(), 425);
    }

    #[test]
    fn cookie_fields_become_one() {
        let header =
            admit(request("GET", URI, &[("cookie", "a=1"), ("cookie", "b=2")]), downstream(false))
                .unwrap();
        let cookies: Vec<_> = header.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }

    #[test]
    fn urgency_reads_the_priority_header() {
        for (value, expected) in
            [("u=0", 0), ("u=7, i", 7), ("i, u=1", 1), ("u=9", 3), ("i", 3), ("", 3), ("u=x", 3)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(PRIORITY, HeaderValue::from_str(value).unwrap());
            assert_eq!(urgency(&headers), expected, "{value}");
        }
        assert_eq!(urgency(&HeaderMap::new()), 3);
    }
}
