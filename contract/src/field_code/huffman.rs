//! The Huffman code of header strings (RFC 7541 5.2 and B).
//!
//! The code is canonical, so the lengths alone describe it; codes and the decoder's tables are made of them when this
//! is compiled. Codes of up to eleven bits, which are nearly all that text needs, are found by one look into a table
//! that fits into the first cache; longer ones by their length. Invariant: padding is shorter than a byte and all ones,
//! and the end symbol never stands in a string.

use bytes::BufMut;

/// Decodes `input` into the beginning of `out`, which has room for [`decoded_length_max`]; the length of the text, or
/// `None` when it is no Huffman string.
#[must_use]
pub fn decode(input: &[u8], out: &mut [u8]) -> Option<usize> {
    // The bits that are next stand on top of `bits`, `count` of them; below there are zeros.
    let (mut bits, mut count) = (0u64, 0u32);
    let (mut rest, mut length) = (input.iter(), 0);
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let (mut symbol, mut taken) = SHORT[(bits >> (64 - SHORT_BITS)) as usize];
        if taken == 0 {
            (symbol, taken) = long(bits)?;
        }
        if u32::from(taken) > count {
            break;
        }
        *out.get_mut(length)? = symbol;
        length += 1;
        bits <<= taken;
        count -= u32::from(taken);
    }
    // What is left is too short for a symbol.
    let is_padding = count < 8 && bits == !(u64::MAX >> count);
    is_padding.then_some(length)
}

/// A symbol with a code longer than those in the table; `None` for the end symbol.
fn long(bits: u64) -> Option<(u8, u8)> {
    for (length, span) in SPANS.iter().enumerate().skip(SHORT_BITS as usize + 1) {
        let Span { first, count, place } = *span;
        let code = (bits >> (64 - length)) as u32;
        if code.wrapping_sub(first) < count {
            let symbol = ORDER[place as usize + (code - first) as usize];
            return u8::try_from(symbol).ok().map(|symbol| (symbol, length as u8));
        }
    }
    None
}

/// How long `text` is in Huffman's code, in bytes.
#[must_use]
pub fn encoded_length(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| LENGTHS[*byte as usize] as usize).sum();
    bits.div_ceil(8)
}

/// Writes `text` in Huffman's code.
pub fn encode(text: &[u8], out: &mut impl BufMut) {
    let (mut bits, mut count) = (0u64, 0u32);
    for byte in text {
        let length = u32::from(LENGTHS[*byte as usize]);
        bits = bits << length | u64::from(CODES[*byte as usize]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.put_u8((bits >> count) as u8);
        }
    }
    if count > 0 {
        let padding = 8 - count;
        out.put_u8((bits << padding) as u8 | ((1u16 << padding) - 1) as u8);
    }
}

/// The longest that `length` bytes of Huffman's code can become: the shortest code has five bits.
#[must_use]
pub const fn decoded_length_max(length: usize) -> usize {
    length.saturating_mul(8) / 5
}

/// Codes in ascending order of length and symbol, as RFC 7541 B has them.
const fn codes() -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let (mut code, mut length) = (0u32, 1u8);
    while length <= LENGTH_MAX {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

/// For every beginning of eleven bits the symbol that it holds and its length, or 0 for a longer code.
const fn short() -> [(u8, u8); 1 << SHORT_BITS] {
    let mut short = [(0, 0); 1 << SHORT_BITS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let length = LENGTHS[symbol] as u32;
        if length <= SHORT_BITS {
            let begin = CODES[symbol] << (SHORT_BITS - length);
            let mut more = 0;
            while more < 1 << (SHORT_BITS - length) {
                short[(begin + more) as usize] = (symbol as u8, length as u8);
                more += 1;
            }
        }
        symbol += 1;
    }
    short
}

/// The codes of one length: consecutive numbers, of symbols in ascending order.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    count: u32,
    /// Where the first one's symbol stands in the order of codes.
    place: u32,
}

const fn spans() -> ([Span; LENGTH_MAX as usize + 1], [u16; SYMBOLS]) {
    let mut spans = [Span { first: 0, count: 0, place: 0 }; LENGTH_MAX as usize + 1];
    let mut order = [0; SYMBOLS];
    let (mut place, mut length) = (0, 1);
    while length <= LENGTH_MAX as usize {
        spans[length].place = place;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                if spans[length].count == 0 {
                    spans[length].first = CODES[symbol];
                }
                spans[length].count += 1;
                order[place as usize] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    (spans, order)
}

/// 256 bytes and the end symbol.
const SYMBOLS: usize = 257;
const LENGTH_MAX: u8 = 30;
/// Two bytes for each of 2048 beginnings.
const SHORT_BITS: u32 = 11;

static CODES: [u32; SYMBOLS] = codes();
static SHORT: [(u8, u8); 1 << SHORT_BITS] = short();
static SPANS: [Span; LENGTH_MAX as usize + 1] = spans().0;
static ORDER: [u16; SYMBOLS] = spans().1;

/// The length of each symbol's code in bits (RFC 7541 B).
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
    use proptest::prelude::*;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; decoded_length_max(input.len())];
        let length = decode(input, &mut out)?;
        out.truncate(length);
        Some(out)
    }

    #[test]
    fn the_examples_of_the_rfc_read_as_they_should() {
        // RFC 7541 C.4 and C.6.
        for (code, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
        ] {
            let code = hex::decode(code).unwrap();
            assert_eq!(decoded(&code).as_deref(), Some(text.as_bytes()));
            let mut written = Vec::new();
            encode(text.as_bytes(), &mut written);
            assert_eq!(written, code, "{text}");
            assert_eq!(encoded_length(text.as_bytes()), code.len());
        }
    }

    #[test]
    fn the_ends_of_the_code_are_where_the_rfc_has_them() {
        for (symbol, code) in [
            (b'0' as usize, 0),
            (b't' as usize, 0x9),
            (b' ' as usize, 0x14),
            (249, 0x0fff_fffe),
            (256, 0x3fff_ffff),
        ] {
            assert_eq!(CODES[symbol], code, "{symbol}");
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_errors() {
        for (what, code, is_fine) in [
            ("nothing", &[][..], true),
            ("0 and three ones", &[0b0000_0111], true),
            ("0 and three zeros", &[0b0000_0000], false),
            ("0, ones and a zero", &[0b0000_0110], false),
            ("a whole byte of padding", &[0xff], false),
            ("0, padding and a byte more", &[0b0000_0111, 0xff], false),
            ("the end symbol", &[0xff, 0xff, 0xff, 0xff], false),
        ] {
            assert_eq!(decoded(code).is_some(), is_fine, "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(text: Vec<u8>) {
            let mut code = Vec::new();
            encode(&text, &mut code);
            prop_assert_eq!(code.len(), encoded_length(&text));
            prop_assert!(text.len() <= decoded_length_max(code.len()));
            prop_assert_eq!(decoded(&code), Some(text));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(code: Vec<u8>) {
            if let Some(text) = decoded(&code) {
                let mut written = Vec::new();
                encode(&text, &mut written);
                prop_assert_eq!(written, code);
            }
        }
    }
}
