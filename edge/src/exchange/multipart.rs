//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 section 14.6).
//!
//! Pure. Invariant: the length is known before the first byte is sent.

use bytes::Bytes;
use http::{HeaderValue, header};

use crate::cache::range::{ContentRange, Span};

/// A part: what stands before its bytes, and which these are.
pub(super) struct Part {
    pub(super) head: Bytes,
    pub(super) span: Span,
}

/// A whole body in parts.
pub(super) struct Multipart {
    pub(super) content_type: HeaderValue,
    pub(super) parts: Vec<Part>,
    pub(super) closing: Bytes,
    /// Of everything.
    pub(super) length: u64,
}

impl Multipart {
    /// The parts of a resource of this length and type.
    pub(super) fn new(
        spans: &[Span],
        total: u64,
        content_type: Option<&HeaderValue>,
        boundary: &str,
    ) -> Self {
        let part = |(at, span): (usize, &Span)| {
            let mut head = Vec::with_capacity(HEAD_BYTES);
            head.extend_from_slice(if at == 0 { b"--" } else { b"\r\n--" });
            head.extend_from_slice(boundary.as_bytes());
            head.extend_from_slice(b"\r\n");
            if let Some(content_type) = content_type {
                line(&mut head, header::CONTENT_TYPE.as_str(), content_type);
            }
            let range = ContentRange::of(*span, total).format();
            line(&mut head, header::CONTENT_RANGE.as_str(), &range);
            head.extend_from_slice(b"\r\n");
            Part { head: head.into(), span: *span }
        };
        let parts: Vec<Part> = spans.iter().enumerate().map(part).collect();
        let closing = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let bytes: u64 = parts.iter().map(|part| part.head.len() as u64 + part.span.len()).sum();
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Self {
            content_type: HeaderValue::try_from(content_type)
                .expect("the boundary is of hex digits"),
            length: bytes + closing.len() as u64,
            parts,
            closing,
        }
    }
}

fn line(head: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// What a part's head takes, nearly always.
const HEAD_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_says_what_it_is() {
        let spans = [Span { start: 0, end: 2 }, Span { start: 5, end: 9 }];
        let plain = HeaderValue::from_static("text/plain");
        let multipart = Multipart::new(&spans, 10, Some(&plain), "b0");
        assert_eq!(multipart.content_type, "multipart/byteranges; boundary=b0");
        let mut text = Vec::new();
        for part in &multipart.parts {
            text.extend_from_slice(&part.head);
            text.extend(b"0123456789"[part.span.start as usize..part.span.end as usize].iter());
        }
        text.extend_from_slice(&multipart.closing);
        assert_eq!(
            String::from_utf8(text.clone()).unwrap(),
            "--b0\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
             \r\n--b0\r\ncontent-type: text/plain\r\ncontent-range: bytes 5-8/10\r\n\r\n5678\
             \r\n--b0--\r\n"
        );
        assert_eq!(multipart.length, text.len() as u64);
    }
}
