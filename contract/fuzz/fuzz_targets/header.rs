//! Header values from strangers: surrogate keys and tier headers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::{surrogate_key, tier::TierKey};

fuzz_target!(|text: &str| {
    if let Ok(keys) = surrogate_key::parse_list(text) {
        let again = surrogate_key::parse_list(&surrogate_key::format_list(&keys));
        assert_eq!(again.expect("its own text"), keys);
    }
    // nobody can guess the mac: what opens was sealed
    assert!(TierKey::new([7; 32]).open(text, 1_000).is_err());
});
