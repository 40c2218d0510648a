//! From a header section to names and values, with the dynamic table of the connection.
//!
//! Every string is copied once, into bytes of its own, and checked once: a line that refers to the table costs a count
//! of references. Invariant: a whole section is always read, or the connection ends, so that the table stays what the
//! client takes it for.

use bytes::Bytes;
use http::HeaderValue;

use super::{
    Name, NotDecodable, Value, huffman,
    integer::{self, Text},
    name_of, static_table,
    table::{Entry, Table},
};

/// Reads the header sections of one connection, in their order.
#[derive(Debug, Default)]
pub struct Decoder {
    table: Table,
    /// Where compressed strings are written.
    scratch: Vec<u8>,
}

impl Decoder {
    /// Reads a whole section and hands each line to `take`, with the size that it counts (RFC 9113 6.5.2).
    ///
    /// # Errors
    /// When the section is no HPACK: nothing that comes later on the connection can be read then.
    pub fn decode(
        &mut self,
        mut section: &[u8],
        mut take: impl FnMut(Name, Value, usize),
    ) -> Result<(), NotDecodable> {
        let mut may_resize = true;
        while let Some(first) = section.first() {
            if first & 0b1110_0000 == 0b0010_0000 {
                if !may_resize {
                    return Err(NotDecodable("table size behind a line"));
                }
                self.table.resize(integer::take(&mut section, 5)?)?;
                continue;
            }
            may_resize = false;
            let entry = self.line(*first, &mut section)?;
            take(entry.name, entry.value, entry.name_length + entry.value_length + LINE_OVERHEAD);
        }
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    /// One line (RFC 7541 6.1 and 6.2).
    fn line(&mut self, first: u8, rest: &mut &[u8]) -> Result<Entry, NotDecodable> {
        if first & 0b1000_0000 != 0 {
            let index = integer::take(rest, 7)?;
            return self.entry(index);
        }
        let (is_kept, bits) = if first & 0b0100_0000 != 0 { (true, 6) } else { (false, 4) };
        let index = integer::take(rest, bits)?;
        let (name, name_length) = if index == 0 {
            let name = self.text(rest)?;
            (name_of(name), name.len())
        } else {
            self.name(index)?
        };
        let value = self.text(rest)?;
        let value_length = value.len();
        let value = Value::of(&name, Bytes::copy_from_slice(value));
        let entry = Entry { name, name_length, value, value_length };
        if is_kept {
            self.table.insert(entry.clone());
        }
        Ok(entry)
    }

    /// What stands at an index, static or dynamic.
    fn entry(&self, index: u64) -> Result<Entry, NotDecodable> {
        let index = usize::try_from(index).map_err(|_| NO_ENTRY)?;
        if let Some((name, name_length, value)) = static_table::entry(index) {
            return Ok(Entry {
                name: name.clone(),
                name_length,
                value: match name {
                    Name::Pseudo(_) => Value::Pseudo(Bytes::from_static(value.as_bytes())),
                    _ => Value::Field(HeaderValue::from_static(value)),
                },
                value_length: value.len(),
            });
        }
        let place = index.checked_sub(static_table::ENTRIES + 1).ok_or(NO_ENTRY)?;
        self.table.get(place).cloned().ok_or(NO_ENTRY)
    }

    fn name(&self, index: u64) -> Result<(Name, usize), NotDecodable> {
        let index = usize::try_from(index).map_err(|_| NO_ENTRY)?;
        if let Some((name, length, _)) = static_table::entry(index) {
            return Ok((name.clone(), length));
        }
        let place = index.checked_sub(static_table::ENTRIES + 1).ok_or(NO_ENTRY)?;
        let entry = self.table.get(place).ok_or(NO_ENTRY)?;
        Ok((entry.name.clone(), entry.name_length))
    }

    /// A string; what was compressed stands in the scratch space until the next one.
    fn text<'a, 'i: 'a>(&'a mut self, rest: &mut &'i [u8]) -> Result<&'a [u8], NotDecodable> {
        let Text { bytes, is_huffman } = integer::take_text(rest, 7)?;
        if !is_huffman {
            return Ok(bytes);
        }
        let room = huffman::decoded_length_max(bytes.len());
        if self.scratch.len() < room {
            self.scratch.resize(room.max(SCRATCH_USUAL), 0);
        }
        let length = huffman::decode(bytes, &mut self.scratch)
            .ok_or(NotDecodable("not a Huffman string"))?;
        Ok(&self.scratch[..length])
    }
}

const NO_ENTRY: NotDecodable = NotDecodable("no such entry in the tables");
/// What a line counts beside its name and value (RFC 9113 6.5.2).
const LINE_OVERHEAD: usize = 32;
/// Room for the strings of most sections.
const SCRATCH_USUAL: usize = 256;
/// A larger one is not kept from one section to the next: an idle connection holds little.
const SCRATCH_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Lines = Vec<(String, String)>;

