//! The entries of the journal of purges as bytes.
//!
//! Pure. An entry says what a mark or a position is from now on, so that the last one of a name counts, and a log can
//! be shortened by leaving out the others. Invariant: a torn end is what a crash leaves and is cut off; anything
//! wrong before the end means that the log cannot be believed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tidegate_contract::{id::StreamId, surrogate_key::KeyHash};

use super::marks::{Mark, Marks};

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    /// The mark of a name; of everything when there is none.
    Mark { name: Option<KeyHash>, mark: Mark },
    /// Below which numbers objects are suspect.
    Suspect { mutable: u64, missed: u64 },
    /// Up to where a stream is applied.
    Position { stream: &'a StreamId, offset: u64 },
    /// A run of the process began.
    Epoch(u64),
}

/// What all entries together say.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) marks: Marks,
    pub(super) positions: BTreeMap<StreamId, u64>,
    pub(super) epoch: u64,
}

impl Entry<'_> {
    /// Writes it behind others.
    pub(super) fn write_to(&self, identity: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; 2]);
        match self {
            Self::Mark { name, mark } => {
                out.push(if name.is_some() { NAME } else { EVERYTHING });
                out.extend_from_slice(&name.unwrap_or(KeyHash([0; 16])).0);
                let at = mark.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
                words(out, &[mark.hard, mark.soft, at_ms]);
            }
            Self::Suspect { mutable, missed } => {
                out.push(SUSPECT);
                words(out, &[*mutable, *missed]);
            }
            Self::Position { stream, offset } => {
                out.push(POSITION);
                words(out, &[*offset]);
                out.extend_from_slice(stream.as_str().as_bytes());
            }
            Self::Epoch(epoch) => {
                out.push(EPOCH);
                words(out, &[*epoch]);
            }
        }
        let length = u16::try_from(out.len() - begin - 2).unwrap_or(u16::MAX);
        out[begin..begin + 2].copy_from_slice(&length.to_le_bytes());
        let crc = crc_of(identity, &out[begin..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

impl Kept {
    /// Forgets what is older than anything that is served.
    pub(super) fn drop_older(&mut self, now: SystemTime, keep_max: Duration) {
        self.marks.drop_older(now, keep_max);
    }

    fn take(&mut self, kind: u8, payload: &[u8]) -> Option<()> {
        match kind {
            NAME | EVERYTHING => {
                let (name, rest) = payload.split_at_checked(16)?;
                let [hard, soft, at_ms] = words_of(rest)?;
                let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at_ms))?;
                let mark = Mark { hard, soft, at };
                if kind == NAME {
                    self.marks.by_name.insert(KeyHash(name.try_into().ok()?), mark);
                } else {
                    if hard > self.marks.everything.hard {
                        // As when it was applied: names said nothing any more.
                        self.marks.by_name.clear();
                    }
                    self.marks.everything = mark;
                }
            }
            SUSPECT => {
                let [mutable, missed] = words_of(payload)?;
                (self.marks.mutable, self.marks.missed) = (mutable, missed);
            }
            POSITION => {
                let (offset, stream) = payload.split_at_checked(8)?;
                let [offset] = words_of(offset)?;
                let stream = StreamId::parse(std::str::from_utf8(stream).ok()?).ok()?;
                self.positions.insert(stream, offset);
            }
            EPOCH => {
                let [epoch] = words_of(payload)?;
                self.epoch = epoch;
            }
            _ => return None,
        }
        Some(())
    }
}

/// A whole log.
pub(super) fn write(identity: u64, kept: &Kept) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + kept.marks.by_name.len() * 50);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&identity.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    let Marks { by_name, everything, mutable, missed, .. } = &kept.marks;
    Entry::Epoch(kept.epoch).write_to(identity, &mut out);
    Entry::Mark { name: None, mark: *everything }.write_to(identity, &mut out);
    Entry::Suspect { mutable: *mutable, missed: *missed }.write_to(identity, &mut out);
    for (stream, offset) in &kept.positions {
        Entry::Position { stream, offset: *offset }.write_to(identity, &mut out);
    }
    for (name, mark) in by_name {
        Entry::Mark { name: Some(*name), mark: *mark }.write_to(identity, &mut out);
    }
    out
}

