//! From a field section to names and values.
//!
//! Values that are not compressed stay where they arrived; compressed ones share one buffer. Invariant: what comes out
//! is never larger than the limit, by the count of RFC 9114 4.2.2.

use bytes::{Bytes, BytesMut};

use super::{
    Name, NotDecodable, huffman,
    integer::{self, Text},
    static_table,
};
use crate::listener::{
    field_code::name_of,
    h3::code::{Broken, Code},
};

/// Decodes a whole section and hands each field line to `take`.
///
/// # Errors
/// The connection's error when the section is no QPACK or refers to a dynamic table, `TooLarge` above `size_max` bytes
/// of decoded fields, and whatever `take` says.
pub fn decode(
    section: &Bytes,
    size_max: u64,
    mut take: impl FnMut(Name, Bytes) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut decoder = Decoder { section, rest: section, decompressed: BytesMut::new() };
    decoder.prefix().map_err(failed)?;
    let mut size = 0u64;
    while !decoder.rest.is_empty() {
        let (name, name_length, value) = decoder.line().map_err(failed)?;
        size += (name_length + value.len()) as u64 + LINE_OVERHEAD;
        if size > size_max {
            return Err(Broken::TooLarge);
        }
        take(name, value)?;
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
const LINE_OVERHEAD: u64 = 32;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::listener::h3::qpack::{PREFIX, Pseudo, encode_fields};

    fn decoded(section: &[u8]) -> Result<Vec<(Name, String)>, Broken> {
        let mut lines = Vec::new();
        decode(&Bytes::copy_from_slice(section), 1 << 16, |name, value| {
            lines.push((name, String::from_utf8(value.to_vec()).unwrap()));
            Ok(())
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
    fn the_limit_counts_decoded_bytes_and_lines() {
        let section = Bytes::from_static(b"\x00\x00\xd1\xd1\xd1\xd1");
        let count = |limit| decode(&section, limit, |_, _| Ok(()));
        assert_eq!(count(4 * 64), Ok(()));
        assert_eq!(count(150), Err(Broken::TooLarge));
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
            decode(&section.into(), 1 << 20, |name, value| {
                let Name::Field(name) = name else { panic!("{name:?}") };
                back.append(name, HeaderValue::from_maybe_shared(value).unwrap());
                Ok(())
            }).unwrap();
            prop_assert_eq!(back, map);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(section: Vec<u8>) {
            let _ = decode(&section.into(), 1 << 16, |_, _| Ok(()));
        }
    }
}
