//! BIRD's answers, cut anywhere: they are read or refused, and never grow beyond their bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_edge::anycast::bird::{protocols, reply::ReplyReader};

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, bytes) = input;
    let mut reader = ReplyReader::default();
    let cut = cut % (bytes.len() + 1);
    for piece in [&bytes[..cut], &bytes[cut..]] {
        match reader.push(piece) {
            Ok(Some(reply)) => {
                assert!(!reply.lines.is_empty());
                let _ = (reply.refusal(), protocols::read(&reply));
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
});
