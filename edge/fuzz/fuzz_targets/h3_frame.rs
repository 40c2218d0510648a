//! Whatever a client says on its control stream and its QPACK streams is read or refused, and means the same however
//! the bytes are cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h3::{
    code::Broken,
    control::{ControlStream, Said},
    qpack::{DecoderStream, EncoderStream},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let whole = read(&[bytes]);
    let (a, b) = bytes.split_at(usize::from(*first).min(bytes.len()));
    assert_eq!(read(&[a, b]), whole);

    let mut whole = DecoderStream::default();
    let mut cut = DecoderStream::default();
    let is_fine = whole.read(bytes).is_ok();
    assert_eq!(cut.read(a).and_then(|()| cut.read(b)).is_ok(), is_fine);
    let is_fine = EncoderStream.read(bytes).is_ok();
    assert_eq!(EncoderStream.read(a).and_then(|()| EncoderStream.read(b)).is_ok(), is_fine);
});

fn read(pieces: &[&[u8]]) -> Result<Vec<Said>, Broken> {
    let (mut stream, mut said) = (ControlStream::default(), Vec::new());
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(next) = stream.read(&mut input)? {
            said.push(next);
        }
        assert!(input.is_empty(), "all of a piece is used up");
    }
    Ok(said)
}
