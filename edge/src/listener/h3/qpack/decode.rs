//! From a field section to names and values.
//!
//! Values that are not compressed stay where they arrived; compressed ones share one buffer. Invariant: what it holds is
//! in proportion to the section's bytes, since nothing that it refers to is longer than a line of the static table.

use bytes::{Bytes, BytesMut};

use super::{
    Name, NotDecodable, Value, huffman,
    integer::{self, Text},
    static_table,
};
use crate::listener::{
    field_line::name_of,
    h3::code::{Broken, Code},
};

/// Decodes a whole section and hands each field line to `take`, with the size that it counts (RFC 9114 4.2.2).
///
/// # Errors
/// The connection's error when the section is no QPACK or refers to a dynamic table.
pub fn decode(section: &Bytes, mut take: impl FnMut(Name, Value, usize)) -> Result<(), Broken> {
    let mut decoder = Decoder { section, rest: section, decompressed: BytesMut::new() };
    decoder.prefix().map_err(failed)?;
    while !decoder.rest.is_empty() {
        let (name, name_length, value) = decoder.line().map_err(failed)?;
        let size = name_length + value.len() + LINE_OVERHEAD;
        let value = Value::of(&name, value);
        take(name, value, size);
    }
    Ok(())
}

struct Decoder<'a> {
    section: &'a Bytes,
    rest: &'a [u8],
    /// Holds decompressed strings until they are split off.
    decompressed: BytesMut,
}

impl Decoder<'_> {
    /// Required Insert Count and Base (RFC 9204 4.5.1); without a dynamic table both can only be 0.
    fn prefix(&mut self) -> Result<(), NotDecodable> {
        if integer::take(&mut self.rest, 8)? != 0 {
            return Err(NotDecodable("required insert count without a dynamic table"));
        }
        let is_negative = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        integer::take(&mut self.rest, 7)?;
        if is_negative {
            return Err(NotDecodable("negative base"));
        }
        Ok(())
    }

    /// One field line (RFC 9204 4.5.2 to 4.5.6): name, length of the name, value.
    fn line(&mut self) -> Result<(Name, usize, Bytes), NotDecodable> {
        let first = self.rest[0];
        if first & 0b1000_0000 != 0 {
            if first & 0b0100_0000 == 0 {
                return Err(DYNAMIC);
            }
            let (name, value) = self.entry(6)?;
            return Ok((name.clone(), length_of(name), Bytes::from_static(value.as_bytes())));
        }
        if first & 0b0100_0000 != 0 {
            if first & 0b0001_0000 == 0 {
                return Err(DYNAMIC);
            }
            let (name, _) = self.entry(4)?;
            return Ok((name.clone(), length_of(name), self.value()?));
        }
        if first & 0b0010_0000 == 0 {
            // Both forms of the rest refer to entries behind the base.
            return Err(DYNAMIC);
        }
        let text = integer::take_text(&mut self.rest, 3)?;
        let name = self.text(text)?;
        Ok((name_of(&name), name.len(), self.value()?))
    }

    fn entry(&mut self, bits: u32) -> Result<(&'static Name, &'static str), NotDecodable> {
        let index = integer::take(&mut self.rest, bits)?;
        static_table::entry(index).ok_or(NotDecodable("no such entry in the static table"))
    }

    fn value(&mut self) -> Result<Bytes, NotDecodable> {
        let text = integer::take_text(&mut self.rest, 7)?;
        self.text(text)
    }

    fn text(&mut self, text: Text<'_>) -> Result<Bytes, NotDecodable> {
        if !text.is_huffman {
            return Ok(self.section.slice_ref(text.bytes));
        }
        let room = huffman::decoded_length_max(text.bytes.len());
        if self.decompressed.capacity() < room {
            // Room for all that can follow, so that this happens once in a section.
            let all = text.bytes.len() + self.rest.len();
            self.decompressed = BytesMut::with_capacity(huffman::decoded_length_max(all));
        }
        self.decompressed.resize(room, 0);
        let length = huffman::decode(text.bytes, &mut self.decompressed)
            .ok_or(NotDecodable("not a Huffman string"))?;
        self.decompressed.truncate(length);
        Ok(self.decompressed.split().freeze())
    }
}

/// As long as the name of the entry; all pseudo-headers count as the longest, which errs to the safe side.
fn length_of(name: &Name) -> usize {
    match name {
        Name::Field(name) => name.as_str().len(),
        Name::Pseudo(_) | Name::Invalid => ":authority".len(),
    }
}

