//! Any bytes decode or are refused, and what was decoded is written and read again as it was.
#![no_main]

use bytes::Bytes;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h3::qpack::{Name, PREFIX, Value, decode, encode_fields};

fuzz_target!(|bytes: &[u8]| {
    let Ok(map) = fields(Bytes::copy_from_slice(bytes)) else { return };
    for is_small in [false, true] {
        let mut section = PREFIX.to_vec();
        encode_fields(&map, is_small, &mut section);
        assert_eq!(fields(section.into()).as_ref(), Ok(&map));
    }
});

/// The fields that can stand in a map.
fn fields(section: Bytes) -> Result<HeaderMap, tidegate_edge::listener::h3::code::Broken> {
    let mut map = HeaderMap::new();
    decode(&section, |name, value, size| {
        assert!(size >= 32);
        if let (Name::Field(name), Value::Field(value)) = (name, value)
            && map.len() < FIELDS_MAX
        {
            map.append(name, value);
        }
    })?;
    Ok(map)
}

const FIELDS_MAX: usize = 1000;
