//! Any bytes as a minted init segment: a checked entry, or an error; what is taken over can be written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_packager::cmaf::{Expected, SampleEntry, init_segment};

fuzz_target!(|init: &[u8]| {
    for expected in [
        Expected::Video { width: 640, height: 360, is_hevc: false },
        Expected::Video { width: 640, height: 360, is_hevc: true },
        Expected::Audio,
    ] {
        if let Ok(entry) = SampleEntry::from_minted(init, expected) {
            let written = init_segment(&entry, 48_000, 1024);
            if let Ok(written) = written {
                let again = SampleEntry::from_minted(&written, expected).expect("our own segment");
                assert_eq!(again.codecs(), entry.codecs());
            }
        }
    }
});
