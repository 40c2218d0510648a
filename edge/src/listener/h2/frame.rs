//! Frames: their layout, what a client may send, and how ours are written (RFC 9113 4 and 6, RFC 9218 7.1).
//!
//! Pure. Invariant: a frame that is longer than we allow is refused by its head, before a byte of it is kept.

use bytes::BufMut;

use super::code::{Broken, Code};

/// The numbers of frame types.
pub mod kind {
    #![allow(missing_docs, reason = "the RFC's names")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: usize,
    /// One of [`kind`], or something unknown.
    pub kind: u8,
    /// What they mean depends on the kind.
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
}

/// What a frame says, with the checks that need nothing but the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Content; `flow` counts against the windows, with the padding.
    Data {
        /// Its stream.
        stream: u32,
        /// Without padding.
        content: &'a [u8],
        /// What flow control counts.
        flow: u32,
        /// END_STREAM.
        is_last: bool,
    },
    /// The beginning of a header section.
    Headers {
        /// Its stream.
        stream: u32,
        /// Without padding and priority.
        fragment: &'a [u8],
        /// END_STREAM.
        is_last: bool,
        /// END_HEADERS.
        is_whole: bool,
    },
    /// More of a header section.
    Continuation {
        /// Its stream.
        stream: u32,
        /// The bytes.
        fragment: &'a [u8],
        /// END_HEADERS.
        is_whole: bool,
    },
    /// The client ends a stream.
    Reset {
        /// Which.
        stream: u32,
        /// Why.
        code: u32,
    },
    /// What the client wants of us.
    Settings(Settings),
    /// It has seen ours.
    SettingsAck,
    /// To be sent back.
    Ping([u8; 8]),
    /// Ours, sent back.
    PingAck([u8; 8]),
    /// The client will open no more streams, as far as that matters to a server.
    GoAway,
    /// More may be sent.
    Window {
        /// 0 for the connection.
        stream: u32,
        /// Bytes more; 0 is an error of the stream or connection.
        increment: u32,
    },
    /// How urgent a stream is.
    Urgency {
        /// Which.
        stream: u32,
        /// A priority field value (RFC 9218 7.1).
        value: &'a [u8],
    },
    /// Nothing that means anything here.
    Ignored,
}

/// The settings that a server heeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// SETTINGS_INITIAL_WINDOW_SIZE, when it was among them.
    pub initial_window: Option<u32>,
}

impl FrameHead {
    /// The head in these bytes.
    ///
    /// # Errors
    /// When the payload is longer than our settings allow.
    pub fn read(bytes: &[u8; HEAD_BYTES]) -> Result<Self, Broken> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(Broken::size("frame above the limit"));
        }
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_ID_MASK;
        Ok(Self { length, kind, flags, stream })
    }

    /// The head as it is written.
    #[must_use]
    pub fn bytes(self) -> [u8; HEAD_BYTES] {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What a whole frame says.
///
/// # Errors
/// When its layout or its stream is wrong.
pub fn read(head: FrameHead, payload: &[u8]) -> Result<Frame<'_>, Broken> {
    let FrameHead { stream, .. } = head;
    match head.kind {
        kind::DATA => {
            on_stream(stream, "DATA on stream 0")?;
            Ok(Frame::Data {
                stream,
                content: unpadded(head, payload)?,
                flow: payload.len() as u32,
                is_last: head.has(END_STREAM),
            })
        }
        kind::HEADERS => headers(head, payload),
        kind::CONTINUATION => {
            on_stream(stream, "CONTINUATION on stream 0")?;
            Ok(Frame::Continuation { stream, fragment: payload, is_whole: head.has(END_HEADERS) })
        }
        kind::PRIORITY => {
            on_stream(stream, "PRIORITY on stream 0")?;
            if payload.len() != PRIORITY_BYTES {
                return Err(Broken::size("PRIORITY of a wrong length"));
            }
            check_dependency(stream, payload)?;
            Ok(Frame::Ignored)
        }
        kind::RST_STREAM => {
            on_stream(stream, "RST_STREAM on stream 0")?;
            let code = number(payload).ok_or(Broken::size("RST_STREAM of a wrong length"))?;
            Ok(Frame::Reset { stream, code })
        }
        kind::SETTINGS => settings(head, payload),
        kind::PUSH_PROMISE => Err(Broken::protocol("PUSH_PROMISE by a client")),
        kind::PING => {
            on_connection(stream, "PING on a stream")?;
            let data = payload.try_into().map_err(|_| Broken::size("PING of a wrong length"))?;
            Ok(if head.has(ACK) { Frame::PingAck(data) } else { Frame::Ping(data) })
        }
        kind::GOAWAY => {
            on_connection(stream, "GOAWAY on a stream")?;
            if payload.len() < GOAWAY_BYTES_MIN {
                return Err(Broken::size("GOAWAY of a wrong length"));
            }
            Ok(Frame::GoAway)
        }
        kind::WINDOW_UPDATE => {
            let increment =
                number(payload).ok_or(Broken::size("WINDOW_UPDATE of a wrong length"))?;
            Ok(Frame::Window { stream, increment: increment & STREAM_ID_MASK })
        }
        kind::PRIORITY_UPDATE => {
            on_connection(stream, "PRIORITY_UPDATE on a stream")?;
            let (id, value) = payload
                .split_first_chunk()
                .ok_or(Broken::size("PRIORITY_UPDATE of a wrong length"))?;
            let stream = u32::from_be_bytes(*id) & STREAM_ID_MASK;
            on_stream(stream, "PRIORITY_UPDATE of stream 0")?;
            if stream.is_multiple_of(2) {
                // Of a push, and none was ever promised (RFC 9218 7.1).
                return Err(Broken::protocol("PRIORITY_UPDATE of a push"));
            }
            Ok(Frame::Urgency { stream, value })
        }
        _ => Ok(Frame::Ignored),
    }
}

