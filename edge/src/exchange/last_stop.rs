//! `Max-Forwards`: how many more may pass an OPTIONS on (RFC 9110 7.6.2).
//!
//! Invariant: a request that may go no further is answered here, and one that goes on says one less.

use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    context::{Ended, Exchange},
    edge::Edge,
    refuse,
};
use crate::listener::stream::{Request, Stream};

/// Whether this node is the last; otherwise the request says one less.
pub(super) fn is_here(method: &Method, headers: &mut HeaderMap) -> bool {
    if *method != Method::OPTIONS {
        return false;
    }
    let Some(value) = headers.get(header::MAX_FORWARDS) else { return false };
    let text = value.as_bytes();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        // What is no number may be ignored.
        return false;
    }
    // A number beyond ours becomes the largest of ours.
    let left = value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX);
    if left > 0 {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
    }
    left == 0
}

/// Answers for this node.
pub(super) async fn serve<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    stream: &mut S,
) -> Result<(), Ended> {
    let allowed = (header::ALLOW, "GET, HEAD, OPTIONS");
    refuse::as_node(edge, exchange, request, "max-forwards", allowed, b"", stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_that_may_not_be_passed_on_end_here() {
        for (method, value, is_last, left) in [
            (Method::OPTIONS, Some("0"), true, Some("0")),
            (Method::OPTIONS, Some("1"), false, Some("0")),
            (Method::OPTIONS, Some("10"), false, Some("9")),
            (Method::OPTIONS, Some("many"), false, Some("many")),
            (Method::OPTIONS, Some("-1"), false, Some("-1")),
            (Method::OPTIONS, Some("99999999999999999999"), false, Some("4294967294")),
            (Method::OPTIONS, None, false, None),
            (Method::GET, Some("0"), false, Some("0")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::MAX_FORWARDS, HeaderValue::from_static(value));
            }
            assert_eq!(is_here(&method, &mut headers), is_last, "{method} {value:?}");
            let found = headers.get(header::MAX_FORWARDS).map(|value| value.to_str().unwrap());
            assert_eq!(found, left, "{method} {value:?}");
        }
    }
}
