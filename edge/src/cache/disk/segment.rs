//! One file of the disk tier: records one after the other, and behind the last a table of them.
//!
//! A file is written from its beginning to its end once, then closed by its table, and only ever deleted as a whole.
//! A file without a table was open when the process ended: its records are found by their headers. Invariant: a file
//! that another node, another life of this tier or another version wrote is not read.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    device::Device,
    record::{HEADER_BYTES, Header, Kind, UNIT_BYTES, u32_at, u64_at},
};
use crate::cache::{key::Key, private_folder};

/// Where the first record stands.
pub(super) const FIRST_AT: u64 = 32;

/// A file, open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u32,
    pub(super) file: Device,
    path: PathBuf,
    bytes: AtomicU64,
    /// Records that count: those that the index points to, and those that say that something is gone.
    live: AtomicU64,
}

/// A record of a file, as its table lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) fill: u64,
    /// Where the record begins, in units.
    pub(super) at: u32,
    /// Its length in units.
    pub(super) units: u32,
}

impl Segment {
    /// Makes a file and writes its header.
    pub(super) fn create(folder: &Path, id: u32, identity: u64) -> io::Result<Self> {
        let path = path_of(folder, id);
        let file = private_folder::create(&path)?;
        file.write_all_at(&file_header(id, identity), 0)?;
        Ok(Self::of(id, file, path, FIRST_AT))
    }

    /// Opens a file and reads what it has; `None` when it is not one of this tier's. A file that was not closed is
    /// closed now.
    pub(super) fn open(
        folder: &Path,
        id: u32,
        identity: u64,
    ) -> io::Result<Option<(Self, Vec<Entry>)>> {
        let path = path_of(folder, id);
        let file = File::options().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let mut header = [0; FIRST_AT as usize];
        if length < FIRST_AT {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0)?;
        if header != file_header(id, identity) {
            return Ok(None);
        }
        let (entries, end) = match read_table(&file, length)? {
            Some(entries) => (entries, length),
            None => {
                let (entries, end) = scan(&file, length)?;
                file.set_len(end)?;
                (entries.clone(), close(&file, end, &entries)?)
            }
        };
        Ok(Some((Self::of(id, file, path, end), entries)))
    }

    /// Its records by its table; `None` when it has none.
    pub(super) fn entries(&self) -> io::Result<Option<Vec<Entry>>> {
        read_table(self.file.file(), self.file.file().metadata()?.len())
    }

    /// Writes the table and forces everything to disk. `end` is where the last record ends.
    pub(super) fn close(&self, end: u64, entries: &[Entry]) -> io::Result<()> {
        let end = close(self.file.file(), end, entries)?;
        self.set_bytes(end);
        self.file.file().sync_data()
    }

    pub(super) fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn add_live(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drop_live(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    fn of(id: u32, file: File, path: PathBuf, bytes: u64) -> Self {
        let file = Device::new(file, &path);
        Self { id, file, path, bytes: AtomicU64::new(bytes), live: AtomicU64::new(0) }
    }
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.key.0);
        bytes[16..24].copy_from_slice(&self.fill.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.at.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.units.to_le_bytes());
        bytes[32] = self.kind.byte();
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[..16]);
        Some(Self {
            kind: Kind::from_byte(bytes[32])?,
            key: Key(key),
            fill: u64_at(bytes, 16),
            at: u32_at(bytes, 24),
            units: u32_at(bytes, 28),
        })
    }
}

/// The ids of the files in a folder, oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        let id = id.filter(|id| id.len() == 8).and_then(|id| u32::from_str_radix(id, 16).ok());
        ids.extend(id);
    }
    ids.sort_unstable();
    Ok(ids)
}

pub(super) fn path_of(folder: &Path, id: u32) -> PathBuf {
    folder.join(format!("{id:08x}.seg"))
}

fn file_header(id: u32, identity: u64) -> [u8; FIRST_AT as usize] {
    let mut bytes = [0; FIRST_AT as usize];
    bytes[..6].copy_from_slice(b"TGSEG\x1a");
    bytes[6] = VERSION;
    bytes[8..16].copy_from_slice(&identity.to_le_bytes());
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Writes the table; gives back the length of the file.
fn close(file: &File, end: u64, entries: &[Entry]) -> io::Result<u64> {
    let mut table = Vec::with_capacity(entries.len() * ENTRY_BYTES + TRAILER_BYTES);
    for entry in entries {
        table.extend_from_slice(&entry.encode());
    }
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..6].copy_from_slice(b"TGTAB\x1a");
    trailer[6] = VERSION;
    trailer[8..16].copy_from_slice(&end.to_le_bytes());
    trailer[16..20].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    trailer[20..24].copy_from_slice(&crc32fast::hash(&table).to_le_bytes());
    let crc = crc32fast::hash(&trailer[..28]);
    trailer[28..].copy_from_slice(&crc.to_le_bytes());
    table.extend_from_slice(&trailer);
    file.write_all_at(&table, end)?;
    Ok(end + table.len() as u64)
}

/// The table at the end of a file, if there is a whole one.
fn read_table(file: &File, length: u64) -> io::Result<Option<Vec<Entry>>> {
    if length < FIRST_AT + TRAILER_BYTES as u64 {
        return Ok(None);
    }
    let mut trailer = [0; TRAILER_BYTES];
    let trailer_at = length - TRAILER_BYTES as u64;
    file.read_exact_at(&mut trailer, trailer_at)?;
    let is_trailer = trailer[..6] == *b"TGTAB\x1a"
        && trailer[6] == VERSION
        && crc32fast::hash(&trailer[..28]) == u32_at(&trailer, 28);
    let (at, count) = (u64_at(&trailer, 8), u32_at(&trailer, 16) as usize);
    let is_complete = at.checked_add((count * ENTRY_BYTES) as u64) == Some(trailer_at);
    if !is_trailer || !is_complete {
        return Ok(None);
    }
    let mut table = vec![0; count * ENTRY_BYTES];
    file.read_exact_at(&mut table, at)?;
    if crc32fast::hash(&table) != u32_at(&trailer, 20) {
        return Ok(None);
    }
    Ok(table.chunks_exact(ENTRY_BYTES).map(Entry::parse).collect())
}

/// The records of a file by their headers, and where the last whole one ends.
fn scan(file: &File, length: u64) -> io::Result<(Vec<Entry>, u64)> {
    let mut input = BufReader::with_capacity(SCAN_BYTES, file);
    input.seek(SeekFrom::Start(FIRST_AT))?;
    let (mut entries, mut at) = (Vec::new(), FIRST_AT);
    let mut bytes = [0; HEADER_BYTES];
    while at + HEADER_BYTES as u64 <= length {
        input.read_exact(&mut bytes)?;
        let Some(header) = Header::parse(&bytes) else { break };
        let total = header.total_bytes();
        let Some(next) = at.checked_add(total).filter(|next| *next <= length) else { break };
        let (Ok(at_units), Ok(units)) =
            (u32::try_from(at / UNIT_BYTES), u32::try_from(total / UNIT_BYTES))
        else {
            break;
        };
        let Header { kind, key, fill, .. } = header;
        entries.push(Entry { kind, key, fill, at: at_units, units });
        input.seek_relative((total - HEADER_BYTES as u64).cast_signed())?;
        at = next;
    }
    Ok((entries, at))
}

const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 40;
const TRAILER_BYTES: usize = 32;
/// Read at once while records are looked for.
const SCAN_BYTES: usize = 256 * 1024;
