//! Bodies in chunks: a cut changes neither the content nor whether and where the body ends.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h1::chunked::{Chunks, Piece};

/// The content and what is left behind the end; `None` when the body is refused or has not ended.
fn read(data: &[u8], step: usize) -> Option<(Vec<u8>, usize)> {
    let (mut chunks, mut input, mut content) = (Chunks::default(), BytesMut::new(), Vec::new());
    let mut rest = data;
    loop {
        match chunks.next(&mut input).ok()? {
            Piece::Content(piece) => content.extend_from_slice(&piece),
            Piece::End => return Some((content, input.len() + rest.len())),
            Piece::More if rest.is_empty() => return None,
            Piece::More => {
                let (piece, after) = rest.split_at(step.min(rest.len()));
                input.extend_from_slice(piece);
                rest = after;
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let whole = read(data, usize::MAX);
    assert_eq!(read(data, 1), whole);
    assert_eq!(read(data, 3), whole);
});
