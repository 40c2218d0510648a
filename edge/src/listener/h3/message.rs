//! The frames of one request: in which order they may come, and where the message ends (RFC 9114 4.1).
//!
//! Pure: bytes are pushed in, events come out. Invariant: content is passed on as it arrived and never gathered; of a
//! frame that is not complete only a header section is held, and that up to a limit.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    code::{Broken, Code},
    frame::{FRAME_HEAD_MAX, FrameHead, FrameHeadReader, kind},
};

/// What comes next in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The encoded header section.
    Head(Bytes),
    /// A piece of the content.
    Data(Bytes),
    /// The encoded trailer section.
    Trailers(Bytes),
    /// Nothing, until more bytes are pushed or the end is told.
    More,
    /// The message is complete.
    End,
}

/// A request message that is arriving.
#[derive(Debug)]
pub struct Message {
    input: Bytes,
    is_ended: bool,
    place: Place,
    head: FrameHeadReader,
    payload: Payload,
    section: BytesMut,
    section_max: u64,
    announced: Option<u64>,
    received: u64,
    idle_bytes: u64,
}

/// How far the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeHead,
    InContent,
    BehindTrailers,
}

/// The frame whose payload is arriving, and how much of it is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    None,
    Data(u64),
    Section(u64),
    Skipped(u64),
}

impl Message {
    /// A message of which nothing has arrived; `section_max` is the longest encoded header section.
    #[must_use]
    pub fn new(section_max: u64) -> Self {
        Self {
            input: Bytes::new(),
            is_ended: false,
            place: Place::BeforeHead,
            head: FrameHeadReader::default(),
            payload: Payload::None,
            section: BytesMut::new(),
            section_max,
            announced: None,
            received: 0,
            idle_bytes: 0,
        }
    }

    /// Takes the stream's next bytes; only after [`Event::More`].
    pub fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty(), "the piece before is used up");
        self.input = bytes;
    }

    /// The stream has ended behind the bytes pushed so far.
    pub fn set_ended(&mut self) {
        self.is_ended = true;
    }

    /// Whether the stream's end has arrived.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Content of this length was announced; more or less is an error from now on.
    pub fn announce(&mut self, length: Option<u64>) {
        self.announced = length;
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the client broke the order of frames, a frame's layout, or what it had announced.
    pub fn next_event(&mut self) -> Result<Event, Broken> {
        loop {
            match self.payload {
                Payload::None => {
                    let Some(frame) = self.head.read(&mut self.input) else {
                        return self.starved();
                    };
                    self.begin(frame)?;
                }
                Payload::Data(0) | Payload::Skipped(0) => self.payload = Payload::None,
                Payload::Section(left) => {
                    let Some(section) = self.section(left) else { return self.starved() };
                    self.payload = Payload::None;
                    if self.place == Place::BeforeHead {
                        self.place = Place::InContent;
                        return Ok(Event::Head(section));
                    }
                    self.place = Place::BehindTrailers;
                    return Ok(Event::Trailers(section));
                }
                _ if self.input.is_empty() => return self.starved(),
                Payload::Data(left) => {
                    let piece = self.take(left);
                    self.received += piece.len() as u64;
                    self.payload = Payload::Data(left - piece.len() as u64);
                    return Ok(Event::Data(piece));
                }
                Payload::Skipped(left) => {
                    let piece = self.take(left);
                    self.payload = Payload::Skipped(left - piece.len() as u64);
                    self.waste(piece.len() as u64)?;
                }
            }
        }
    }

    /// Whether this frame may stand here, and what to do with its payload.
    fn begin(&mut self, frame: FrameHead) -> Result<(), Broken> {
        self.payload = match (frame.kind, self.place) {
            (kind::HEADERS, Place::BeforeHead | Place::InContent) => {
                if frame.length > self.section_max {
                    return Err(Broken::Stream(Code::EXCESSIVE_LOAD, "long header section"));
                }
                Payload::Section(frame.length)
            }
            (kind::DATA, Place::InContent) => {
                let received = self.received.saturating_add(frame.length);
                if self.announced.is_some_and(|announced| received > announced) {
                    return Err(Broken::message("more content than announced"));
                }
                if frame.length == 0 {
                    self.waste(0)?;
                }
                Payload::Data(frame.length)
            }
            (kind::DATA, Place::BeforeHead) => {
                return Err(Broken::unexpected("DATA before HEADERS"));
            }
            (kind::DATA | kind::HEADERS, Place::BehindTrailers) => {
                return Err(Broken::unexpected("frame behind the trailers"));
            }
            (
                kind::CANCEL_PUSH
                | kind::SETTINGS
                | kind::PUSH_PROMISE
                | kind::GOAWAY
                | kind::MAX_PUSH_ID
                | kind::PRIORITY_UPDATE_REQUEST
                | kind::PRIORITY_UPDATE_PUSH,
                _,
            ) => return Err(Broken::unexpected("frame that a request stream does not carry")),
            (kind, _) if kind::is_of_http2(kind) => {
                return Err(Broken::unexpected("frame of HTTP/2"));
            }
            _ => {
                self.waste(0)?;
                Payload::Skipped(frame.length)
            }
        };
        Ok(())
    }

    /// The section, when all of it is here.
    fn section(&mut self, left: u64) -> Option<Bytes> {
        let has_all = self.input.len() as u64 >= left;
        let piece = self.take(left);
        if has_all && self.section.is_empty() {
            return Some(piece);
        }
        self.section.extend_from_slice(&piece);
        self.payload = Payload::Section(left - piece.len() as u64);
        has_all.then(|| self.section.split().freeze())
    }

    /// Up to `left` bytes of the input.
    fn take(&mut self, left: u64) -> Bytes {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        if here == self.input.len() {
            return std::mem::take(&mut self.input);
        }
        self.input.split_to(here)
    }

    /// The input is used up: the stream ended properly, improperly, or goes on.
    fn starved(&self) -> Result<Event, Broken> {
        if !self.is_ended || self.input.has_remaining() {
            return Ok(Event::More);
        }
        if self.payload != Payload::None || self.head.is_begun() {
            return Err(Broken::Connection(Code::FRAME_ERROR, "the stream ends within a frame"));
        }
        if self.place == Place::BeforeHead {
            return Err(Broken::Stream(Code::REQUEST_INCOMPLETE, "no header section"));
        }
        if self.announced.is_some_and(|announced| announced != self.received) {
            return Err(Broken::message("less content than announced"));
        }
        Ok(Event::End)
    }

    /// Counts a frame, or a piece of one, that brings the message no further.
    fn waste(&mut self, bytes: u64) -> Result<(), Broken> {
        self.idle_bytes += bytes.max(FRAME_HEAD_MAX as u64);
        if self.idle_bytes > IDLE_BYTES_MAX {
            return Err(Broken::Stream(Code::EXCESSIVE_LOAD, "too much that means nothing"));
        }
        Ok(())
    }
}

