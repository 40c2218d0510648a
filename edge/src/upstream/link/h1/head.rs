//! The head of an answer of HTTP/1, read strictly (RFC 9112).
//!
//! Pure. Invariant: every line ends with CR LF, and neither byte stands anywhere else; a header's name is followed by
//! its colon at once; no line continues another.

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::framing::Malformed;

/// Reads a head as its bytes come.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// Where the line begins that is not complete yet.
    line: usize,
    /// What was searched for the end of that line.
    searched: usize,
    status: Option<(StatusCode, bool)>,
    headers: HeaderMap,
    fields: usize,
}

/// A head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) is_http_1_1: bool,
    pub(super) headers: HeaderMap,
}

impl HeadReader {
    /// Takes the head from the buffer once all of it is there.
    pub(super) fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, Malformed> {
        while let Some(line) = next_line(buffer, &mut self.line, &mut self.searched)? {
            if self.line > HEAD_BYTES_MAX {
                break;
            }
            match (line, self.status) {
                ([], None) => return Err(Malformed("an empty line before the head")),
                (line, None) => self.status = Some(status_line(line)?),
                ([], Some((status, is_http_1_1))) => {
                    buffer.advance(self.line);
                    let headers = std::mem::take(self).headers;
                    return Ok(Some(Head { status, is_http_1_1, headers }));
                }
                (line, Some(_)) => {
                    self.fields += 1;
                    field(line, self.fields, &mut self.headers)?;
                }
            }
        }
        if buffer.len() > HEAD_BYTES_MAX { Err(Malformed("too large a head")) } else { Ok(None) }
    }
}

/// Reads trailers as their bytes come, to the empty line that ends them.
#[derive(Debug, Default)]
pub(super) struct TrailerReader {
    line: usize,
    searched: usize,
    headers: HeaderMap,
    fields: usize,
}

impl TrailerReader {
    /// Takes the trailers from the buffer once all of them are there.
    pub(super) fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
        while let Some(line) = next_line(buffer, &mut self.line, &mut self.searched)? {
            if self.line > TRAILER_BYTES_MAX {
                break;
            }
            if line.is_empty() {
                buffer.advance(self.line);
                return Ok(Some(std::mem::take(self).headers));
            }
            self.fields += 1;
            field(line, self.fields, &mut self.headers)?;
        }
        let is_too_large = buffer.len() > TRAILER_BYTES_MAX;
        if is_too_large { Err(Malformed("too large trailers")) } else { Ok(None) }
    }
}

/// The next line without its end, once it is complete.
pub(super) fn next_line<'a>(
    buffer: &'a [u8],
    start: &mut usize,
    searched: &mut usize,
) -> Result<Option<&'a [u8]>, Malformed> {
    let from = (*searched).max(*start);
    let Some(end) = buffer[from..].iter().position(|byte| *byte == b'\n') else {
        *searched = buffer.len();
        return Ok(None);
    };
    let end = from + end;
    let Some(line) = buffer[*start..end].strip_suffix(b"\r") else {
        return Err(Malformed("a line that does not end with CR LF"));
    };
    *start = end + 1;
    *searched = end + 1;
    if line.contains(&b'\r') {
        return Err(Malformed("a CR within a line"));
    }
    Ok(Some(line))
}

fn status_line(line: &[u8]) -> Result<(StatusCode, bool), Malformed> {
    let (version, rest) = line.split_at_checked(9).ok_or(Malformed("no status line"))?;
    let is_http_1_1 = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return Err(Malformed("neither HTTP/1.1 nor HTTP/1.0")),
    };
    let (code, reason) = rest.split_at_checked(3).ok_or(Malformed("no status"))?;
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !matches!(reason.first(), None | Some(b' ')) || !reason.iter().all(is_text) {
        return Err(Malformed("no status line"));
    }
    let status = StatusCode::from_bytes(code).map_err(|_| Malformed("no status"))?;
    if status.as_u16() >= 600 { Err(Malformed("no status")) } else { Ok((status, is_http_1_1)) }
}

fn field(line: &[u8], number: usize, headers: &mut HeaderMap) -> Result<(), Malformed> {
    if number > FIELDS_MAX {
        return Err(Malformed("too many headers"));
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Malformed("no colon"))?;
    // This refuses white space before the colon and at the start of a line, which continues the one before.
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed("no header name"))?;
    let value = HeaderValue::from_bytes(trim_blanks(&line[colon + 1..]))
        .map_err(|_| Malformed("no header value"))?;
    headers.try_append(name, value).map_err(|_| Malformed("too many headers"))?;
    Ok(())
}

/// Without the blanks around it (RFC 9110 5.5): other white space is not for a value.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The largest head of an answer. Origins stay below 16 KiB, but for those with many cookies or a long policy.
pub(in crate::upstream::link) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The largest trailers.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// The most headers of one answer.
const FIELDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Result<Option<Head>, Malformed> {
        HeadReader::default().read(&mut BytesMut::from(text))
    }

    #[test]
    fn a_head_is_read() {
        let mut buffer = BytesMut::from(
            &b"HTTP/1.1 200 OK\r\nA: 1\r\na:\t2 \r\nEmpty:\r\nB: \xe4\r\n\r\nbody"[..],
        );
        let head = HeadReader::default().read(&mut buffer).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.is_http_1_1), (200, true));
        let all: Vec<_> = head.headers.get_all("a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        assert_eq!(head.headers["empty"], "");
        assert_eq!(&buffer[..], b"body");
        assert!(read(b"HTTP/1.0 404\r\n\r\n").unwrap().is_some());
        assert!(read(b"HTTP/1.1 200 \r\n\r\n").unwrap().is_some());
        assert!(read(b"HTTP/1.1 200 OK\r\nA: 1\r\n").unwrap().is_none());
    }

    #[test]
    fn what_is_not_one_is_refused() {
        for text in [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\nA: 1\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\r2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA(: 1\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 O\u{7}K\r\n\r\n",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(300));
        assert!(read(many.as_bytes()).is_err());
        for end in ["", "\r\n\r\n"] {
            let large = format!("HTTP/1.1 200 OK\r\na: {}{end}", "x".repeat(HEAD_BYTES_MAX));
            assert!(read(large.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(cuts in prop::collection::vec(1usize..7, 0..40)) {
            let text = b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nX: a, b\r\n\r\nrest!";
            let (mut reader, mut buffer, mut from) = (HeadReader::default(), BytesMut::new(), 0);
            let mut head = None;
            for cut in cuts.into_iter().chain([text.len()]) {
                let to = (from + cut).min(text.len());
                buffer.extend_from_slice(&text[from..to]);
                from = to;
                if head.is_none() {
                    head = reader.read(&mut buffer).unwrap();
                }
            }
            let head = head.unwrap();
            prop_assert_eq!(head.headers.len(), 2);
            prop_assert_eq!(&buffer[..], b"rest!");
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat());
        }
    }
}