/// Writes our SETTINGS, and the window of the whole connection.
pub fn put_preface(out: &mut Vec<u8>, settings: &[(u16, u32)], window: u32) {
    let length = settings.len() * SETTING_BYTES;
    out.put_slice(&FrameHead { length, kind: kind::SETTINGS, flags: 0, stream: 0 }.bytes());
    for (name, value) in settings {
        out.put_u16(*name);
        out.put_u32(*value);
    }
    put_window_update(out, 0, window - WINDOW_INITIAL);
}

/// Writes the acknowledgement of the client's settings.
pub fn put_settings_ack(out: &mut Vec<u8>) {
    out.put_slice(&FrameHead { length: 0, kind: kind::SETTINGS, flags: ACK, stream: 0 }.bytes());
}

/// Writes PING, or the answer to one.
pub fn put_ping(out: &mut Vec<u8>, data: [u8; 8], is_ack: bool) {
    let flags = if is_ack { ACK } else { 0 };
    out.put_slice(&FrameHead { length: data.len(), kind: kind::PING, flags, stream: 0 }.bytes());
    out.put_slice(&data);
}

/// Writes RST_STREAM.
pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    out.put_slice(&FrameHead { length: 4, kind: kind::RST_STREAM, flags: 0, stream }.bytes());
    out.put_u32(code.value());
}

/// Writes WINDOW_UPDATE.
pub fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    out.put_slice(&FrameHead { length: 4, kind: kind::WINDOW_UPDATE, flags: 0, stream }.bytes());
    out.put_u32(increment);
}

/// Writes GOAWAY.
pub fn put_goaway(out: &mut Vec<u8>, last: u32, code: Code) {
    let length = GOAWAY_BYTES_MIN;
    out.put_slice(&FrameHead { length, kind: kind::GOAWAY, flags: 0, stream: 0 }.bytes());
    out.put_u32(last);
    out.put_u32(code.value());
}

/// Writes a header section that `write` writes, in as many frames as it takes.
pub fn put_section(
    out: &mut Vec<u8>,
    stream: u32,
    is_last: bool,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let begin = out.len();
    out.put_bytes(0, HEAD_BYTES);
    write(out);
    let length = out.len() - begin - HEAD_BYTES;
    let end = if is_last { END_STREAM } else { 0 };
    let first = length.min(PAYLOAD_BYTES_MAX);
    let whole = |is_whole| if is_whole { END_HEADERS } else { 0 };
    let flags = end | whole(first == length);
    let head = FrameHead { length: first, kind: kind::HEADERS, flags, stream };
    out[begin..begin + HEAD_BYTES].copy_from_slice(&head.bytes());
    if first == length {
        return;
    }
    // Rare: no head of ours is that long unless an upstream's is.
    let mut rest = &*out.split_off(begin + HEAD_BYTES + first);
    while !rest.is_empty() {
        let (fragment, behind) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
        rest = behind;
        let (length, flags) = (fragment.len(), whole(rest.is_empty()));
        out.put_slice(&FrameHead { length, kind: kind::CONTINUATION, flags, stream }.bytes());
        out.put_slice(fragment);
    }
}

fn headers(head: FrameHead, payload: &[u8]) -> Result<Frame<'_>, Broken> {
    on_stream(head.stream, "HEADERS on stream 0")?;
    let mut fragment = unpadded(head, payload)?;
    if head.has(PRIORITY) {
        check_dependency(head.stream, fragment)?;
        fragment = fragment
            .get(PRIORITY_BYTES..)
            .ok_or(Broken::protocol("HEADERS too short for its priority"))?;
    }
    Ok(Frame::Headers {
        stream: head.stream,
        fragment,
        is_last: head.has(END_STREAM),
        is_whole: head.has(END_HEADERS),
    })
}

