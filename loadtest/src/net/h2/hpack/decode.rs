//! An answer's header section, read with the table of its connection.
//!
//! Invariant: a section that is much longer than its bytes, because it refers to the table again and again, ends the
//! connection: reading takes time in proportion to what we said that we take.

use tidegate_contract::field_code::{
    NotDecodable, huffman,
    integer::{self, Text},
};

use super::{
    super::{
        HEADERS_MAX,
        frame::{COMPRESSION_ERROR, ENHANCE_YOUR_CALM},
        wrong::Wrong,
    },
    statics::TABLE,
    table::{LINE_BYTES, Table},
};

/// Reads the sections of one connection, in their order.
#[derive(Debug, Default)]
pub(in super::super) struct Decoder {
    table: Table,
}

impl Decoder {
    /// Hands each line to `take`: name and value.
    pub(in super::super) fn decode(
        &mut self,
        mut section: &[u8],
        take: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Wrong> {
        let mut scratch = Scratch::default();
        let mut size = 0;
        let mut may_resize = true;
        while let Some(first) = section.first().copied() {
            if first & 0xe0 == 0x20 {
                if !may_resize {
                    return Err(wrong("a table's size behind a line"));
                }
                self.table.resize(integer::take(&mut section, 5)?)?;
                continue;
            }
            may_resize = false;
            let (name, value, is_kept) = self.line(first, &mut section, &mut scratch)?;
            size += name.len() + value.len() + LINE_BYTES;
            if size > HEADERS_MAX as usize {
                return Err(Wrong::new(ENHANCE_YOUR_CALM, "a header section over the limit"));
            }
            take(name, value);
            if is_kept {
                let (name, value) = (name.to_vec(), value.to_vec());
                self.table.insert(&name, &value);
            }
        }
        Ok(())
    }

    /// One line (RFC 7541 section 6), and whether it enters the table.
    fn line<'a, 'i: 'a>(
        &'a self,
        first: u8,
        rest: &mut &'i [u8],
        scratch: &'a mut Scratch,
    ) -> Result<(&'a [u8], &'a [u8], bool), Wrong> {
        if first & 0x80 != 0 {
            let (name, value) = self.entry(integer::take(rest, 7)?)?;
            return Ok((name, value, false));
        }
        let (is_kept, bits) = if first & 0x40 != 0 { (true, 6) } else { (false, 4) };
        let Scratch { name, value } = scratch;
        let name = match integer::take(rest, bits)? {
            0 => text(rest, name)?,
            index => self.entry(index)?.0,
        };
        Ok((name, text(rest, value)?, is_kept))
    }

    /// What stands at an index, from 1: the static table, then the dynamic one.
    fn entry(&self, index: u64) -> Result<(&[u8], &[u8]), Wrong> {
        let place = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
        let place = place.ok_or(wrong("no such entry"))?;
        match TABLE.get(place) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.table.get(place - TABLE.len()).ok_or(wrong("no such entry")),
        }
    }
}

/// Where compressed strings of a line are written.
#[derive(Default)]
struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
}

fn text<'a, 'i: 'a>(rest: &mut &'i [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Wrong> {
    let Text { bytes, is_huffman } = integer::take_text(rest, 7)?;
    if !is_huffman {
        return Ok(bytes);
    }
    scratch.resize(huffman::decoded_length_max(bytes.len()), 0);
    let length = huffman::decode(bytes, scratch).ok_or(wrong("no Huffman string"))?;
    Ok(&scratch[..length])
}

impl From<NotDecodable> for Wrong {
    fn from(NotDecodable(detail): NotDecodable) -> Self {
        wrong(detail)
    }
}

const fn wrong(detail: &'static str) -> Wrong {
    Wrong { code: COMPRESSION_ERROR, detail }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(decoder: &mut Decoder, section: &[u8]) -> Result<Vec<(String, String)>, Wrong> {
        let mut lines = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder.decode(section, &mut |name, value| lines.push((text(name), text(value))))?;
        Ok(lines)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // C.5 and C.6 read with a table of 256 bytes; the first two of each read so with any.
        for sections in [
            [
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
                 6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                "4803333037c1c0bf",
            ],
            [
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
                 6e919d29ad171863c78f0b97c8e9ae82ae43d3",
                "4883640effc1c0bf",
            ],
        ] {
            let mut decoder = Decoder::default();
            for (section, status) in sections.iter().zip(["302", "307"]) {
                let lines = read(&mut decoder, &hex::decode(section).unwrap()).unwrap();
                let lines: Vec<_> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                assert_eq!(
                    lines,
                    [
                        (":status", status),
                        ("cache-control", "private"),
                        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
                        ("location", "https://www.example.com"),
                    ]
                );
            }
        }
    }

    #[test]
    fn what_is_no_hpack_ends_the_connection() {
        for (what, section) in [
            ("index 0", &b"\x80"[..]),
            ("index beyond the tables", b"\xbe"),
            ("name beyond the tables", b"\x7e\x01a"),
            ("size behind a line", b"\x88\x20"),
            ("size above the setting", b"\x3f\xe2\x1f"),
            ("cut off value", b"\x04\x05/a"),
            ("cut off name", b"\x00\x05x"),
            ("no value", b"\x04"),
            ("Huffman padding of zeros", b"\x04\x81\x00"),
            ("endless number", b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            assert!(read(&mut Decoder::default(), section).is_err(), "{what}");
        }
        assert_eq!(read(&mut Decoder::default(), b"\x20\x3f\xe1\x1f\x88").unwrap().len(), 1);
    }

    #[test]
    fn a_section_that_swells_is_refused() {
        let mut section = b"\x40\x01x\x7f\x81\x1e".to_vec();
        section.extend([b'y'; 3_968]);
        section.extend([0xbe; 20]);
        let result = read(&mut Decoder::default(), &section);
        assert_eq!(result.unwrap_err().code, ENHANCE_YOUR_CALM);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(sections in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut decoder = Decoder::default();
            for section in sections {
                if read(&mut decoder, &section).is_err() {
                    break;
                }
            }
        }
    }
}
