//! What a client may say on its two QPACK streams when there is no dynamic table: almost nothing.
//!
//! Invariant: an instruction that would need a dynamic table ends the connection, however its bytes are cut.

use crate::listener::h3::code::{Broken, Code};

/// The client's encoder stream (RFC 9204 4.3).
#[derive(Debug, Default)]
pub struct EncoderStream;

impl EncoderStream {
    /// Follows a piece of the stream.
    ///
    /// # Errors
    /// At everything but "capacity 0", which says what is so already.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.iter().all(|byte| *byte == CAPACITY_0) {
            return Ok(());
        }
        Err(Broken::Connection(
            Code::QPACK_ENCODER_STREAM_ERROR,
            "insertion into a dynamic table that was not offered",
        ))
    }
}

/// The client's decoder stream (RFC 9204 4.4).
#[derive(Debug, Default)]
pub struct DecoderStream {
    /// Bytes of an integer that has begun, 0 between instructions.
    begun: u32,
}

impl DecoderStream {
    /// Follows a piece of the stream.
    ///
    /// # Errors
    /// At everything but cancellations, which ask for nothing: we never refer to a dynamic table.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let wrong = |why| Err(Broken::Connection(Code::QPACK_DECODER_STREAM_ERROR, why));
        for byte in bytes {
            if self.begun > 0 {
                self.begun = if byte & 0x80 == 0 { 0 } else { self.begun + 1 };
                if self.begun > INTEGER_BYTES_MAX {
                    return wrong("stream number without end");
                }
                continue;
            }
            match byte {
                0x80.. => return wrong("acknowledgement of a section that used no dynamic table"),
                0x40..0x80 => self.begun = u32::from(byte & 0x3f == 0x3f),
                _ => return wrong("more insertions than there were"),
            }
        }
        Ok(())
    }
}

/// "Set Dynamic Table Capacity" to 0.
const CAPACITY_0: u8 = 0b0010_0000;
/// Bytes behind the first that a number of 62 bits can take.
const INTEGER_BYTES_MAX: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_no_dynamic_table_is_allowed() {
        for (bytes, is_fine) in [
            (&b""[..], true),
            (b"\x20\x20", true),
            (b"\x21", false),
            (b"\x3f\xe1\xc7\xaf\xa0\x25", false),
            (b"\xc0\x01a", false),
            (b"\x41a\x01b", false),
            (b"\x00", false),
        ] {
            assert_eq!(EncoderStream.read(bytes).is_ok(), is_fine, "encoder {bytes:02x?}");
        }
        for (bytes, is_fine) in [
            (&b""[..], true),
            (b"\x44\x40", true),
            (b"\x7f\x80\x01\x44", true),
            (b"\x7f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", false),
            (b"\x84", false),
            (b"\x00", false),
            (b"\x01", false),
            (b"\x7f\x01\x00", false),
        ] {
            let mut whole = DecoderStream::default();
            assert_eq!(whole.read(bytes).is_ok(), is_fine, "decoder {bytes:02x?}");
            let mut cut = DecoderStream::default();
            let in_pieces = bytes.iter().try_for_each(|byte| cut.read(&[*byte]));
            assert_eq!(in_pieces.is_ok(), is_fine, "decoder {bytes:02x?} in pieces");
        }
    }
}
