//! A release as it reaches the process that judges it: refused or compiled, whatever the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::{id::PopId, snapshot::Snapshot};
use tidegate_edge::control::judge;

fuzz_target!(|bytes: &[u8]| {
    let pop = PopId::parse("a").expect("a good id");
    if let Ok(snapshot) = judge(bytes, &pop) {
        assert!(Snapshot::from_bytes(&snapshot.to_bytes()).is_ok());
    }
});