/// Reads a log: its identity and what it says. `None` when it cannot be believed.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, Kept)> {
    let (header, mut rest) = bytes.split_at_checked(MAGIC.len() + 12)?;
    let (header, crc) = header.split_at(MAGIC.len() + 8);
    if !header.starts_with(MAGIC) || crc != crc32fast::hash(header).to_le_bytes() {
        return None;
    }
    let identity = u64::from_le_bytes(header[MAGIC.len()..].try_into().ok()?);
    let mut kept = Kept::default();
    while let Some((kind, payload, next)) = first(identity, rest) {
        kept.take(kind, payload)?;
        rest = next;
    }
    // Behind the end of what was forced to disk nothing whole may stand.
    let is_torn_only = (1..rest.len()).all(|at| first(identity, &rest[at..]).is_none());
    (is_torn_only && kept.epoch > 0).then_some((identity, kept))
}

/// The entry at the beginning of these bytes, and what comes behind it.
fn first(identity: u64, bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let length = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
    if length > ENTRY_BYTES_MAX {
        return None;
    }
    let (entry, rest) = bytes.split_at_checked(2 + length)?;
    let (crc, rest) = rest.split_at_checked(4)?;
    let kind = *entry.get(2)?;
    (crc == crc_of(identity, entry).to_le_bytes()).then_some((kind, &entry[3..], rest))
}

fn crc_of(identity: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(identity as u32 ^ (identity >> 32) as u32);
    hasher.update(bytes);
    hasher.finalize()
}

fn words(out: &mut Vec<u8>, words: &[u64]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

fn words_of<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    if bytes.len() != 8 * N {
        return None;
    }
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

const MAGIC: &[u8; 8] = b"TGPURGE\x01";
/// The longest entry: a position of a stream with a long name.
const ENTRY_BYTES_MAX: usize = 128;
const NAME: u8 = 1;
const EVERYTHING: u8 = 2;
const SUSPECT: u8 = 3;
const POSITION: u8 = 4;
const EPOCH: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<u8> {
        let mut kept = Kept { epoch: 3, ..Kept::default() };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        for n in 0..20_u8 {
            let mark = Mark { hard: u64::from(n), soft: 7, at };
            kept.marks.by_name.insert(KeyHash([n; 16]), mark);
        }
        kept.marks.mutable = 4;
        kept.positions.insert(StreamId::parse("main").unwrap(), 9);
        write(77, &kept)
    }

    #[test]
    fn a_log_reads_as_it_was_written() {
        let (identity, kept) = read(&log()).unwrap();
        assert_eq!((identity, kept.epoch, kept.marks.mutable), (77, 3, 4));
        assert_eq!(kept.marks.by_name[&KeyHash([5; 16])].hard, 5);
        assert_eq!(kept.positions[&StreamId::parse("main").unwrap()], 9);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_damage_before_the_end_is_not_believed() {
        let bytes = log();
        for cut in bytes.len() - 40..bytes.len() {
            let (_, kept) = read(&bytes[..cut]).unwrap();
            assert_eq!(kept.marks.by_name.len(), 19, "{cut}");
        }
        for at in 0..bytes.len() - 50 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(read(&damaged).is_none(), "{at}");
        }
        assert!(read(&[]).is_none());
    }

    #[test]
    fn a_later_entry_takes_the_place_of_an_earlier_one() {
        let mut bytes = log();
        let all = Mark { hard: 100, soft: 0, at: SystemTime::UNIX_EPOCH };
        Entry::Mark { name: None, mark: all }.write_to(77, &mut bytes);
        let name = Some(KeyHash([5; 16]));
        Entry::Mark { name, mark: Mark { hard: 101, ..all } }.write_to(77, &mut bytes);
        let (_, kept) = read(&bytes).unwrap();
        assert_eq!(kept.marks.everything.hard, 100);
        assert_eq!(kept.marks.by_name.len(), 1);
    }
}
