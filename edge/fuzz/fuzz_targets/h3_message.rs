//! A request stream with any bytes on it is a well-formed request or refused, the same however the bytes are cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::{
    config::Limits,
    h3::{
        message::{Event, Message},
        request::{NoHead, check_trailers, read_head},
    },
};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let whole = read(&[bytes]);
    let (a, b) = bytes.split_at(usize::from(*first).min(bytes.len()));
    let cut = read(&[a, b]);
    assert_eq!(cut.is_ok(), whole.is_ok());
    if let (Ok(cut), Ok(whole)) = (cut, whole) {
        assert_eq!(cut, whole);
    }
});

/// The target and the content of a complete request.
fn read(pieces: &[&[u8]]) -> Result<(String, Vec<u8>), NoHead> {
    let limits = Limits::default();
    let (mut message, mut pieces) = (Message::new(4096), pieces.iter());
    let (mut target, mut announced, mut content) = (None, None, Vec::new());
    loop {
        match message.next_event().map_err(NoHead::Broken)? {
            Event::Head(section) => {
                let head = read_head(&section, &limits)?;
                assert!(head.headers.iter().all(|(name, value)| {
                    !name.as_str().bytes().any(|byte| byte.is_ascii_uppercase())
                        && !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte))
                }));
                announced = head.content_length;
                message.announce(announced);
                target = Some(head.target.to_string());
            }
            Event::Data(data) => content.extend_from_slice(&data),
            Event::Trailers(section) => {
                check_trailers(&section, &limits).map_err(NoHead::Broken)?
            }
            Event::More => match pieces.next() {
                Some(piece) => message.push(Bytes::copy_from_slice(piece)),
                None => message.set_ended(),
            },
            Event::End => {
                assert!(announced.is_none_or(|length| length == content.len() as u64));
                return Ok((target.expect("no end without a head"), content));
            }
        }
    }
}
