//! Integers and strings with a prefix of a few bits (RFC 7541 5, RFC 9204 4.1).
//!
//! Pure. Invariant: an integer above 62 bits is an error, never a wrapped number.

use bytes::BufMut;

use super::{NotDecodable, huffman};

/// Takes an integer whose first byte has `bits` of it; the byte's other bits are left to the caller.
///
/// # Errors
/// When it is cut off, or above 62 bits.
#[inline]
pub fn take(input: &mut &[u8], bits: u32) -> Result<u64, NotDecodable> {
    let mask = (1u64 << bits) - 1;
    let (&first, rest) = input.split_first().ok_or(NotDecodable("cut off integer"))?;
    *input = rest;
    let mut value = u64::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in (0..=SHIFT_MAX).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(NotDecodable("cut off integer"))?;
        *input = rest;
        let part = u64::from(byte & 0x7f);
        // The shift is at most 56, so nothing of the seven bits is lost in 64.
        value = value.saturating_add(part << shift);
        if byte & 0x80 == 0 {
            return if value < 1 << 62 { Ok(value) } else { Err(NotDecodable("integer overflow")) };
        }
    }
    Err(NotDecodable("integer overflow"))
}

/// A string as it stands in a field section.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Its bytes, compressed or not.
    pub bytes: &'a [u8],
    /// They are Huffman's code.
    pub is_huffman: bool,
}

/// Takes a string: its Huffman flag stands just above the `bits` of its length.
///
/// # Errors
/// When it is cut off.
#[inline]
pub fn take_text<'a>(input: &mut &'a [u8], bits: u32) -> Result<Text<'a>, NotDecodable> {
    let is_huffman = input.first().is_some_and(|first| first >> bits & 1 == 1);
    let length = take(input, bits)?;
    let length = usize::try_from(length).map_err(|_| NotDecodable("cut off string"))?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(NotDecodable("cut off string"))?;
    *input = rest;
    Ok(Text { bytes, is_huffman })
}

/// Writes an integer behind `flags` in a byte that has `bits` left for it.
pub fn put(out: &mut impl BufMut, flags: u8, bits: u32, value: u64) {
    let mask = (1u64 << bits) - 1;
    if value < mask {
        return out.put_u8(flags | value as u8);
    }
    out.put_u8(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Writes a string; with `is_small` in Huffman's code when that is shorter.
pub fn put_text(out: &mut impl BufMut, flags: u8, bits: u32, text: &[u8], is_small: bool) {
    if is_small {
        let length = huffman::encoded_length(text);
        if length < text.len() {
            put(out, flags | 1 << bits, bits, length as u64);
            return huffman::encode(text, out);
        }
    }
    put(out, flags, bits, text.len() as u64);
    out.put_slice(text);
}

/// The shift of the last byte that a number of 62 bits can need.
const SHIFT_MAX: u32 = 56;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_read_as_they_should() {
        // RFC 7541 C.1.
        for (bytes, bits, expected) in [
            (&[0b0000_1010][..], 5, 10),
            (&[0b0001_1111, 0b1001_1010, 0b0000_1010], 5, 1337),
            (&[42], 8, 42),
        ] {
            let mut input = bytes;
            assert_eq!(take(&mut input, bits), Ok(expected));
            let mut written = Vec::new();
            put(&mut written, 0, bits, expected);
            assert_eq!(written, bytes);
        }
    }

    #[test]
    fn integers_without_end_and_beyond_62_bits_are_errors() {
        for bytes in [
            &[0x1f][..],
            &[0x1f, 0x80],
            &[0xff; 12],
            &[],
            &[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            let mut input = bytes;
            assert!(take(&mut input, 5).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(value in 0u64..1 << 62, bits in 1u32..=8) {
            let mut bytes = Vec::new();
            put(&mut bytes, 0, bits, value);
            let mut input = &bytes[..];
            prop_assert_eq!(take(&mut input, bits), Ok(value));
            prop_assert!(input.is_empty());
        }
    }
}
