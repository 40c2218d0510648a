//! From a response's head to the bytes of its HEADERS frame, and of the head of the DATA frame behind it.
//!
//! Invariant: with a known length all content stands in one DATA frame, so a response needs no bytes of ours between
//! its pieces.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use super::{
    frame::{FRAME_HEAD_MAX, kind, put_frame_head},
    qpack::{PREFIX, encode_fields, put_content_length, put_field, put_status},
};
use crate::{cache::fields::Wire, listener::stream::ResponseHead};

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nothing.
    Nothing,
    /// Content of the length that the head names.
    Known(u64),
    /// Content in DATA frames of their own.
    Pieces,
}

/// The frames of a response's head. `scratch` is only a place to write; what is returned is taken out of it.
#[must_use]
pub fn head(scratch: &mut BytesMut, head: &ResponseHead<'_>, follows: Follows) -> Bytes {
    headers_frame(
        scratch,
        |out| {
            put_status(out, head.status);
            if let Some(stored) = head.stored {
                out.put_slice(stored.block(Wire::H3, |fields| {
                    let mut block = Vec::new();
                    encode_fields(fields, true, &mut block);
                    block.into()
                }));
            }
            for (name, value) in head.own {
                put_field(out, name, value, false);
            }
            if let Some(length) = head.length {
                put_content_length(out, length);
            }
        },
        follows,
    )
}

/// The frame of an interim response.
pub(super) fn interim(scratch: &mut BytesMut, status: StatusCode, headers: &HeaderMap) -> Bytes {
    headers_frame(
        scratch,
        |out| {
            put_status(out, status);
            encode_fields(headers, false, out);
        },
        Follows::Nothing,
    )
}

/// The frame of a trailer section.
pub(super) fn trailers(scratch: &mut BytesMut, trailers: &HeaderMap) -> Bytes {
    headers_frame(scratch, |out| encode_fields(trailers, false, out), Follows::Nothing)
}

/// The head of a DATA frame of its own.
pub(super) fn data_head(scratch: &mut BytesMut, length: u64) -> Bytes {
    make_room(scratch);
    put_frame_head(scratch, kind::DATA, length);
    scratch.split().freeze()
}

fn headers_frame(
    scratch: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut),
    follows: Follows,
) -> Bytes {
    make_room(scratch);
    // The length stands before the section but is known behind it.
    scratch.put_bytes(0, FRAME_HEAD_MAX);
    scratch.extend_from_slice(&PREFIX);
    write(scratch);
    let section = scratch.len() - FRAME_HEAD_MAX;
    if let Follows::Known(length) = follows {
        put_frame_head(scratch, kind::DATA, length);
    }
    let mut head = [0; FRAME_HEAD_MAX];
    let mut free = &mut head[..];
    put_frame_head(&mut free, kind::HEADERS, section as u64);
    let used = FRAME_HEAD_MAX - free.len();
    let begin = FRAME_HEAD_MAX - used;
    scratch[begin..FRAME_HEAD_MAX].copy_from_slice(&head[..used]);
    scratch.advance(begin);
    scratch.split().freeze()
}

fn make_room(scratch: &mut BytesMut) {
    if scratch.capacity() < ROOM {
        *scratch = BytesMut::with_capacity(SCRATCH);
    }
}

/// Heads share an allocation of this size; one that is larger takes its own.
const SCRATCH: usize = 16 * 1024;
/// What a usual head takes.
const ROOM: usize = 1024;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, header::AGE};

    use super::*;
    use crate::{
        cache::fields::Fields,
        listener::h3::{
            message::{Event, Message},
            qpack::{Name, Pseudo, Value, decode},
        },
    };

    fn lines(section: &Bytes) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        decode(section, |name, value, _| {
            let name = match name {
                Name::Pseudo(Pseudo::Status) => ":status".to_owned(),
                Name::Field(name) => name.to_string(),
                other => panic!("{other:?}"),
            };
            let value = match value {
                Value::Pseudo(value) => value.to_vec(),
                Value::Field(value) => value.as_bytes().to_vec(),
                Value::Malformed => panic!("{name} has no value"),
            };
            lines.push((name, String::from_utf8(value).unwrap()));
        })
        .unwrap();
        lines
    }

    #[test]
    fn a_head_reads_back_with_its_content_behind_it() {
        let mut map = HeaderMap::new();
        map.insert("x-stored", HeaderValue::from_static("one"));
        // Longer than what a length of one or two bytes can say.
        map.insert("x-long", HeaderValue::try_from("a?".repeat(10_000)).unwrap());
        let stored = Fields::new(map);
        let own = [
            (AGE, HeaderValue::from_static("7")),
            (HeaderName::from_static("x-own"), HeaderValue::from_static("2")),
        ];
        let mut scratch = BytesMut::new();
        for (stored, length) in [(Some(&stored), Some(3)), (None, Some(3)), (None, None)] {
            let response = ResponseHead { status: StatusCode::OK, stored, own: &own, length };
            let follows = length.map_or(Follows::Pieces, Follows::Known);
            let mut bytes = head(&mut scratch, &response, follows).to_vec();
            if length.is_none() {
                bytes.extend_from_slice(&data_head(&mut scratch, 3));
            }
            bytes.extend_from_slice(b"abc");
            bytes.extend_from_slice(&trailers(&mut scratch, &HeaderMap::new()));

            let mut message = Message::new(1 << 20);
            message.push(bytes.into());
            message.set_ended();
            let Ok(Event::Head(section)) = message.next_event() else { panic!("no head") };
            let found = lines(&section);
            assert_eq!(found[0], (":status".into(), "200".into()));
            assert_eq!(found.iter().any(|(name, _)| name == "x-long"), stored.is_some());
            assert_eq!(found.contains(&("content-length".into(), "3".into())), length.is_some());
            assert!(found.contains(&("age".into(), "7".into())));
            assert_eq!(message.next_event(), Ok(Event::Data(Bytes::from_static(b"abc"))));
            assert!(matches!(message.next_event(), Ok(Event::Trailers(_))));
            assert_eq!(message.next_event(), Ok(Event::End));
        }
    }
}
