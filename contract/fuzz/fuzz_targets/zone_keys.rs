//! Sets of keys are read within their limits or refused, and what is read travels again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::zone_keys::{KeyProposal, KeySet, ProvenSet};

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<KeyProposal>(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let proof = "A".repeat(43) + "=";
    let set = ProvenSet { text: text.to_owned(), proof };
    if let Ok(read) = set.read() {
        let text = serde_json::to_string(&read).expect("plain data");
        assert_eq!(serde_json::from_str::<KeySet>(&text).ok(), Some(read));
    }
});
