//! Heads of HTTP/1.1: the request's is written, the answer's is read (RFC 9112). Pure.
//!
//! Invariant: an answer whose end could be seen in two places is refused.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TRANSFER_ENCODING},
};

use super::{
    super::{Failure, verdict},
    chunked::Chunked,
};
use crate::kind::FailureClass;

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// No other answer comes on this connection.
    pub(super) is_last: bool,
}

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked(Chunked),
    /// With the connection.
    Close,
}

/// Reads a head: `None` when more is needed, else its length and itself.
pub(super) fn read(input: &[u8]) -> Result<Option<(usize, Head)>, Failure> {
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let length = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() < HEAD_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(wrong("a head over the limit")),
        Err(error) => return Err(wrong(format!("no HTTP/1 head: {error}"))),
    };
    let status = response.code.unwrap_or_default();
    let is_old = response.version == Some(0);
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_bytes(line.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(wrong("a header that is none"));
        };
        headers.append(name, value);
    }
    let framing = framing(status, &headers, is_old)?;
    let says = |word: &str| {
        let values = headers.get_all(CONNECTION).into_iter();
        values
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case(word)))
    };
    let is_last = framing == Framing::Close || says("close") || (is_old && !says("keep-alive"));
    Ok(Some((length, Head { status, headers, framing, is_last })))
}

/// RFC 9112 section 6.3, and stricter: who sends both a length and a coding is not believed.
fn framing(status: u16, headers: &HeaderMap, is_old: bool) -> Result<Framing, Failure> {
    let length = verdict::length(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if matches!(status, 100..=199 | 204 | 304) {
        return Ok(Framing::Length(0));
    }
    match (coding, length) {
        (Some(_), Some(_)) => Err(wrong("both a length and a transfer coding")),
        (Some(coding), None) => {
            let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            match is_chunked && codings.next().is_none() && !is_old {
                true => Ok(Framing::Chunked(Chunked::new())),
                false => Err(wrong("a transfer coding that was not asked for")),
            }
        }
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::Close),
    }
}

/// Writes a request's head.
pub(super) fn write(target: &str, authority: &str, headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::with_capacity(REQUEST_USUAL + target.len());
    text.extend_from_slice(b"GET ");
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    text.extend_from_slice(authority.as_bytes());
    text.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn wrong(detail: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(FailureClass::Protocol, detail)
}

/// Lines of a head.
const LINES_MAX: usize = 100;
/// Bytes of a head; nginx and Apache send up to 8 KiB.
const HEAD_MAX: usize = 32 * 1024;
/// What most requests take.
const REQUEST_USUAL: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(None) => "more".to_owned(),
            Ok(Some((length, head))) => {
                assert_eq!(length, text.len());
                let framing = match head.framing {
                    Framing::Length(length) => length.to_string(),
                    Framing::Chunked(_) => "chunked".to_owned(),
                    Framing::Close => "close".to_owned(),
                };
                format!("{} {framing}{}", head.status, if head.is_last { " last" } else { "" })
            }
            Err(failure) => format!("{:?}", failure.class),
        }
    }

    #[test]
    fn the_end_of_a_body_is_where_the_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "200 5"),
            ("HTTP/1.1 200\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n", "200 5 last"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", "200 chunked"),
            ("HTTP/1.1 200 OK\r\n\r\n", "200 close last"),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", "200 5 last"),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n", "200 5"),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", "304 0"),
            ("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", "103 0"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "204 0"),
            ("HTTP/1.1 200 OK\r\ncontent-le", "more"),
            ("", "more"),
        ] {
            assert_eq!(check(text), expected, "{text:?}");
        }
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "<html>",
        ] {
            assert_eq!(check(text), "Protocol", "{text:?}");
        }
    }

    #[test]
    fn a_head_has_limits() {
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_MAX));
        assert_eq!(check(&endless), "Protocol");
        let lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(LINES_MAX + 1));
        assert_eq!(check(&lines), "Protocol");
    }

    #[test]
    fn a_request_is_written_as_it_stands_in_the_standard() {
        let mut headers = HeaderMap::new();
        headers.insert("range", HeaderValue::from_static("bytes=0-4"));
        let text = write("/a?b=c", "a.example:81", &headers);
        assert_eq!(text, b"GET /a?b=c HTTP/1.1\r\nhost: a.example:81\r\nrange: bytes=0-4\r\n\r\n");
    }
}
