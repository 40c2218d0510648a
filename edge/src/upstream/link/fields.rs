//! Which headers are for the whole way and which for one connection (RFC 9110 7.6.1).
//!
//! Pure. Invariant: what is left after [`keep_end_to_end`] means the same on every connection.

use http::{HeaderMap, HeaderName, header};

/// Removes what concerns one connection, and what `Connection` names.
pub(in crate::upstream) fn keep_end_to_end(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes from trailers what may not be one: framing, routing, and what decides how the answer is taken (RFC 9110
/// 6.5.1).
pub(super) fn keep_trailers(trailers: &mut HeaderMap) {
    keep_end_to_end(trailers);
    for name in &NOT_TRAILERS {
        trailers.remove(name);
    }
}

/// Whether a header, a list of words, contains one.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(word))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

const HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
    header::TE,
    // No trailers are passed on that it could announce.
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const NOT_TRAILERS: [HeaderName; 14] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::TRAILER,
    header::HOST,
    header::CACHE_CONTROL,
    header::VARY,
    header::AGE,
    header::EXPIRES,
    header::AUTHORIZATION,
    header::SET_COOKIE,
    header::LOCATION,
    header::RETRY_AFTER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_is_left_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("connection", ", bad name,"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("proxy-authorization", "secret"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        assert!(has_token(&headers, &header::CONNECTION, "CLOSE"));
        assert!(!has_token(&headers, &header::CONNECTION, "keep-alive"));
        keep_end_to_end(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }
}
