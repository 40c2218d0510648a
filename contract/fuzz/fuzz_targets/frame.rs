//! Whatever a worker says is read or refused, and what is read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::worker_frame::{Frame, HEAD_BYTES, parse_head};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return };
    let Ok((kind, length)) = parse_head(*head) else { return };
    let Ok(frame) = Frame::parse(kind, &payload[..length.min(payload.len())]) else { return };
    let written = frame.to_bytes().expect("what was read fits");
    let (head, payload) = written.split_first_chunk::<HEAD_BYTES>().expect("a whole head");
    let (kind, _) = parse_head(*head).expect("its own head");
    assert_eq!(Frame::parse(kind, payload).expect("its own payload"), frame);
});
