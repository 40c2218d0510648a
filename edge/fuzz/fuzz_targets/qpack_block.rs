//! Any bytes decode within the limit or are refused, and what was decoded is written and read again as it was.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h3::qpack::{Name, PREFIX, decode, encode_fields};

fuzz_target!(|bytes: &[u8]| {
    let Ok(map) = fields(Bytes::copy_from_slice(bytes)) else { return };
    let size: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(size <= LIMIT as usize);
    for is_small in [false, true] {
        let mut section = PREFIX.to_vec();
        encode_fields(&map, is_small, &mut section);
        assert_eq!(fields(section.into()).as_ref(), Ok(&map));
    }
});

/// The fields that can stand in a map.
fn fields(section: Bytes) -> Result<HeaderMap, tidegate_edge::listener::h3::code::Broken> {
    let mut map = HeaderMap::new();
    decode(&section, LIMIT, |name, value| {
        if let (Name::Field(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) {
            map.append(name, value);
        }
        Ok(())
    })?;
    Ok(map)
}

const LIMIT: u64 = 64 * 1024;
