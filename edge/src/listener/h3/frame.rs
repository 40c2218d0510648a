//! Variable-length integers (RFC 9000 16) and the heads of frames (RFC 9114 7.1), however the bytes are cut.
//!
//! Pure. Invariant: a reader holds at most one integer's bytes between two pieces, never a payload.

use bytes::{Buf, BufMut, Bytes};

/// Frame types that mean something on a request stream or on the control stream.
pub mod kind {
    /// Content.
    pub const DATA: u64 = 0x0;
    /// A header or trailer section.
    pub const HEADERS: u64 = 0x1;
    /// A push is not wanted.
    pub const CANCEL_PUSH: u64 = 0x3;
    /// Settings of the sender.
    pub const SETTINGS: u64 = 0x4;
    /// A push is announced; servers alone send it.
    pub const PUSH_PROMISE: u64 = 0x5;
    /// The sender goes.
    pub const GOAWAY: u64 = 0x7;
    /// How many pushes may be announced.
    pub const MAX_PUSH_ID: u64 = 0xd;
    /// The priority of a request changed (RFC 9218 7.2).
    pub const PRIORITY_UPDATE_REQUEST: u64 = 0xf_0700;
    /// The priority of a push changed.
    pub const PRIORITY_UPDATE_PUSH: u64 = 0xf_0701;

    /// Types of HTTP/2 that HTTP/3 has not taken over: PRIORITY, PING, WINDOW_UPDATE, CONTINUATION.
    #[must_use]
    pub const fn is_of_http2(kind: u64) -> bool {
        matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
    }
}

/// Reads one integer that may arrive in pieces.
#[derive(Debug, Default, Clone)]
pub struct VarIntReader {
    bytes: [u8; 8],
    filled: usize,
}

impl VarIntReader {
    /// Takes what it needs from `input`; `None` when it needs more.
    pub fn read(&mut self, input: &mut Bytes) -> Option<u64> {
        while let Some(&next) = input.first() {
            let first = if self.filled == 0 { next } else { self.bytes[0] };
            let length = varint_length(first);
            // The usual case: all of it lies in this piece.
            if self.filled == 0 && input.len() >= length {
                let value = varint_value(&input[..length]);
                input.advance(length);
                return Some(value);
            }
            self.bytes[self.filled] = next;
            self.filled += 1;
            input.advance(1);
            if self.filled == length {
                self.filled = 0;
                return Some(varint_value(&self.bytes[..length]));
            }
        }
        None
    }

    /// Whether a part of an integer has been read.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.filled > 0
    }
}

/// Type and length of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Any value below 2^62.
    pub kind: u64,
    /// Bytes of payload that follow.
    pub length: u64,
}

/// Reads the heads of frames that may arrive in pieces.
#[derive(Debug, Default, Clone)]
pub struct FrameHeadReader {
    integer: VarIntReader,
    kind: Option<u64>,
}

impl FrameHeadReader {
    /// Takes what it needs from `input`; `None` when it needs more.
    pub fn read(&mut self, input: &mut Bytes) -> Option<FrameHead> {
        let kind = match self.kind {
            Some(kind) => kind,
            None => *self.kind.insert(self.integer.read(input)?),
        };
        let length = self.integer.read(input)?;
        self.kind = None;
        Some(FrameHead { kind, length })
    }

    /// Whether a part of a head has been read.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.kind.is_some() || self.integer.is_begun()
    }
}

/// Takes one integer from the beginning of `input`; `None` when it is cut off.
pub(super) fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let length = varint_length(*input.first()?);
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(varint_value(bytes))
}

/// Writes an integer in its shortest form; values from 2^62 on have none and are cut to it.
pub fn put_varint(out: &mut impl BufMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value.min(VARINT_MAX) | 0xc000_0000_0000_0000),
    }
}

/// Writes the head of a frame.
pub fn put_frame_head(out: &mut impl BufMut, kind: u64, length: u64) {
    put_varint(out, kind);
    put_varint(out, length);
}

fn varint_length(first: u8) -> usize {
    1 << (first >> 6)
}

/// The value of exactly one integer's bytes.
fn varint_value(bytes: &[u8]) -> u64 {
    let begin = u64::from(bytes[0] & 0x3f);
    bytes[1..].iter().fold(begin, |value, byte| value << 8 | u64::from(*byte))
}

/// The largest integer that QUIC can write.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// The longest head of a frame: two integers of eight bytes.
pub const FRAME_HEAD_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_read_as_they_should() {
        // RFC 9000 A.1.
        for (bytes, expected) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            let mut input = Bytes::copy_from_slice(bytes);
            assert_eq!(VarIntReader::default().read(&mut input), Some(expected));
            assert!(input.is_empty());
            let mut slice = bytes;
            assert_eq!(take_varint(&mut slice), Some(expected));
        }
    }

    #[test]
    fn a_cut_off_integer_is_no_integer() {
        let mut slice = &[0x40][..];
        assert_eq!(take_varint(&mut slice), None);
        let mut reader = FrameHeadReader::default();
        assert_eq!(reader.read(&mut Bytes::from_static(&[1, 0x40])), None);
        assert!(reader.is_begun());
        let head = reader.read(&mut Bytes::from_static(&[5]));
        assert_eq!(head, Some(FrameHead { kind: 1, length: 5 }));
        assert!(!reader.is_begun());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_cut(
            kind in 0..=VARINT_MAX, length in 0..=VARINT_MAX, cut in 0usize..16,
        ) {
            let mut bytes = Vec::new();
            put_frame_head(&mut bytes, kind, length);
            prop_assert!(bytes.len() <= FRAME_HEAD_MAX);
            let mut second = Bytes::from(bytes);
            let mut first = second.split_to(cut.min(second.len()));
            let mut reader = FrameHeadReader::default();
            let head = reader.read(&mut first).or_else(|| reader.read(&mut second));
            prop_assert_eq!(head, Some(FrameHead { kind, length }));
            prop_assert!(first.is_empty() && second.is_empty());
        }
    }
}
