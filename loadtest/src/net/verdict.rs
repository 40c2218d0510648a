//! What an answer's head means for what was asked. Pure.
//!
//! Invariant: a body is taken as an object only with a status and a range that were asked for.

use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION},
};
use url::Url;

use super::{Ask, Failure};
use crate::kind::FailureClass;

/// What to do with an answer.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is the object.
    Object,
    /// Ask there.
    Redirect(Url),
    /// The server wants the request after the handshake (RFC 8470).
    TooEarly,
    /// It is none.
    Refused(Failure),
}

impl Verdict {
    /// Of an answer to what was asked of `url`; with it the length of the body, when the head says it.
    pub(super) fn of(
        ask: &Ask,
        url: &Url,
        status: u16,
        headers: &HeaderMap,
    ) -> (Self, Option<u64>) {
        let length = match length(headers) {
            Ok(length) => length,
            Err(failure) => return (Self::Refused(failure), None),
        };
        match status {
            200 if ask.range.is_none_or(|range| range == (0, None)) => (Self::Object, length),
            206 if ask.range.is_some() => match ranged(ask, headers, length) {
                Ok(length) => (Self::Object, length),
                Err(failure) => (Self::Refused(failure), length),
            },
            301 | 302 | 303 | 307 | 308 => (redirect(url, headers), length),
            425 => (Self::TooEarly, length),
            400..=499 => (refused(FailureClass::ClientError, status), length),
            500..=599 => (refused(FailureClass::ServerError, status), length),
            _ => (refused(FailureClass::Unexpected, status), length),
        }
    }
}

fn refused(class: FailureClass, status: u16) -> Verdict {
    Verdict::Refused(Failure::new(class, format!("status {status}")))
}

/// `Content-Length`; several are one only when they agree (RFC 9110 section 8.6).
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().unwrap_or_default().trim();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| is_number);
        match (number, length) {
            (None, _) => return Err(Failure::new(FailureClass::Protocol, "no Content-Length")),
            (Some(one), Some(other)) if one != other => {
                return Err(Failure::new(FailureClass::Protocol, "two values of Content-Length"));
            }
            (number, _) => length = number,
        }
    }
    Ok(length)
}

/// Whether the part is the one that was asked for; its length.
fn ranged(ask: &Ask, headers: &HeaderMap, length: Option<u64>) -> Result<Option<u64>, Failure> {
    let wrong = |detail| Failure::new(FailureClass::Unexpected, detail);
    let (first_asked, count_asked) = ask.range.unwrap_or_default();
    let value = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let (first, last) = value
        .and_then(|value| value.strip_prefix("bytes "))
        .and_then(|value| value.split_once('/'))
        .and_then(|(range, _)| range.split_once('-'))
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)))
        .filter(|(first, last)| first <= last && *last < u64::MAX)
        .ok_or_else(|| Failure::new(FailureClass::Protocol, "no Content-Range"))?;
    let count = last - first + 1;
    if first != first_asked || count_asked.is_some_and(|asked| count > asked) {
        return Err(wrong("another range than asked for"));
    }
    match length {
        Some(length) if length != count => {
            Err(Failure::new(FailureClass::Protocol, "Content-Range and Content-Length differ"))
        }
        _ => Ok(Some(count)),
    }
}

fn redirect(url: &Url, headers: &HeaderMap) -> Verdict {
    let to = headers
        .get(LOCATION)
        .filter(|value| value.len() <= LOCATION_MAX)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| url.join(value).ok())
        .filter(|to| matches!(to.scheme(), "http" | "https") && to.host().is_some());
    match to {
        Some(to) => Verdict::Redirect(to),
        None => Verdict::Refused(Failure::new(FailureClass::Unexpected, "a redirect to nowhere")),
    }
}

/// A longer address is no address.
const LOCATION_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn verdict(
        range: Option<(u64, Option<u64>)>,
        status: u16,
        lines: &[(&'static str, &'static str)],
    ) -> String {
        let url = Url::parse("https://a.example/x/1.m4s").unwrap();
        let ask = Ask {
            url: url.clone(),
            range,
            headers: Vec::new(),
            urgency: 3,
            keep: None,
            hash: false,
            timeout: Duration::from_secs(1),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        match Verdict::of(&ask, &url, status, &headers) {
            (Verdict::Object, length) => format!("object {length:?}"),
            (Verdict::Redirect(to), _) => to.to_string(),
            (Verdict::TooEarly, _) => "too early".to_owned(),
            (Verdict::Refused(failure), _) => format!("{:?}", failure.class),
        }
    }

    #[test]
    fn a_status_is_what_was_asked_for_or_has_a_class() {
        for (status, lines, expected) in [
            (200, &[("content-length", "7")][..], "object Some(7)"),
            (200, &[], "object None"),
            (200, &[("content-length", "7"), ("content-length", "7")], "object Some(7)"),
            (200, &[("content-length", "7"), ("content-length", "8")], "Protocol"),
            (200, &[("content-length", "+7")], "Protocol"),
            (200, &[("content-length", "")], "Protocol"),
            (200, &[("content-length", "99999999999999999999")], "Protocol"),
            (204, &[], "Unexpected"),
            (206, &[("content-range", "bytes 0-1/2")], "Unexpected"),
            (302, &[("location", "../2")], "https://a.example/2"),
            (301, &[("location", "//b.example/3")], "https://b.example/3"),
            (308, &[("location", "file:///etc/passwd")], "Unexpected"),
            (307, &[], "Unexpected"),
            (304, &[], "Unexpected"),
            (404, &[], "ClientError"),
            (425, &[], "too early"),
            (503, &[], "ServerError"),
            (999, &[], "Unexpected"),
        ] {
            assert_eq!(verdict(None, status, lines), expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn a_part_is_the_part_that_was_asked_for() {
        let part = Some((10, Some(5)));
        for (range, status, lines, expected) in [
            (part, 206, &[("content-range", "bytes 10-14/99")][..], "object Some(5)"),
            (part, 206, &[("content-range", "bytes 10-12/13")], "object Some(3)"),
            (part, 206, &[("content-range", "bytes 10-15/99")], "Unexpected"),
            (part, 206, &[("content-range", "bytes 9-13/99")], "Unexpected"),
            (part, 206, &[("content-range", "bytes 14-10/99")], "Protocol"),
            (part, 206, &[("content-range", "bytes */99")], "Protocol"),
            (part, 206, &[], "Protocol"),
            (
                part,
                206,
                &[("content-range", "bytes 10-14/99"), ("content-length", "4")],
                "Protocol",
            ),
            (part, 200, &[], "Unexpected"),
            (part, 416, &[], "ClientError"),
            (Some((0, None)), 200, &[], "object None"),
            (Some((3, None)), 206, &[("content-range", "bytes 3-8/9")], "object Some(6)"),
        ] {
            assert_eq!(verdict(range, status, lines), expected, "{range:?} {lines:?}");
        }
    }
}
