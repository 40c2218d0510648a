//! Whatever comes packed is unpacked within the reader's limit or refused, and what we pack comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::packed::{pack, unpack};

fuzz_target!(|bytes: &[u8]| {
    let Some((length, packed)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_be_bytes(*length));
    if let Ok(plain) = unpack(packed, length, MAX) {
        assert_eq!(plain.len(), length);
        assert!(length <= MAX);
    }
    assert_eq!(unpack(&pack(packed), packed.len(), packed.len()).as_deref(), Ok(packed));
});

const MAX: usize = 32 * 1024;
