//! Sections of any bytes decode one behind the other or end the connection, and what was decoded is written and read
//! again as it was.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h2::hpack::{Decoder, Name, Value, encode_fields};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::default();
    for section in bytes.split(|byte| *byte == 0xfe) {
        let Some(map) = fields(&mut decoder, section) else { return };
        for is_small in [false, true] {
            let mut written = Vec::new();
            encode_fields(&map, is_small, &mut written);
            assert_eq!(fields(&mut Decoder::default(), &written).as_ref(), Some(&map));
        }
    }
});

/// The fields that can stand in a map.
fn fields(decoder: &mut Decoder, section: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    let decoded = decoder.decode(section, |name, value, size| {
        assert!(size >= 32);
        if let (Name::Field(name), Value::Field(value)) = (name, value)
            && map.len() < FIELDS_MAX
        {
            map.append(name, value);
        }
    });
    decoded.ok().map(|()| map)
}

const FIELDS_MAX: usize = 1000;
