//! Frames as they lie on the wire (RFC 9113 section 4): heads read and written. Pure.
//!
//! Invariant: a frame that is longer than we let a server send is refused by its head.

use super::wrong::Wrong;

/// The first nine bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, Wrong> {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > FRAME_MAX {
            return Err(Wrong::new(FRAME_SIZE_ERROR, "a frame over the limit"));
        }
        // The highest bit is reserved.
        Ok(Self { length, kind, flags, stream: u32::from_be_bytes(stream) & STREAM_MAX })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Writes a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    debug_assert!(payload.len() <= FRAME_MAX);
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Writes a frame of one number.
pub(super) fn put_number(out: &mut Vec<u8>, kind: u8, stream: u32, number: u32) {
    put(out, kind, 0, stream, &number.to_be_bytes());
}

/// The four bytes at the beginning of a payload.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*payload.first_chunk()?))
}

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const HEAD_BYTES: usize = 9;
/// SETTINGS_MAX_FRAME_SIZE where nothing else is said, and we say nothing else.
pub(super) const FRAME_MAX: usize = 16_384;
pub(super) const STREAM_MAX: u32 = (1 << 31) - 1;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_as_it_was_written() {
        let mut out = Vec::new();
        put(&mut out, HEADERS, END_STREAM | END_HEADERS, 7, b"abc");
        let head = Head::read(*out.first_chunk().unwrap()).unwrap();
        assert_eq!((head.length, head.kind, head.stream), (3, HEADERS, 7));
        assert!(head.has(END_STREAM) && head.has(END_HEADERS) && !head.has(PADDED));
        assert_eq!(&out[HEAD_BYTES..], b"abc");
        out.clear();
        put_number(&mut out, WINDOW_UPDATE, 0, 70_000);
        assert_eq!(out, b"\0\0\x04\x08\0\0\0\0\0\0\x01\x11\x70");
        assert_eq!(number(&out[HEAD_BYTES..]), Some(70_000));
        assert_eq!(number(b"abc"), None);
    }

    #[test]
    fn a_frame_over_the_limit_and_the_reserved_bit() {
        assert!(Head::read(*b"\0\x40\0\0\0\0\0\0\x01").is_ok());
        assert!(Head::read(*b"\0\x40\x01\0\0\0\0\0\x01").is_err());
        // What a server of HTTP/1.1 says.
        assert!(Head::read(*b"HTTP/1.1 ").is_err());
        assert_eq!(Head::read(*b"\0\0\0\0\0\x80\0\0\x03").unwrap().stream, 3);
    }
}