fn settings(head: FrameHead, payload: &[u8]) -> Result<Frame<'_>, Broken> {
    on_connection(head.stream, "SETTINGS on a stream")?;
    if head.has(ACK) {
        return match payload {
            [] => Ok(Frame::SettingsAck),
            _ => Err(Broken::size("SETTINGS acknowledgement with a payload")),
        };
    }
    let (entries, rest) = payload.as_chunks::<SETTING_BYTES>();
    if !rest.is_empty() {
        return Err(Broken::size("SETTINGS of a wrong length"));
    }
    let mut settings = Settings::default();
    for [n0, n1, v0, v1, v2, v3] in entries {
        let value = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
        match (u16::from_be_bytes([*n0, *n1]), value) {
            (setting::ENABLE_PUSH | setting::NO_RFC7540_PRIORITIES, 2..) => {
                return Err(Broken::protocol("setting that is neither 0 nor 1"));
            }
            (setting::INITIAL_WINDOW_SIZE, WINDOW_MAX_NEXT..) => {
                return Err(Broken::Connection(Code::FLOW_CONTROL_ERROR, "initial window"));
            }
            (setting::INITIAL_WINDOW_SIZE, size) => settings.initial_window = Some(size),
            (setting::MAX_FRAME_SIZE, size) if !FRAME_SIZES.contains(&size) => {
                return Err(Broken::protocol("frame size beyond its bounds"));
            }
            _ => {}
        }
    }
    Ok(Frame::Settings(settings))
}

fn unpadded(head: FrameHead, payload: &[u8]) -> Result<&[u8], Broken> {
    if !head.has(PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Broken::size("no length of the padding"))?;
    let length = rest.len().checked_sub(usize::from(*padding));
    Ok(&rest[..length.ok_or(Broken::protocol("padding longer than the frame"))?])
}

