//! Questions to nodes and their answers are read within their limits or refused, and what is read travels again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::{
    node_question::{NodeAnswer, NodeQuestion},
    packed::pack,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(question) = NodeQuestion::from_bytes(bytes) {
        assert_eq!(NodeQuestion::from_bytes(&question.to_bytes()).ok(), Some(question));
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let packed = [&length[..], &pack(bytes)].concat();
    for bytes in [bytes, &packed] {
        if let Ok(answer) = NodeAnswer::from_bytes(bytes)
            && let Ok(bytes) = answer.to_bytes()
        {
            assert_eq!(NodeAnswer::from_bytes(&bytes).ok(), Some(answer));
        }
    }
});
