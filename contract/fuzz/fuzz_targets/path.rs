//! A path of the media layout has one spelling; a URL to purge loses what is not in a cache key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::{media_path::MediaPath, purge::PurgeTarget};

fuzz_target!(|text: &str| {
    if let Ok(path) = text.parse::<MediaPath>() {
        assert_eq!(path.to_string(), text);
        if let Some(key) = path.object_key() {
            assert!(!key.starts_with('/') && !key.contains(".."));
        }
    }
    if let Ok(PurgeTarget::Url { host, path }) = PurgeTarget::from_url(text) {
        assert!(path.starts_with('/'));
        assert_eq!(host, host.to_ascii_lowercase());
    }
});
