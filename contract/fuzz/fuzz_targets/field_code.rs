//! Any bytes are read as numbers and strings or refused, and what was read is what would be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::field_code::{huffman, integer};

fuzz_target!(|input: (u8, &[u8])| {
    let (bits, bytes) = (u32::from(input.0 % 7) + 1, input.1);
    let mut rest = bytes;
    if let Ok(number) = integer::take(&mut rest, bits) {
        assert!(number < 1 << 62);
        let mut written = Vec::new();
        integer::put(&mut written, 0, bits, number);
        assert_eq!(integer::take(&mut &written[..], bits), Ok(number));
    }
    let mut rest = bytes;
    let Ok(text) = integer::take_text(&mut rest, bits) else { return };
    assert!(text.bytes.len() + rest.len() < bytes.len());
    let mut out = vec![0; huffman::decoded_length_max(text.bytes.len())];
    let Some(length) = huffman::decode(text.bytes, &mut out) else { return };
    let mut written = Vec::new();
    huffman::encode(&out[..length], &mut written);
    assert_eq!(written, text.bytes);
});
