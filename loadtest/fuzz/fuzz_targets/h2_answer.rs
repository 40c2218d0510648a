//! What a server sends over HTTP/2 behind one request: no bytes make the reader panic, what it hands on is not more than
//! came, and it is the same however the bytes are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_load::net::read_h2_answer;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let (a, b) = bytes.split_at(usize::from(*first).min(bytes.len()));
    let whole = read(&[bytes]);
    assert_eq!(read(&[a, b]), whole);
    if let Ok((_, body, _)) = whole {
        assert!(body.len() <= bytes.len());
    }
});

/// A connection that begins as it should, so that what follows is read.
fn read(pieces: &[&[u8]]) -> Result<(Option<u16>, Vec<u8>, bool), &'static str> {
    read_h2_answer(&[&[SETTINGS], pieces].concat())
}

/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