/// Bytes of unknown and empty frames that a request may bring: clients send one or two of a few bytes to keep servers
/// tolerant; a frame counts at least as its longest head.
const IDLE_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listener::h3::frame::put_frame_head;

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame_head(&mut out, kind, payload.len() as u64);
        out.extend_from_slice(payload);
        out
    }

    /// All events of a whole stream that comes in these pieces, content joined.
    fn run(pieces: &[&[u8]], announced: Option<u64>) -> Result<Vec<Event>, Broken> {
        let mut message = Message::new(100);
        message.announce(announced);
        let (mut events, mut pieces) = (Vec::new(), pieces.iter());
        loop {
            match message.next_event()? {
                Event::More => match pieces.next() {
                    Some(piece) => message.push(Bytes::copy_from_slice(piece)),
                    None => message.set_ended(),
                },
                Event::End => return Ok(events),
                Event::Data(data) => match events.last_mut() {
                    Some(Event::Data(last)) => *last = [&last[..], &data[..]].concat().into(),
                    _ => events.push(Event::Data(data)),
                },
                event => events.push(event),
            }
        }
    }

    const H: u64 = kind::HEADERS;
    const D: u64 = kind::DATA;

    #[test]
    fn frames_come_in_their_order_or_not_at_all() {
        let connection = |code| Err(Some(code));
        for (what, frames, expected) in [
            ("a request", vec![frame(H, b"h")], Ok(1)),
            ("with content", vec![frame(H, b"h"), frame(D, b"ab"), frame(D, b"c")], Ok(2)),
            ("with trailers", vec![frame(H, b"h"), frame(D, b"ab"), frame(H, b"t")], Ok(3)),
            ("trailers alone", vec![frame(H, b"h"), frame(H, b"t")], Ok(2)),
            (
                "unknown frames",
                vec![frame(0x21, b"abc"), frame(H, b"h"), frame(0x40, b""), frame(D, b"")],
                Ok(1),
            ),
            (
                "unknown behind trailers",
                vec![frame(H, b"h"), frame(H, b"t"), frame(0x21, b"z")],
                Ok(2),
            ),
            ("DATA first", vec![frame(D, b"x")], connection(Code::FRAME_UNEXPECTED)),
            (
                "HEADERS behind trailers",
                vec![frame(H, b"h"), frame(H, b"t"), frame(H, b"u")],
                connection(Code::FRAME_UNEXPECTED),
            ),
            (
                "DATA behind trailers",
                vec![frame(H, b"h"), frame(H, b"t"), frame(D, b"u")],
                connection(Code::FRAME_UNEXPECTED),
            ),
            ("SETTINGS", vec![frame(4, b"")], connection(Code::FRAME_UNEXPECTED)),
            ("CANCEL_PUSH", vec![frame(3, b"\0")], connection(Code::FRAME_UNEXPECTED)),
            ("GOAWAY", vec![frame(H, b"h"), frame(7, b"\0")], connection(Code::FRAME_UNEXPECTED)),
            ("MAX_PUSH_ID", vec![frame(0xd, b"\0")], connection(Code::FRAME_UNEXPECTED)),
            ("PUSH_PROMISE", vec![frame(5, b"\0\0\0")], connection(Code::FRAME_UNEXPECTED)),
            ("PRIORITY_UPDATE", vec![frame(0xf_0700, b"\0")], connection(Code::FRAME_UNEXPECTED)),
            ("PING", vec![frame(6, &[0; 8])], connection(Code::FRAME_UNEXPECTED)),
            ("CONTINUATION", vec![frame(9, b"")], connection(Code::FRAME_UNEXPECTED)),
            (
                "cut off frame",
                vec![frame(H, b"h"), frame(D, b"abc")[..3].to_vec()],
                connection(Code::FRAME_ERROR),
            ),
            ("cut off head", vec![frame(H, b"h"), vec![0]], connection(Code::FRAME_ERROR)),
            (
                "cut off section",
                vec![frame(H, b"hello")[..4].to_vec()],
                connection(Code::FRAME_ERROR),
            ),
            (
                "cut off unknown",
                vec![frame(H, b"h"), frame(0x21, b"hello")[..4].to_vec()],
                connection(Code::FRAME_ERROR),
            ),
            ("nothing", vec![], Err(None)),
            ("only unknown", vec![frame(0x21, b"hello")], Err(None)),
        ] {
            let bytes = frames.concat();
            let whole = run(&[&bytes], None);
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(run(&single, None), whole, "{what}, byte by byte");
            match (whole, expected) {
                (Ok(events), Ok(count)) => assert_eq!(events.len(), count, "{what}: {events:?}"),
                (Err(Broken::Connection(code, _)), Err(Some(expected))) => {
                    assert_eq!(code, expected, "{what}");
                }
                (Err(Broken::Stream(code, _)), Err(None)) => {
                    assert_eq!(code, Code::REQUEST_INCOMPLETE, "{what}");
                }
                (found, _) => panic!("{what}: {found:?}"),
            }
        }
    }

    #[test]
    fn content_is_as_long_as_announced() {
        for (announced, content, is_fine) in [
            (Some(3), &b"abc"[..], true),
            (Some(0), b"", true),
            (None, b"abc", true),
            (Some(2), b"abc", false),
            (Some(4), b"abc", false),
            (Some(0), b"a", false),
        ] {
            let bytes = [frame(H, b"h"), frame(D, content)].concat();
            let found = run(&[&bytes], announced);
            match found {
                Ok(_) => assert!(is_fine, "{announced:?}"),
                Err(error) => {
                    assert!(!is_fine && matches!(error, Broken::Stream(Code::MESSAGE_ERROR, _)));
                }
            }
        }
    }

    #[test]
    fn what_means_nothing_and_what_is_too_long_is_bounded() {
        let load = |bytes: &[u8]| {
            let found = run(&[bytes], None);
            assert!(matches!(found, Err(Broken::Stream(Code::EXCESSIVE_LOAD, _))), "{found:?}");
        };
        load(&frame(H, &[0; 101]));
        load(&[frame(H, b"h"), frame(0x21, &[0; 20_000])].concat());
        load(&[frame(H, b"h"), frame(0x21, b"").repeat(2_000)].concat());
        load(&[frame(H, b"h"), frame(D, b"").repeat(2_000)].concat());
        // A length that will never come is refused before a byte of it is held.
        let mut endless = Vec::new();
        put_frame_head(&mut endless, H, 1 << 60);
        load(&endless);
    }

    proptest! {
        #[test]
        fn cuts_between_pieces_change_nothing(
            frames in proptest::collection::vec((0u64..12, proptest::collection::vec(any::<u8>(), 0..20)), 0..6),
            cuts in proptest::collection::vec(0usize..60, 0..4),
        ) {
            let bytes = frames.iter().map(|(kind, payload)| frame(*kind, payload)).collect::<Vec<_>>().concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(run(&pieces, None), run(&[&bytes], None));
        }
    }
}
