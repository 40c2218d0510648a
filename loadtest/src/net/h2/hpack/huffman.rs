//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B), read.
//!
//! The code is canonical: codes of one length are consecutive numbers, of symbols in ascending order. So the lengths say
//! all, and the first code of each length is worked out when this is compiled. Invariant: what is left at the end is
//! shorter than a byte and all ones, and the end symbol never stands in a string.

use super::super::{frame::COMPRESSION_ERROR, wrong::Wrong};

/// Appends the text to `out`.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    // `count` bits wait at the lower end of `bits`.
    let (mut bits, mut count) = (0u64, 0usize);
    for byte in input {
        bits = bits << 8 | u64::from(*byte);
        count += 8;
        // A symbol is as long as the longest code at most; whether one is whole, its length tells.
        while let Some((symbol, length)) = first(bits, count) {
            let symbol = u8::try_from(symbol).map_err(|_| WRONG)?;
            out.push(symbol);
            count -= length;
        }
        bits &= (1 << count) - 1;
    }
    let is_padding = count < 8 && bits == (1 << count) - 1;
    if is_padding { Ok(()) } else { Err(WRONG) }
}

/// The symbol whose code stands first among the lowest `count` bits, and how long that is.
fn first(bits: u64, count: usize) -> Option<(u16, usize)> {
    for length in LENGTH_MIN..=count.min(LENGTH_MAX) {
        let code = (bits >> (count - length)) as u32 & ((1 << length) - 1);
        let within = code.wrapping_sub(FIRST[length]);
        if within < COUNT[length] {
            return Some((ORDER[PLACE[length] + within as usize], length));
        }
    }
    None
}

/// By length: the first code, how many there are, and where their symbols stand in the order of codes.
const fn spans() -> ([u32; LENGTH_MAX + 1], [u32; LENGTH_MAX + 1], [usize; LENGTH_MAX + 1]) {
    let (mut first, mut count, mut place) =
        ([0; LENGTH_MAX + 1], [0; LENGTH_MAX + 1], [0; LENGTH_MAX + 1]);
    let mut symbol = 0;
    while symbol < SYMBOLS {
        count[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    let (mut code, mut before, mut length) = (0, 0, 1);
    while length <= LENGTH_MAX {
        code <<= 1;
        first[length] = code;
        place[length] = before;
        code += count[length];
        before += count[length] as usize;
        length += 1;
    }
    (first, count, place)
}

/// Symbols by length, then by number.
const fn order() -> [u16; SYMBOLS] {
    let mut order = [0; SYMBOLS];
    let (mut at, mut length) = (0, 1);
    while length <= LENGTH_MAX {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                order[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    order
}

const WRONG: Wrong = Wrong { code: COMPRESSION_ERROR, detail: "no Huffman string" };
/// 256 bytes and the end.
const SYMBOLS: usize = 257;
const LENGTH_MIN: usize = 5;
const LENGTH_MAX: usize = 30;
static FIRST: [u32; LENGTH_MAX + 1] = spans().0;
static COUNT: [u32; LENGTH_MAX + 1] = spans().1;
static PLACE: [usize; LENGTH_MAX + 1] = spans().2;
static ORDER: [u16; SYMBOLS] = order();

/// How many bits each symbol has.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).ok().map(|()| out)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for (code, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ] {
            let code = hex::decode(code).unwrap();
            assert_eq!(decoded(&code).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn every_symbol_reads_back_by_its_code() {
        // Kraft's sum is one: the lengths are those of a whole code.
        let sum: u64 = LENGTHS.iter().map(|length| 1 << (LENGTH_MAX as u8 - length)).sum();
        assert_eq!(sum, 1 << LENGTH_MAX);
        for (symbol, length) in LENGTHS[..256].iter().enumerate() {
            let length = *length as usize;
            let before = LENGTHS[..symbol].iter().filter(|one| **one as usize == length).count();
            let code = u64::from(FIRST[length]) + before as u64;
            let padded = (code << (40 - length)) | ((1 << (40 - length)) - 1);
            let bytes = &padded.to_be_bytes()[3..][..length.div_ceil(8)];
            assert_eq!(decoded(bytes).as_deref(), Some(&[symbol as u8][..]), "{symbol}");
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_errors() {
        for (code, is_fine) in [
            (&b""[..], true),
            (b"\x07", true),
            (b"\x00", false),
            (b"\x06", false),
            (b"\xff", false),
            (b"\x07\xff", false),
            (b"\xff\xff\xff\xff", false),
        ] {
            assert_eq!(decoded(code).is_some(), is_fine, "{code:?}");
        }
    }
}
