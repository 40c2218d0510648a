//! The Huffman code of header strings (RFC 7541 5.2 and B).
//!
//! The code is canonical, so the lengths alone describe it; codes and the decoder's table are made of them when this
//! is compiled. The decoder goes four bits at a step: no code is shorter than five, so a step ends at most one symbol.
//! Invariant: padding is shorter than a byte and all ones, and the end symbol never stands in a string.

use bytes::BufMut;

/// What a step of four bits does.
#[derive(Clone, Copy)]
struct Step {
    next: u8,
    symbol: u8,
    /// Whether `symbol` is complete now.
    ends: bool,
    /// The bits are no code at all.
    fails: bool,
}

/// Decodes `input` onto the end of `out`; `None` when it is no Huffman string.
pub(super) fn decode(input: &[u8], out: &mut impl BufMut) -> Option<()> {
    let mut state = 0u8;
    for byte in input {
        for bits in [byte >> 4, byte & 0xf] {
            let step = STEPS[state as usize][bits as usize];
            if step.fails {
                return None;
            }
            if step.ends {
                out.put_u8(step.symbol);
            }
            state = step.next;
        }
    }
    MAY_END[state as usize].then_some(())
}

/// How long `text` is in Huffman's code, in bytes.
pub(super) fn encoded_length(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| LENGTHS[*byte as usize] as usize).sum();
    bits.div_ceil(8)
}

/// Writes `text` in Huffman's code.
pub(super) fn encode(text: &[u8], out: &mut impl BufMut) {
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
pub(super) const fn decoded_length_max(length: usize) -> usize {
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

/// A binary tree: for each inner node what its two branches lead to.
const fn tree() -> [[u16; 2]; NODES] {
    let mut tree = [[NOWHERE; 2]; NODES];
    let mut used = 1u16;
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let mut node = 0usize;
        let mut bit = LENGTHS[symbol];
        while bit > 1 {
            bit -= 1;
            let branch = (CODES[symbol] >> bit & 1) as usize;
            if tree[node][branch] == NOWHERE {
                tree[node][branch] = used;
                used += 1;
            }
            node = tree[node][branch] as usize;
        }
        tree[node][(CODES[symbol] & 1) as usize] = LEAF | symbol as u16;
        symbol += 1;
    }
    tree
}

const fn steps() -> [[Step; 16]; NODES] {
    let none = Step { next: 0, symbol: 0, ends: false, fails: false };
    let mut steps = [[none; 16]; NODES];
    let mut from = 0;
    while from < NODES {
        let mut bits = 0;
        while bits < 16 {
            let (mut node, mut step, mut left) = (from, none, 4);
            while left > 0 {
                left -= 1;
                let to = TREE[node][bits >> left & 1];
                if to == LEAF | END {
                    step.fails = true;
                    break;
                }
                if to & LEAF != 0 {
                    step.symbol = to as u8;
                    step.ends = true;
                    node = 0;
                } else {
                    node = to as usize;
                }
            }
            step.next = node as u8;
            steps[from][bits] = step;
            bits += 1;
        }
        from += 1;
    }
    steps
}

/// Whether a string may end at a node: at a symbol's end, or after up to seven ones.
const fn may_end() -> [bool; NODES] {
    let mut ends = [false; NODES];
    let (mut node, mut depth) = (0, 0);
    while depth < 8 {
        ends[node] = true;
        node = TREE[node][1] as usize;
        depth += 1;
    }
    ends
}

/// 256 bytes and the end symbol.
const SYMBOLS: usize = 257;
/// Inner nodes of a binary tree with that many leaves.
const NODES: usize = SYMBOLS - 1;
const LENGTH_MAX: u8 = 30;
const END: u16 = 256;
const LEAF: u16 = 1 << 15;
const NOWHERE: u16 = u16::MAX;

static CODES: [u32; SYMBOLS] = codes();
static TREE: [[u16; 2]; NODES] = tree();
static STEPS: [[Step; 16]; NODES] = steps();
static MAY_END: [bool; NODES] = may_end();

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
        let mut out = Vec::new();
        decode(input, &mut out)?;
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
    }
}