    fn text(name: &Name, value: &Value) -> (String, String) {
        let name = match name {
            Name::Field(name) => name.to_string(),
            other => format!("{other:?}"),
        };
        let value = match value {
            Value::Pseudo(value) => String::from_utf8_lossy(value).into_owned(),
            Value::Field(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            Value::Malformed => "malformed".to_owned(),
        };
        (name, value)
    }

    fn read(decoder: &mut Decoder, section: &[u8]) -> Result<Lines, NotDecodable> {
        let mut lines = Vec::new();
        decoder.decode(section, |name, value, size| {
            assert!(size >= LINE_OVERHEAD);
            lines.push(text(&name, &value));
        })?;
        Ok(lines)
    }

    #[test]
    fn the_examples_of_the_rfc_read_as_they_should() {
        // RFC 7541 C.3 and C.4: three requests on one connection, plain and compressed.
        for sections in [
            [
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ],
            [
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ],
        ] {
            let mut decoder = Decoder::default();
            let mut all = Vec::new();
            for section in sections {
                all.push(read(&mut decoder, &hex::decode(section).unwrap()).unwrap());
            }
            let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let authority = line("Pseudo(Authority)", "www.example.com");
            assert_eq!(all[0][3], authority);
            assert_eq!(all[1][3], authority);
            assert_eq!(all[1][4], line("cache-control", "no-cache"));
            assert_eq!(all[2][1], line("Pseudo(Scheme)", "https"));
            assert_eq!(all[2][2], line("Pseudo(Path)", "/index.html"));
            assert_eq!(all[2][3], authority);
            assert_eq!(all[2][4], line("custom-key", "custom-value"));
            assert_eq!(decoder.table.get(2).unwrap().value, {
                Value::Pseudo(Bytes::from_static(b"www.example.com"))
            });
        }
    }

    #[test]
    fn what_is_no_hpack_ends_the_connection() {
        for (what, section) in [
            ("index 0", &b"\x80"[..]),
            ("index beyond the tables", b"\xbe"),
            ("name beyond the tables", b"\x7e\x01a"),
            ("size behind a line", b"\x82\x20"),
            ("size above the setting", b"\x3f\xe2\x1f"),
            ("cut off value", b"\x04\x05/a"),
            ("cut off name", b"\x00\x05x"),
            ("no value", b"\x04"),
            ("Huffman padding of a byte", b"\x04\x82\x07\xff"),
            ("Huffman padding of zeros", b"\x04\x81\x00"),
            ("the end symbol", b"\x04\x84\xff\xff\xff\xff"),
            ("endless integer", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            assert!(read(&mut Decoder::default(), section).is_err(), "{what}");
        }
        let sized = read(&mut Decoder::default(), b"\x20\x3f\xe1\x1f\x82").unwrap();
        assert_eq!(sized.len(), 1, "sizes may stand in front");
    }

    #[test]
    fn an_entry_with_a_bad_value_still_lends_its_name() {
        let mut decoder = Decoder::default();
        let lines = read(&mut decoder, b"\x40\x01x\x02\r\n\xbe\x7e\x01a").unwrap();
        let values: Vec<_> = lines.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["malformed", "malformed", "a"]);
        let blanks = read(&mut decoder, b"\x00\x01x\x02 a\x00\x01x\x02a\t\x00\x01X\x01a").unwrap();
        assert!(blanks.iter().all(|(_, value)| value == "malformed"), "{blanks:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(sections in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut decoder = Decoder::default();
            for section in sections {
                if read(&mut decoder, &section).is_err() {
                    break;
                }
            }
        }
    }
}
