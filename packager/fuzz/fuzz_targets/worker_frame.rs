//! Any bytes from a worker: a frame, or an error; a frame that was read is written as it came.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::worker_frame::{Frame, HEAD_BYTES, parse_head};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return };
    let Ok((kind, length)) = parse_head(*head) else { return };
    let payload = &payload[..length.min(payload.len())];
    if let Ok(frame) = Frame::parse(kind, payload) {
        let written = frame.to_bytes().expect("what was read is below the limits");
        let again = Frame::parse(kind, &written[HEAD_BYTES..]).expect("what was written reads");
        assert_eq!(again, frame);
    }
});
