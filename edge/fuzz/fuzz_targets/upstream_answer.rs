//! What an upstream says over HTTP/1 is refused or read, and read the same however its bytes come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_edge::upstream::read_answer;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = read_answer(bytes, usize::MAX);
    assert_eq!(read_answer(bytes, piece.into()), whole);
    assert_eq!(read_answer(bytes, 1), whole);
});
