//! What DNS over HTTP says in HTTP (RFC 8484), for both versions.
//!
//! Pure. Invariant: only what is a query reaches the handler; everything else has a status of its own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};

use super::{exchange::QUERY_MAX, message::Outline};

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The answer to this query.
    Answer(Vec<u8>),
    /// The answer to the query that its body is.
    AnswerToBody,
    /// Nothing that is here.
    Refused(StatusCode),
}

/// Reads the head of a request.
pub(super) fn wanted(head: &Parts) -> Wanted {
    wanted_by(&head.method, &head.uri, &head.headers)
}

fn wanted_by(method: &Method, uri: &Uri, headers: &HeaderMap) -> Wanted {
    if uri.path() != PATH {
        return Wanted::Refused(StatusCode::NOT_FOUND);
    }
    match *method {
        Method::GET => match uri.query().and_then(query_of) {
            Some(query) => Wanted::Answer(query),
            None => Wanted::Refused(StatusCode::BAD_REQUEST),
        },
        Method::POST => {
            let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            let is_long = length.is_some_and(|length| {
                length.parse::<usize>().map_or(true, |length| length > QUERY_MAX)
            });
            if headers.get(CONTENT_TYPE).is_none_or(|value| value.as_bytes() != MESSAGE.as_bytes())
            {
                Wanted::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            } else if is_long {
                Wanted::Refused(StatusCode::PAYLOAD_TOO_LARGE)
            } else {
                Wanted::AnswerToBody
            }
        }
        _ => Wanted::Refused(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// The query in the URI: `dns=` in base64url without padding.
fn query_of(query: &str) -> Option<Vec<u8>> {
    let text = query.split('&').find_map(|pair| pair.strip_prefix("dns="))?;
    if text.len() > QUERY_MAX * 4 / 3 + 4 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The head of an answer. It may be kept as long as its records, by whoever asked alone: another may get another one.
pub(super) fn answered(answer: &[u8]) -> Response<()> {
    let ttl = Outline::read(answer).and_then(|outline| outline.ttl).unwrap_or(0);
    Response::builder()
        .header(CONTENT_TYPE, MESSAGE)
        .header(CONTENT_LENGTH, answer.len())
        .header(CACHE_CONTROL, format!("private, max-age={ttl}"))
        .body(())
        .expect("the values have digits and letters")
}

/// The head of a refusal.
pub(super) fn refused(status: StatusCode) -> Response<()> {
    let mut response = Response::builder().status(status).header(CONTENT_LENGTH, 0);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response = response.header(ALLOW, "GET, POST");
    }
    response.body(()).expect("the values have digits and letters")
}

const PATH: &str = "/dns-query";
const MESSAGE: &str = "application/dns-message";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_queries_or_have_a_status() {
        let query = b"\x00\x00\x01\x00\x00\x01abc".to_vec();
        let text = URL_SAFE_NO_PAD.encode(&query);
        let refused = |status: u16| Wanted::Refused(StatusCode::from_u16(status).unwrap());
        let long = "A".repeat(6000);
        for (method, uri, headers, expected) in [
            ("GET", format!("/dns-query?dns={text}"), "", Wanted::Answer(query.clone())),
            ("GET", format!("https://x/dns-query?a=b&dns={text}"), "", Wanted::Answer(query)),
            ("GET", "/dns-query".to_owned(), "", refused(400)),
            ("GET", "/dns-query?dns=!".to_owned(), "", refused(400)),
            ("GET", format!("/dns-query?dns={text}="), "", refused(400)),
            ("GET", format!("/dns-query?dns={long}"), "", refused(400)),
            ("GET", format!("/?dns={text}"), "", refused(404)),
            ("PUT", "/dns-query".to_owned(), "", refused(405)),
            ("POST", "/dns-query".to_owned(), "t", Wanted::AnswerToBody),
            ("POST", "/dns-query".to_owned(), "", refused(415)),
            ("POST", "/dns-query".to_owned(), "tl", refused(413)),
            ("POST", "/dns-queries".to_owned(), "t", refused(404)),
        ] {
            let mut map = HeaderMap::new();
            if headers.contains('t') {
                map.insert(CONTENT_TYPE, MESSAGE.parse().unwrap());
            }
            if headers.contains('l') {
                map.insert(CONTENT_LENGTH, "70000".parse().unwrap());
            }
            let (method, parsed): (Method, Uri) = (method.parse().unwrap(), uri.parse().unwrap());
            assert_eq!(wanted_by(&method, &parsed, &map), expected, "{method} {uri}");
        }
    }

    #[test]
    fn answers_may_be_kept_by_whoever_asked() {
        let head = answered(b"no message");
        assert_eq!(head.headers()[CACHE_CONTROL], "private, max-age=0");
        assert_eq!(head.headers()[CONTENT_LENGTH], "10");
        assert_eq!(refused(StatusCode::METHOD_NOT_ALLOWED).headers()[ALLOW], "GET, POST");
    }
}