/// A priority of RFC 7540 means nothing any more, but none may name its own stream.
fn check_dependency(stream: u32, priority: &[u8]) -> Result<(), Broken> {
    match priority.first_chunk() {
        Some(on) if u32::from_be_bytes(*on) & STREAM_ID_MASK == stream => {
            Err(Broken::protocol("stream that depends on itself"))
        }
        _ => Ok(()),
    }
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

fn on_stream(stream: u32, why: &'static str) -> Result<(), Broken> {
    if stream == 0 { Err(Broken::protocol(why)) } else { Ok(()) }
}

fn on_connection(stream: u32, why: &'static str) -> Result<(), Broken> {
    if stream == 0 { Ok(()) } else { Err(Broken::protocol(why)) }
}

/// The numbers of settings.
pub mod setting {
    #![allow(missing_docs, reason = "the RFC's names")]
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// What every client begins with (RFC 9113 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 9;
/// The longest payload: SETTINGS_MAX_FRAME_SIZE as it is at first, ours for good.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// The window of a stream and of the connection before anybody says otherwise.
pub const WINDOW_INITIAL: u32 = 65_535;
/// END_STREAM.
pub const END_STREAM: u8 = 1;
/// The largest number of a stream.
pub const STREAM_ID_MASK: u32 = 0x7fff_ffff;

const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
const GOAWAY_BYTES_MIN: usize = 8;
const SETTING_BYTES: usize = 6;
/// One more than a window may have.
const WINDOW_MAX_NEXT: u32 = 1 << 31;
const FRAME_SIZES: std::ops::Range<u32> = 1 << 14..1 << 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, Broken> {
        read(FrameHead { length: payload.len(), kind, flags, stream }, payload)
    }

    #[test]
    fn frames_say_what_the_rfc_has_them_say() {
        assert_eq!(
            parsed(kind::DATA, PADDED | END_STREAM, 3, b"\x02abc\0\0"),
            Ok(Frame::Data { stream: 3, content: b"abc", flow: 6, is_last: true })
        );
        assert_eq!(
            parsed(kind::HEADERS, PADDED | PRIORITY | END_HEADERS, 1, b"\x01\0\0\0\x03\x10hi\0"),
            Ok(Frame::Headers { stream: 1, fragment: b"hi", is_last: false, is_whole: true })
        );
        assert_eq!(
            parsed(kind::SETTINGS, 0, 0, b"\0\x04\0\0\0\x07\0\x04\0\0\0\x08\xff\xff\0\0\0\0"),
            Ok(Frame::Settings(Settings { initial_window: Some(8) }))
        );
        assert_eq!(
            parsed(kind::PRIORITY_UPDATE, 0, 0, b"\x80\0\0\x05u=1"),
            Ok(Frame::Urgency { stream: 5, value: b"u=1" })
        );
        assert_eq!(
            parsed(kind::WINDOW_UPDATE, 0, 7, b"\x80\0\0\x01"),
            Ok(Frame::Window { stream: 7, increment: 1 })
        );
        assert_eq!(parsed(0xbe, 0xff, 0, b"grease"), Ok(Frame::Ignored));
    }

    #[test]
    fn a_wrong_layout_ends_the_connection_with_its_code() {
        let size = Code::FRAME_SIZE_ERROR;
        let protocol = Code::PROTOCOL_ERROR;
        for (what, code, kind, flags, stream, payload) in [
            ("DATA on 0", protocol, kind::DATA, 0, 0, &b"x"[..]),
            ("padding too long", protocol, kind::DATA, PADDED, 1, b"\x02x"),
            ("no padding length", size, kind::DATA, PADDED, 1, b""),
            ("HEADERS on 0", protocol, kind::HEADERS, 0, 0, b""),
            ("no room for priority", protocol, kind::HEADERS, PRIORITY, 1, b"\0\0\0\x03"),
            ("depends on itself", protocol, kind::HEADERS, PRIORITY, 3, b"\0\0\0\x03\0"),
            ("so does this", protocol, kind::PRIORITY, 0, 3, b"\x80\0\0\x03\0"),
            ("short priority", size, kind::PRIORITY, 0, 3, b"\0"),
            ("reset of 3 bytes", size, kind::RST_STREAM, 0, 1, b"\0\0\0"),
            ("push", protocol, kind::PUSH_PROMISE, 0, 1, b"\0\0\0\x02"),
            ("long ping", size, kind::PING, 0, 0, b"123456789"),
            ("short goaway", size, kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0"),
            ("window of 5 bytes", size, kind::WINDOW_UPDATE, 0, 0, b"\0\0\0\0\0"),
            ("continuation on 0", protocol, kind::CONTINUATION, 0, 0, b""),
            ("short update", size, kind::PRIORITY_UPDATE, 0, 0, b"\0\0"),
            ("update of 0", protocol, kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1"),
            ("update of a push", protocol, kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x02u=1"),
            ("odd settings", size, kind::SETTINGS, 0, 0, b"\0"),
            ("priorities of 2", protocol, kind::SETTINGS, 0, 0, b"\0\x09\0\0\0\x02"),
            ("frame size of 2^24", protocol, kind::SETTINGS, 0, 0, b"\0\x05\x01\0\0\0"),
        ] {
            let refused = parsed(kind, flags, stream, payload);
            let Err(Broken::Connection(found, _)) = refused else { panic!("{what}: {refused:?}") };
            assert_eq!(found, code, "{what}");
        }
        assert!(FrameHead::read(&[0, 0x40, 1, 0, 0, 0, 0, 0, 1]).is_err(), "16385 bytes");
        assert!(FrameHead::read(&[0, 0x40, 0, 0, 0, 0, 0, 0, 1]).is_ok());
    }

    proptest! {
        #[test]
        fn heads_read_back(length in 0..=PAYLOAD_BYTES_MAX, kind: u8, flags: u8, stream in 0..=STREAM_ID_MASK) {
            let head = FrameHead { length, kind, flags, stream };
            prop_assert_eq!(FrameHead::read(&head.bytes()), Ok(head));
        }

        #[test]
        fn sections_are_cut_into_frames_that_join_again(length in 0_usize..60_000, is_last: bool) {
            let section: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut out = b"before".to_vec();
            put_section(&mut out, 5, is_last, |out| out.extend_from_slice(&section));
            let (mut rest, mut joined, mut is_whole) = (&out[6..], Vec::new(), false);
            while let Some((head, behind)) = rest.split_first_chunk() {
                prop_assert!(!is_whole);
                let head = FrameHead::read(head).unwrap();
                let (payload, behind) = behind.split_at(head.length);
                rest = behind;
                match read(head, payload).unwrap() {
                    Frame::Headers { fragment, is_last: last, is_whole: whole, stream } => {
                        prop_assert!(joined.is_empty() && last == is_last && stream == 5);
                        joined.extend_from_slice(fragment);
                        is_whole = whole;
                    }
                    Frame::Continuation { fragment, is_whole: whole, stream } => {
                        prop_assert!(stream == 5);
                        joined.extend_from_slice(fragment);
                        is_whole = whole;
                    }
                    other => panic!("{other:?}"),
                }
            }
            prop_assert!(is_whole && rest.is_empty());
            prop_assert_eq!(joined, section);
        }

        #[test]
        fn any_payload_is_read_or_refused(kind in 0_u8..18, flags: u8, stream in 0_u32..4, payload: Vec<u8>) {
            if let Ok(Frame::Data { content, flow, .. }) = parsed(kind, flags, stream, &payload) {
                prop_assert!(content.len() <= flow as usize);
            }
        }
    }
}
