//! The records of a segment: one header for each, in a form that says whether it is whole.
//!
//! A record is a header of fixed size, the encoded head of the response, a checksum for every piece of the body, and
//! the body. Pure. Invariant: nothing is believed before its checksum was right, and checksums are bound to the key,
//! the fill and the place, so that bytes of another record never pass.

use crate::cache::{key::Key, object::PIECE_BYTES};

/// The length of a record's header.
pub const HEADER_BYTES: usize = 64;
/// Records begin at multiples of this.
pub const UNIT_BYTES: u64 = 16;
/// The longest encoded head.
pub const HEAD_BYTES_MAX: usize = 1 << 20;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A response stands under the key.
    Object,
    /// The list of variants stands under the key.
    Variants,
    /// Nothing stands under the key any more.
    Gone,
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it says.
    pub kind: Kind,
    /// Of which key.
    pub key: Key,
    /// The fill that made the object.
    pub fill: u64,
    /// The length of the encoded head.
    pub head_bytes: u32,
    /// The length of the body.
    pub body_bytes: u64,
    /// The checksum of the encoded head and the list of checksums behind it.
    pub head_crc: u32,
}

impl Header {
    /// Reads a header; `None` for anything else than a whole header of this version.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let is_ours = bytes[..4] == MAGIC && bytes[4] == VERSION;
        if !is_ours || crc32fast::hash(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return None;
        }
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[8..24]);
        let header = Self {
            kind: Kind::from_byte(bytes[5])?,
            key: Key(key),
            fill: u64_at(bytes, 24),
            body_bytes: u64_at(bytes, 32),
            head_bytes: u32_at(bytes, 40),
            head_crc: u32_at(bytes, 44),
        };
        let is_possible = header.head_bytes as usize <= HEAD_BYTES_MAX
            && header.body_bytes < u64::from(u32::MAX)
            && (header.kind == Kind::Object || header.body_bytes == 0);
        is_possible.then_some(header)
    }

    /// Writes a header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind.byte();
        bytes[8..24].copy_from_slice(&self.key.0);
        bytes[24..32].copy_from_slice(&self.fill.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.head_bytes.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.head_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Where the body begins, from the beginning of the record.
    #[must_use]
    pub fn body_at(&self) -> u64 {
        HEADER_BYTES as u64 + self.lead_bytes() as u64
    }

    /// The length of what stands between header and body: the encoded head, and 4 bytes for each piece.
    #[must_use]
    pub fn lead_bytes(&self) -> usize {
        let pieces = self.body_bytes.div_ceil(PIECE_BYTES as u64);
        self.head_bytes as usize + 4 * usize::try_from(pieces).unwrap_or(usize::MAX / 8)
    }

    /// The length of the record, up to where the next begins.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        (self.body_at() + self.body_bytes).next_multiple_of(UNIT_BYTES)
    }

    /// The checksum of the encoded head and the checksums behind it.
    #[must_use]
    pub fn crc_of_lead(&self, lead: &[u8]) -> u32 {
        seeded(self.seed(), lead)
    }

    /// The checksum of a piece of the body.
    #[must_use]
    pub fn crc_of_piece(&self, number: usize, piece: &[u8]) -> u32 {
        // Never the seed of the lead.
        seeded(self.seed() ^ (number as u32).wrapping_add(1).rotate_left(8), piece)
    }

    fn seed(&self) -> u32 {
        crc32fast::hash(&self.key.0) ^ self.fill as u32 ^ (self.fill >> 32) as u32
    }
}

impl Kind {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Object => 1,
            Self::Variants => 2,
            Self::Gone => 3,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Object, Self::Variants, Self::Gone].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The checksums behind the head.
pub(super) fn piece_crcs(lead: &[u8], head_bytes: u32) -> Vec<u32> {
    let table = lead.get(head_bytes as usize..).unwrap_or_default();
    table.chunks_exact(4).map(|crc| u32_at(crc, 0)).collect()
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn seeded(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

const MAGIC: [u8; 4] = *b"TGR\x1a";
const VERSION: u8 = 1;
const CRC_AT: usize = HEADER_BYTES - 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::Object,
            key: Key([7; 16]),
            fill: 1 << 40,
            head_bytes: 300,
            body_bytes: 100_000,
            head_crc: 5,
        }
    }

    #[test]
    fn a_header_reads_as_it_was_written() {
        for kind in [Kind::Object, Kind::Variants, Kind::Gone] {
            let body_bytes = if kind == Kind::Object { 100_000 } else { 0 };
            let header = Header { kind, body_bytes, ..header() };
            assert_eq!(Header::parse(&header.encode()), Some(header));
        }
        assert_eq!(header().lead_bytes(), 312, "three pieces");
        assert_eq!(header().total_bytes() % UNIT_BYTES, 0);
    }

    #[test]
    fn a_piece_at_another_place_or_of_another_fill_has_another_checksum() {
        let (header, piece) = (header(), [1; 100]);
        let crc = header.crc_of_piece(0, &piece);
        assert_ne!(crc, header.crc_of_piece(1, &piece));
        assert_ne!(crc, Header { fill: 9, ..header }.crc_of_piece(0, &piece));
        assert_ne!(crc, Header { key: Key([8; 16]), ..header }.crc_of_piece(0, &piece));
    }

    proptest! {
        #[test]
        fn one_flipped_bit_is_no_header(bit in 0_usize..HEADER_BYTES * 8) {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Header::parse(&bytes), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
        }
    }
}
