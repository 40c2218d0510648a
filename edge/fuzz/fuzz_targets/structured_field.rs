//! A dictionary of structured fields is read to the letter: what is accepted is accepted again with its members
//! written once more in a row, and what is refused governs nothing.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_edge::cache::{
    governing::{CDN_CACHE_CONTROL, Governing, Source, withheld},
    structured::dictionary,
};

fuzz_target!(|bytes: &[u8]| {
    let mut members = 0;
    let read = dictionary(bytes, |key, _| {
        assert!(!key.is_empty());
        members += 1;
    });
    if read.is_ok() && members > 0 {
        let twice = [bytes, b",", bytes.trim_ascii_start()].concat();
        let mut again = 0;
        assert!(dictionary(&twice, |_, _| again += 1).is_ok());
        assert_eq!(again, 2 * members);
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(CDN_CACHE_CONTROL, value)]);
    let governs = Governing::of(&headers).source == Source::CdnCacheControl;
    assert!(!governs || (read.is_ok() && members > 0));
    withheld(&headers, |_| assert!(governs));
});