fn failed(NotDecodable(why): NotDecodable) -> Broken {
    Broken::Connection(Code::QPACK_DECOMPRESSION_FAILED, why)
}

const DYNAMIC: NotDecodable = NotDecodable("reference to a dynamic table that was not offered");

/// What a field line counts beside its name and value (RFC 9114 4.2.2).
const LINE_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::listener::h3::qpack::{PREFIX, Pseudo, encode_fields};

    fn decoded(section: &[u8]) -> Result<Vec<(Name, String)>, Broken> {
        let mut lines = Vec::new();
        decode(&Bytes::copy_from_slice(section), |name, value, _| {
            let value = match value {
                Value::Pseudo(value) => value,
                Value::Field(value) => Bytes::copy_from_slice(value.as_bytes()),
                Value::Malformed => Bytes::from_static(b"malformed"),
            };
            lines.push((name, String::from_utf8(value.to_vec()).unwrap()));
        })?;
        Ok(lines)
    }

    #[test]
    fn every_form_of_a_line_without_a_dynamic_table_is_read() {
        let field = |name: &'static str| Name::Field(HeaderName::from_static(name));
        // RFC 9204 B.1, and one line of each other form.
        let lines = decoded(b"\x00\x00\x51\x0b/index.html").unwrap();
        assert_eq!(lines, [(Name::Pseudo(Pseudo::Path), "/index.html".into())]);
        let lines = decoded(
            b"\x00\x00\xd1\xff\x24\x27\x03x-customv\x02ab\x2a\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x00",
        );
        assert!(lines.is_err(), "index 99 does not exist");
        let lines = decoded(b"\x00\x00\xd1\xff\x23\x23abc\x02de").unwrap();
        assert_eq!(
            lines,
            [
                (Name::Pseudo(Pseudo::Method), "GET".into()),
                (field("x-frame-options"), "sameorigin".into()),
                (field("abc"), "de".into()),
            ]
        );
    }

    #[test]
    fn what_needs_a_dynamic_table_or_is_cut_off_ends_the_connection() {
        for (what, section) in [
            ("nothing", &b""[..]),
            ("half a prefix", b"\x00"),
            ("insert count", b"\x02\x00\x80"),
            ("negative base", b"\x00\x80\xd1"),
            ("dynamic index", b"\x00\x00\x80"),
            ("dynamic name", b"\x00\x00\x40\x01a"),
            ("post-base index", b"\x00\x00\x10"),
            ("post-base name", b"\x00\x00\x00\x01a"),
            ("static index 99", b"\x00\x00\xff\x24"),
            ("static name 99", b"\x00\x00\x5f\x54\x01a"),
            ("cut off value", b"\x00\x00\x51\x0b/index"),
            ("cut off name", b"\x00\x00\x27\x03x-"),
            ("line without value", b"\x00\x00\x51"),
            ("wrong Huffman padding", b"\x00\x00\x51\x81\x00"),
            ("endless integer", b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            let refused = decoded(section);
            let Err(Broken::Connection(code, _)) = refused else { panic!("{what}: {refused:?}") };
            assert_eq!(code, Code::QPACK_DECOMPRESSION_FAILED, "{what}");
        }
    }

    #[test]
    fn lines_count_with_their_names_values_and_32_bytes() {
        let section = Bytes::from_static(b"\0\0\x23abc\x02de\x23abc\x02 d");
        let mut lines = Vec::new();
        decode(&section, |_, value, size| lines.push((value, size))).unwrap();
        let field = Value::Field(HeaderValue::from_static("de"));
        assert_eq!(lines, [(field, 37), (Value::Malformed, 37)]);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}"), 0..20),
            is_small: bool,
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                map.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            let mut section = PREFIX.to_vec();
            encode_fields(&map, is_small, &mut section);
            let mut back = HeaderMap::new();
            decode(&section.into(), |name, value, _| match (name, value) {
                (Name::Field(name), Value::Field(value)) => drop(back.append(name, value)),
                // The others begin or end with a blank.
                other => assert!(matches!(other, (Name::Field(_), Value::Malformed))),
            }).unwrap();
            let is_plain = |value: &HeaderValue| value.as_bytes().trim_ascii() == value.as_bytes();
            let map: HeaderMap = map
                .iter()
                .filter(|(_, value)| is_plain(value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            prop_assert_eq!(back, map);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(section: Vec<u8>) {
            let _ = decode(&section.into(), |_, _, _| {});
        }
    }
}
