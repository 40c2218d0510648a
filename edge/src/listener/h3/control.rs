//! What a client says on its control stream (RFC 9114 6.2.1 and 7.2).
//!
//! Pure. Invariant: no frame is held that is longer than its kind can be.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    code::{Broken, Code},
    frame::{FrameHead, FrameHeadReader, kind, take_varint},
    settings::Settings,
};
use crate::listener::priority::Priority;

/// Something on the control stream that concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The first frame.
    Settings(Settings),
    /// The request on this stream is now as urgent as this.
    Priority(u64, Priority),
}

/// Reads a client's control stream, from behind its type.
#[derive(Debug, Default)]
pub struct ControlStream {
    head: FrameHeadReader,
    /// The frame whose payload is arriving.
    frame: Option<FrameHead>,
    payload: BytesMut,
    has_settings: bool,
    max_push_id: Option<u64>,
    goaway: Option<u64>,
}

impl ControlStream {
    /// Reads on in `input`; `None` when it is used up.
    ///
    /// # Errors
    /// Always the connection's.
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Said>, Broken> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => {
                    let Some(frame) = self.head.read(input) else { return Ok(None) };
                    self.begin(frame)?;
                    *self.frame.insert(frame)
                }
            };
            let left = frame.length - self.payload.len() as u64;
            let ready = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            if payload_max(frame.kind).is_some() {
                self.payload.extend_from_slice(&input[..ready]);
                input.advance(ready);
                if (ready as u64) < left {
                    return Ok(None);
                }
            } else {
                // Unknown frames are skipped as they come (RFC 9114 9).
                input.advance(ready);
                if (ready as u64) < left {
                    self.frame = Some(FrameHead { kind: frame.kind, length: left - ready as u64 });
                    return Ok(None);
                }
            }
            self.frame = None;
            let payload = self.payload.split();
            if let Some(said) = self.end(frame.kind, &payload)? {
                return Ok(Some(said));
            }
        }
    }

    /// Whether this frame may stand here.
    fn begin(&mut self, frame: FrameHead) -> Result<(), Broken> {
        if !self.has_settings && frame.kind != kind::SETTINGS {
            return Err(Broken::Connection(
                Code::MISSING_SETTINGS,
                "the control stream does not begin with SETTINGS",
            ));
        }
        match frame.kind {
            kind::SETTINGS if self.has_settings => Err(Broken::unexpected("second SETTINGS")),
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                Err(Broken::unexpected("message on the control stream"))
            }
            kind if kind::is_of_http2(kind) => Err(Broken::unexpected("frame of HTTP/2")),
            kind if payload_max(kind).is_some_and(|max| frame.length > max) => {
                Err(match kind {
                    kind::SETTINGS | kind::PRIORITY_UPDATE_REQUEST => {
                        Broken::Connection(Code::EXCESSIVE_LOAD, "long control frame")
                    }
                    // They hold one integer.
                    _ => Broken::Connection(
                        Code::FRAME_ERROR,
                        "more in the frame than there should be",
                    ),
                })
            }
            kind::SETTINGS => {
                self.has_settings = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A frame is complete.
    fn end(&mut self, kind: u64, mut payload: &[u8]) -> Result<Option<Said>, Broken> {
        match kind {
            kind::SETTINGS => return Ok(Some(Said::Settings(Settings::parse(payload)?))),
            kind::MAX_PUSH_ID => {
                let id = only_integer(payload)?;
                if self.max_push_id.is_some_and(|last| id < last) {
                    return Err(Broken::Connection(Code::ID_ERROR, "MAX_PUSH_ID went down"));
                }
                self.max_push_id = Some(id);
            }
            kind::GOAWAY => {
                let id = only_integer(payload)?;
                if self.goaway.is_some_and(|last| id > last) {
                    return Err(Broken::Connection(Code::ID_ERROR, "GOAWAY went up"));
                }
                self.goaway = Some(id);
            }
            kind::CANCEL_PUSH => {
                only_integer(payload)?;
                return Err(Broken::Connection(
                    Code::ID_ERROR,
                    "cancels a push that was never promised",
                ));
            }
            kind::PRIORITY_UPDATE_PUSH => {
                return Err(Broken::Connection(
                    Code::ID_ERROR,
                    "priority of a push that was never promised",
                ));
            }
            kind::PRIORITY_UPDATE_REQUEST => {
                let Some(stream) = take_varint(&mut payload) else {
                    return Err(Broken::Connection(
                        Code::FRAME_ERROR,
                        "PRIORITY_UPDATE of nothing",
                    ));
                };
                if stream % 4 != 0 {
                    return Err(Broken::Connection(
                        Code::ID_ERROR,
                        "priority of what is no request",
                    ));
                }
                return Ok(Some(Said::Priority(stream, Priority::default().with(payload))));
            }
            _ => {}
        }
        Ok(None)
    }
}

fn only_integer(mut payload: &[u8]) -> Result<u64, Broken> {
    match take_varint(&mut payload) {
        Some(value) if payload.is_empty() => Ok(value),
        _ => Err(Broken::Connection(Code::FRAME_ERROR, "not exactly one integer in the frame")),
    }
}

/// The longest payload of a kind that we read; `None` of those that we skip.
fn payload_max(kind: u64) -> Option<u64> {
    match kind {
        kind::SETTINGS => Some(1024),
        kind::PRIORITY_UPDATE_REQUEST | kind::PRIORITY_UPDATE_PUSH => Some(256),
        kind::MAX_PUSH_ID | kind::GOAWAY | kind::CANCEL_PUSH => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::h3::frame::put_frame_head;

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame_head(&mut out, kind, payload.len() as u64);
        out.extend_from_slice(payload);
        out
    }

    /// Everything said, when the bytes come at once and when they come one by one.
    fn read(bytes: &[u8]) -> Result<Vec<Said>, Broken> {
        let run = |pieces: Vec<&[u8]>| {
            let (mut stream, mut said) = (ControlStream::default(), Vec::new());
            for piece in pieces {
                let mut input = Bytes::copy_from_slice(piece);
                while let Some(next) = stream.read(&mut input)? {
                    said.push(next);
                }
            }
            Ok(said)
        };
        let whole = run(vec![bytes]);
        assert_eq!(run(bytes.chunks(1).collect()), whole, "{bytes:02x?}");
        whole
    }

    #[test]
    fn the_rules_of_the_control_stream_hold_with_their_codes() {
        let settings = || frame(kind::SETTINGS, &[]);
        let after = |more: &[Vec<u8>]| [settings(), more.concat()].concat();
        for (what, bytes, code) in [
            ("GOAWAY first", frame(kind::GOAWAY, &[0]), Code::MISSING_SETTINGS),
            ("unknown first", frame(0x21, &[]), Code::MISSING_SETTINGS),
            ("second SETTINGS", after(&[settings()]), Code::FRAME_UNEXPECTED),
            ("DATA", after(&[frame(kind::DATA, b"")]), Code::FRAME_UNEXPECTED),
            ("HEADERS", after(&[frame(kind::HEADERS, b"")]), Code::FRAME_UNEXPECTED),
            ("PUSH_PROMISE", after(&[frame(kind::PUSH_PROMISE, b"\0")]), Code::FRAME_UNEXPECTED),
            ("PRIORITY of HTTP/2", after(&[frame(2, &[0; 5])]), Code::FRAME_UNEXPECTED),
            ("WINDOW_UPDATE", after(&[frame(8, &[0; 4])]), Code::FRAME_UNEXPECTED),
            ("push id down", after(&[frame(0xd, &[9]), frame(0xd, &[1])]), Code::ID_ERROR),
            ("push id and more", after(&[frame(0xd, &[1, 2, 2])]), Code::FRAME_ERROR),
            ("push id cut off", after(&[frame(0xd, &[0x40])]), Code::FRAME_ERROR),
            ("empty GOAWAY", after(&[frame(7, &[])]), Code::FRAME_ERROR),
            ("long GOAWAY", after(&[frame(7, &[0; 9])]), Code::FRAME_ERROR),
            ("GOAWAY up", after(&[frame(7, &[0]), frame(7, &[4])]), Code::ID_ERROR),
            ("CANCEL_PUSH", after(&[frame(3, &[0])]), Code::ID_ERROR),
            ("priority of a push", after(&[frame(0xf_0701, &[0])]), Code::ID_ERROR),
            ("priority of a uni stream", after(&[frame(0xf_0700, &[2])]), Code::ID_ERROR),
            ("priority of nothing", after(&[frame(0xf_0700, &[])]), Code::FRAME_ERROR),
            ("long SETTINGS", frame(4, &[0; 1025]), Code::EXCESSIVE_LOAD),
        ] {
            let Err(Broken::Connection(found, _)) = read(&bytes) else { panic!("{what}") };
            assert_eq!(found, code, "{what}");
        }
    }

    #[test]
    fn what_is_allowed_is_read_and_what_is_unknown_is_skipped() {
        let bytes = [
            frame(kind::SETTINGS, &[6, 0x41, 0]),
            frame(0x21, &[7; 300]),
            frame(kind::GOAWAY, &[9]),
            frame(kind::GOAWAY, &[9]),
            frame(kind::MAX_PUSH_ID, &[9]),
            frame(kind::PRIORITY_UPDATE_REQUEST, b"\x08u=1,i"),
            frame(kind::PRIORITY_UPDATE_REQUEST, b"\x04"),
        ];
        assert_eq!(
            read(&bytes.concat()).unwrap(),
            [
                Said::Settings(Settings { field_section_max: 256 }),
                Said::Priority(8, Priority { urgency: 1, is_incremental: true }),
                Said::Priority(4, Priority::default()),
            ]
        );
    }
}
