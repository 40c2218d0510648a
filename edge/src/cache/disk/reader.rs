//! Reading records, and checking every byte before anybody gets it.
//!
//! What the kernel has in memory is read at once; only what is not goes to a thread that may wait. Invariant: bytes
//! whose checksum is wrong are reported as damage, never handed out.

use std::io;

use bytes::Bytes;

use super::{
    device::Device,
    index::Place,
    record::{HEADER_BYTES, Header, piece_crcs},
};
use crate::cache::{key::Key, object::PIECE_BYTES};

/// A record, read and checked as a whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) fill: u64,
    /// As it is encoded.
    pub(super) head: Bytes,
    pub(super) pieces: Vec<Bytes>,
}

/// What is known of a record whose body is read piece by piece.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) header: Header,
    /// As it is encoded.
    pub(super) head: Bytes,
    pub(super) crcs: Vec<u32>,
}

/// Why a record cannot be used.
#[derive(Debug)]
pub(super) enum Damage {
    /// It is not what was written.
    Damaged,
    /// The disk says so.
    Io(io::Error),
}

impl Damage {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Io(_) => "read",
        }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        // A file that is shorter than its index is damage.
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damaged } else { Self::Io(error) }
    }
}

/// Reads a whole record.
pub(super) fn read_whole(file: &Device, key: &Key, place: Place) -> Result<Whole, Damage> {
    let mut bytes = vec![0; place.bytes() as usize];
    file.read_exact_at(&mut bytes, place.offset())?;
    check_whole(bytes.into(), key, place)
}

/// Checks a whole record.
pub(super) fn check_whole(bytes: Bytes, key: &Key, place: Place) -> Result<Whole, Damage> {
    let lead = check_lead(&bytes, key, place)?;
    let from = lead.header.body_at() as usize;
    let body = bytes.slice(from..from + lead.header.body_bytes as usize);
    let pieces = check_pieces(&lead, 0, body)?;
    Ok(Whole { fill: lead.header.fill, head: lead.head, pieces })
}

/// Reads what stands before the body.
pub(super) fn read_lead(file: &Device, key: &Key, place: Place) -> Result<Lead, Damage> {
    let mut start = vec![0; place.bytes().min(LEAD_BYTES) as usize];
    file.read_exact_at(&mut start, place.offset())?;
    let needed = check_header(&start, key, place)?.body_at() as usize;
    if start.len() < needed {
        start.resize(needed, 0);
        file.read_exact_at(&mut start, place.offset())?;
    }
    check_lead(&start.into(), key, place)
}

/// Reads whole pieces, beginning with a number.
pub(super) fn read_pieces(
    file: &Device,
    body_at: u64,
    lead: &Lead,
    first: usize,
    count: usize,
) -> Result<Vec<Bytes>, Damage> {
    let (at, length) = extent(lead, first, count);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, body_at + at)?;
    check_pieces(lead, first, bytes.into())
}

/// As [`read_pieces`], but only if nobody has to wait; `None` otherwise.
pub(super) fn read_pieces_now(
    file: &Device,
    body_at: u64,
    lead: &Lead,
    first: usize,
    count: usize,
) -> Option<Result<Vec<Bytes>, Damage>> {
    let (at, length) = extent(lead, first, count);
    let bytes = file.read_now(body_at + at, length)?;
    Some(check_pieces(lead, first, bytes))
}

/// Where pieces stand in the body, and how long they are together.
fn extent(lead: &Lead, first: usize, count: usize) -> (u64, usize) {
    let at = (first * PIECE_BYTES) as u64;
    let left = lead.header.body_bytes.saturating_sub(at);
    (at, left.min((count * PIECE_BYTES) as u64) as usize)
}

fn check_header(start: &[u8], key: &Key, place: Place) -> Result<Header, Damage> {
    let header = Header::parse(start.get(..HEADER_BYTES).unwrap_or_default());
    let is_it = |header: &Header| {
        header.key == *key && header.kind == place.kind && header.total_bytes() == place.bytes()
    };
    header.filter(is_it).ok_or(Damage::Damaged)
}

fn check_lead(bytes: &Bytes, key: &Key, place: Place) -> Result<Lead, Damage> {
    let header = check_header(bytes, key, place)?;
    let end = HEADER_BYTES + header.lead_bytes();
    if bytes.len() < end {
        return Err(Damage::Damaged);
    }
    let lead = bytes.slice(HEADER_BYTES..end);
    if header.crc_of_lead(&lead) != header.head_crc {
        return Err(Damage::Damaged);
    }
    let crcs = piece_crcs(&lead, header.head_bytes);
    let head = lead.slice(..header.head_bytes as usize);
    Ok(Lead { header, head, crcs })
}

/// Cuts bytes into pieces and checks each.
fn check_pieces(lead: &Lead, first: usize, mut bytes: Bytes) -> Result<Vec<Bytes>, Damage> {
    let mut pieces = Vec::with_capacity(bytes.len().div_ceil(PIECE_BYTES));
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        let number = first + pieces.len();
        if lead.crcs.get(number) != Some(&lead.header.crc_of_piece(number, &piece)) {
            return Err(Damage::Damaged);
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// What heads and checksums mostly take.
const LEAD_BYTES: u64 = 8 << 10;
