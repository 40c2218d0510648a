//! A snapshot is refused or reads as it was written, and a purge order too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::{purge::PurgeOrder, snapshot::Snapshot};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(snapshot) = Snapshot::from_bytes(bytes) {
        assert_eq!(Snapshot::from_bytes(&snapshot.to_bytes()).expect("its own bytes"), snapshot);
    }
    if let Ok(order) = serde_json::from_slice::<PurgeOrder>(bytes) {
        let _ = order.target.hash();
    }
});
