//! A playlist that an origin sends: no text makes the reader panic, and no segment leads out of its host.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_edge::fetch::segments_of;

fuzz_target!(|text: &[u8]| {
    for path in segments_of("/v/1/main.m3u8?x=/../", "a.org", text).unwrap_or_default() {
        assert!(path.starts_with('/'));
        let plain = path.split('?').next().unwrap_or_default();
        assert!(plain.split('/').all(|segment| segment != ".."));
    }
});
