//! Any bytes are frames in their order or end the connection, the same however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h2::{
    code::Broken,
    frame::{FrameHead, HEAD_BYTES, PAYLOAD_BYTES_MAX, kind},
    reader::{Next, Reader},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let (a, b) = bytes.split_at(usize::from(*first).min(bytes.len()));
    assert_eq!(read(&[a, b]), read(&[bytes]));
});

/// What comes of a connection that begins as it should.
fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Broken> {
    let settings = FrameHead { length: 0, kind: kind::SETTINGS, flags: 0, stream: 0 }.bytes();
    let (mut reader, mut all) = (Reader::new(LIMIT), Vec::new());
    for piece in [&[&settings[..]], pieces].concat() {
        let mut input = piece;
        loop {
            match reader.next(&mut input)? {
                Next::More => break,
                Next::Part(held) => assert!(held <= LIMIT.max(PAYLOAD_BYTES_MAX)),
                next => all.push(format!("{next:?}")),
            }
        }
        assert!(input.is_empty());
    }
    assert!(all.len() <= 1 + pieces.concat().len() / HEAD_BYTES);
    Ok(all)
}

const LIMIT: usize = 4096;
