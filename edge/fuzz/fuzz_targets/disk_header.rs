//! Whatever stands on disk: a record's header, a head and a list of variants are read or refused, and what is read is
//! written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_edge::cache::disk::{head_block, record::Header};

fuzz_target!(|bytes: &[u8]| {
    if let Some(header) = Header::parse(bytes) {
        assert_eq!(Header::parse(&header.encode()), Some(header));
        assert!(header.total_bytes() >= header.body_at() + header.body_bytes);
    }
    if let Some(head) = head_block::decode(bytes) {
        let written = head_block::encode(&head);
        let again = head_block::decode(&written).expect("its own bytes");
        assert_eq!(head_block::encode(&again), written);
    }
    if let Some(variants) = head_block::decode_variants(bytes) {
        let written = head_block::encode_variants(&variants);
        assert!(head_block::decode_variants(&written).is_some());
    }
});
