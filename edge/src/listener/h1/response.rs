//! The lines of a response's head, and how its body is framed. Pure.
//!
//! Invariant: a head announces exactly one way to find the end of its body, and the body is written in that way.

use std::{io::Write, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    cache::fields::Wire,
    listener::{announced::Announced, refusal::Refusal, stream::ResponseHead},
};

/// How a client finds the end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the headers say.
    None,
    /// So many bytes are still to come.
    Length(u64),
    /// The last chunk tells.
    Chunked,
    /// The end of the connection tells (HTTP/1.0).
    UntilClose,
}

/// What a head says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing: it goes on.
    Implied,
    /// That it goes on, for HTTP/1.0.
    KeepAlive,
    /// That it ends.
    Close,
}

/// What a response answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// HEAD: there is never a body.
    pub is_head: bool,
    /// By a client of HTTP/1.0, which knows no chunks.
    pub is_http10: bool,
}

impl Framing {
    /// How this response's body is framed; `None` when its length and its end contradict each other.
    #[must_use]
    pub fn of(head: &ResponseHead<'_>, is_last: bool, asked: Asked) -> Option<Self> {
        Some(match Announced::of(head, is_last, asked.is_head)? {
            Announced::Nothing => Self::None,
            Announced::Exactly(length) => Self::Length(length),
            Announced::Open if asked.is_http10 => Self::UntilClose,
            Announced::Open => Self::Chunked,
        })
    }
}

/// Writes a final response's head.
pub fn write_head(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    framing: Framing,
    persistence: Persistence,
) {
    write_status(out, head.status);
    if let Some(stored) = head.stored {
        out.extend_from_slice(stored.block(Wire::H1, lines));
    }
    for (name, value) in head.own {
        write_line(out, name, value);
    }
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::None if head.status != StatusCode::NO_CONTENT => head.length,
        Framing::None | Framing::Chunked | Framing::UntilClose => None,
    };
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        write_number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match persistence {
        Persistence::Implied => {}
        Persistence::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response.
pub(super) fn write_interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    write_status(out, status);
    out.extend_from_slice(&lines(headers));
    out.extend_from_slice(b"\r\n");
}

/// Writes the response to a request that is refused; the connection ends with it.
pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: Refusal, now: SystemTime) {
    write_status(out, refusal.status());
    // Writing to a vector cannot fail.
    let _ = write!(out, "date: {}\r\n", httpdate::fmt_http_date(now));
    if let Some(after) = refusal.retry_after() {
        write_line(out, &http::header::RETRY_AFTER, &after);
    }
    out.extend_from_slice(b"content-length: 0\r\nconnection: close\r\n\r\n");
}

/// Writes the size line of a chunk.
pub(super) fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{size:x}\r\n");
}

/// Writes the last chunk with trailers.
pub(super) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(&lines(trailers));
    out.extend_from_slice(b"\r\n");
}

/// Headers as lines.
pub(super) fn lines(headers: &HeaderMap) -> Bytes {
    let mut out = Vec::with_capacity(headers.len() * LINE_BYTES_USUAL);
    for (name, value) in headers {
        write_line(&mut out, name, value);
    }
    out.into()
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    let known: &[u8] = match status {
        StatusCode::OK => b"HTTP/1.1 200 OK\r\n",
        StatusCode::PARTIAL_CONTENT => b"HTTP/1.1 206 Partial Content\r\n",
        StatusCode::NOT_MODIFIED => b"HTTP/1.1 304 Not Modified\r\n",
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            b"\r\n"
        }
    };
    out.extend_from_slice(known);
}

fn write_line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

const LINE_BYTES_USUAL: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::fields::Fields;

    fn head(status: u16, length: Option<u64>) -> ResponseHead<'static> {
        ResponseHead {
            status: StatusCode::from_u16(status).unwrap(),
            stored: None,
            own: &[],
            length,
        }
    }

    #[test]
    fn every_response_has_one_way_to_end() {
        const GET: Asked = Asked { is_head: false, is_http10: false };
        const HEAD: Asked = Asked { is_head: true, is_http10: false };
        const OLD: Asked = Asked { is_head: false, is_http10: true };
        for (asked, status, length, is_last, expected) in [
            (GET, 200, Some(5), false, Some(Framing::Length(5))),
            (GET, 200, Some(0), true, Some(Framing::Length(0))),
            (GET, 200, None, true, Some(Framing::Length(0))),
            (GET, 200, Some(5), true, None),
            (GET, 200, None, false, Some(Framing::Chunked)),
            (OLD, 200, None, false, Some(Framing::UntilClose)),
            (OLD, 200, Some(5), false, Some(Framing::Length(5))),
            (HEAD, 200, Some(5), true, Some(Framing::None)),
            (HEAD, 200, None, false, Some(Framing::None)),
            (GET, 304, Some(5), true, Some(Framing::None)),
            (GET, 204, None, true, Some(Framing::None)),
        ] {
            assert_eq!(
                Framing::of(&head(status, length), is_last, asked),
                expected,
                "{status} {length:?} {is_last}"
            );
        }
    }

    #[test]
    fn a_head_is_written_line_by_line() {
        let mut stored = HeaderMap::new();
        stored.insert("etag", HeaderValue::from_static("\"a\""));
        let stored = Fields::new(stored);
        let own = [(HeaderName::from_static("age"), HeaderValue::from_static("7"))];
        let written = |status: u16, length, framing, persistence| {
            let mut out = Vec::new();
            let head = ResponseHead {
                status: StatusCode::from_u16(status).unwrap(),
                stored: Some(&stored),
                own: &own,
                length,
            };
            write_head(&mut out, &head, framing, persistence);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(200, Some(1_234_567_890), Framing::Length(1_234_567_890), Persistence::Implied),
            "HTTP/1.1 200 OK\r\netag: \"a\"\r\nage: 7\r\ncontent-length: 1234567890\r\n\r\n"
        );
        assert_eq!(
            written(503, None, Framing::Chunked, Persistence::Close),
            "HTTP/1.1 503 Service Unavailable\r\netag: \"a\"\r\nage: 7\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            written(304, Some(0), Framing::None, Persistence::KeepAlive),
            "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\nage: 7\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"
        );
        assert!(
            !written(204, Some(0), Framing::None, Persistence::Implied).contains("content-length")
        );
        assert!(
            written(599, None, Framing::Length(0), Persistence::Implied)
                .starts_with("HTTP/1.1 599 \r\n")
        );
    }
}
