//! A dictionary of structured fields is read to the letter: what is accepted is accepted again with its members
//! written once more in a row, which says the same, and what is refused governs nothing.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_edge::cache::{
    governing::{CDN_CACHE_CONTROL, Governing, Source, withheld},
    structured::dictionary,
};

fuzz_target!(|bytes: &[u8]| {
    let read = dictionary(bytes, MEMBERS_MAX).ok();
    let members = read.map(|members| members.len());
    if members.is_some_and(|members| members > 0) {
        let twice = [bytes, b",", bytes.trim_ascii_start()].concat();
        assert_eq!(dictionary(&twice, MEMBERS_MAX).ok().map(|members| members.len()), members);
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(CDN_CACHE_CONTROL, value)]);
    let governs = Governing::of(&headers).source == Source::CdnCacheControl;
    assert!(!governs || members.is_some_and(|members| members > 0));
    withheld(&headers, |_| assert!(governs));
});

/// As for headers of origins.
const MEMBERS_MAX: usize = 1024;
