//! Numbers with a prefix of a few bits (RFC 7541 section 5.1).
//!
//! Invariant: a number above 31 bits is an error, never a wrapped one: nothing in a header section is that large.

use super::super::{frame::COMPRESSION_ERROR, wrong::Wrong};

/// Takes a number whose first byte has `bits` of it.
pub(super) fn take(input: &mut &[u8], bits: u32) -> Result<usize, Wrong> {
    let mask = (1u32 << bits) - 1;
    let mut value = u32::from(next(input)?) & mask;
    if value < mask {
        return Ok(value as usize);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next(input)?;
        value += u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value as usize);
        }
    }
    Err(Wrong::new(COMPRESSION_ERROR, "a number that is too large"))
}

/// Writes a number behind the flags of its first byte.
pub(super) fn put(out: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return out.push(flags | value as u8);
    }
    out.push(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn next(input: &mut &[u8]) -> Result<u8, Wrong> {
    let (first, rest) =
        input.split_first().ok_or(Wrong::new(COMPRESSION_ERROR, "a number that is cut off"))?;
    *input = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        for (bytes, bits, value) in
            [(&b"\x0a"[..], 5, 10), (b"\x1f\x9a\x0a", 5, 1337), (b"\x2a", 8, 42)]
        {
            assert_eq!(take(&mut &*bytes, bits), Ok(value));
            let mut out = Vec::new();
            put(&mut out, 0, bits, value);
            assert_eq!(out, bytes);
        }
        for bytes in [&b""[..], b"\x1f", b"\x1f\x80", b"\x1f\xff\xff\xff\xff\x01"] {
            assert!(take(&mut &*bytes, 5).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(value in 0usize..1 << 28, bits in 1u32..=8) {
            let mut out = Vec::new();
            put(&mut out, 0, bits, value);
            let mut input = &out[..];
            prop_assert_eq!(take(&mut input, bits), Ok(value));
            prop_assert!(input.is_empty());
        }
    }
}
