//! From a response's head to the frames of its header section.
//!
//! Pure. Invariant: the section is the same for every connection, but for the first of one.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    frame::put_section,
    hpack::{FIRST, encode_fields, put_content_length, put_field, put_status},
};
use crate::{cache::fields::Wire, listener::stream::ResponseHead};

/// Writes the head of a response. `length` is what `content-length` says.
pub fn put_head(
    out: &mut Vec<u8>,
    stream: u32,
    head: &ResponseHead<'_>,
    length: Option<u64>,
    is_last: bool,
    is_first: bool,
) {
    section(out, stream, is_last, is_first, |out| {
        put_status(out, head.status);
        if let Some(stored) = head.stored {
            out.extend_from_slice(stored.block(Wire::H2, |fields| {
                let mut block = Vec::new();
                encode_fields(fields, true, &mut block);
                block.into()
            }));
        }
        for (name, value) in head.own {
            put_field(out, name, value, false);
        }
        if let Some(length) = length {
            put_content_length(out, length);
        }
    });
}

/// Writes an interim response.
pub(super) fn put_interim(
    out: &mut Vec<u8>,
    stream: u32,
    status: StatusCode,
    headers: &HeaderMap,
    is_first: bool,
) {
    section(out, stream, false, is_first, |out| {
        put_status(out, status);
        encode_fields(headers, false, out);
    });
}

/// Writes the trailers that end a response.
pub(super) fn put_trailers(out: &mut Vec<u8>, stream: u32, trailers: &HeaderMap) {
    section(out, stream, true, false, |out| encode_fields(trailers, false, out));
}

/// Writes a response without content of our own.
pub(super) fn put_refusal(
    out: &mut Vec<u8>,
    stream: u32,
    status: StatusCode,
    date: &HeaderValue,
    retry_after: Option<&HeaderValue>,
    is_first: bool,
) {
    section(out, stream, true, is_first, |out| {
        put_status(out, status);
        put_field(out, &header::DATE, date, false);
        if let Some(after) = retry_after {
            put_field(out, &header::RETRY_AFTER, after, false);
        }
    });
}

fn section(
    out: &mut Vec<u8>,
    stream: u32,
    is_last: bool,
    is_first: bool,
    write: impl FnOnce(&mut Vec<u8>),
) {
    put_section(out, stream, is_last, |out| {
        if is_first {
            out.push(FIRST);
        }
        write(out);
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::{
        cache::fields::Fields,
        listener::h2::{
            frame::{self, Frame, FrameHead},
            hpack::{Decoder, Name, Value},
        },
    };

    #[test]
    fn a_head_reads_back() {
        let mut map = HeaderMap::new();
        map.insert("etag", HeaderValue::from_static("\"a\""));
        let stored = Fields::new(map);
        let own = [(HeaderName::from_static("x-own"), HeaderValue::from_static("7"))];
        let mut decoder = Decoder::default();
        for (status, is_first) in [(200, true), (206, false), (404, false), (599, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            let head = ResponseHead { status, stored: Some(&stored), own: &own, length: Some(5) };
            let mut out = Vec::new();
            put_head(&mut out, 3, &head, Some(5), false, is_first);
            let (first, payload) = out.split_first_chunk().unwrap();
            let read = frame::read(FrameHead::read(first).unwrap(), payload).unwrap();
            let Frame::Headers { fragment, is_last: false, is_whole: true, stream: 3 } = read
            else {
                panic!("{read:?}")
            };
            let mut found = Vec::new();
            decoder
                .decode(fragment, |name, value, _| {
                    found.push(match (name, value) {
                        (Name::Field(name), Value::Field(value)) => {
                            format!("{name}: {}", value.to_str().unwrap())
                        }
                        (_, Value::Pseudo(value)) => String::from_utf8(value.to_vec()).unwrap(),
                        other => panic!("{other:?}"),
                    });
                })
                .unwrap();
            assert_eq!(found, [status.as_str(), "etag: \"a\"", "x-own: 7", "content-length: 5"]);
        }
    }
}
