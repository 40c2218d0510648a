//! The way to the one sample entry in an init segment that a worker minted.
//!
//! Boxes are walked by their headers alone, and of the entry only the boxes that we write again are parsed. A parser of
//! all of ISO BMFF never sees the others: a table of 200 bytes may claim four thousand million empty rows, and the
//! parser takes the memory for them.

use mp4_atom::{Atom, Avc1, Codec, Error as AtomError, FourCC, Header, Hvc1, Mp4a};

/// What an init segment holds.
#[derive(Debug, Default)]
pub(super) struct Minted<'a> {
    /// Tracks in the first `moov`.
    pub(super) tracks: usize,
    /// Sample entries of the first track.
    pub(super) entries: Vec<Part<'a>>,
}

/// One box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    kind: FourCC,
    whole: &'a [u8],
    body: &'a [u8],
}

/// The boxes that fill some bytes; fewer than a header's are padding.
#[derive(Debug)]
struct Parts<'a>(&'a [u8]);

impl<'a> Minted<'a> {
    /// Looks for tracks and entries.
    pub(super) fn read(init: &'a [u8]) -> Result<Self, AtomError> {
        let Some(moov) = first(init, b"moov")? else { return Ok(Self::default()) };
        let tracks = all(moov, b"trak")?;
        let mut inside = tracks.first().copied().unwrap_or_default();
        for name in [b"mdia", b"minf", b"stbl", b"stsd"] {
            inside = first(inside, name)?.unwrap_or_default();
        }
        let entries = inside.get(STSD_HEAD_BYTES..).unwrap_or_default();
        Ok(Self { tracks: tracks.len(), entries: Parts(entries).collect::<Result<_, _>>()? })
    }
}

impl Part<'_> {
    /// Parses a sample entry; `None` when it is of no codec that we make.
    pub(super) fn codec(&self) -> Result<Option<Codec>, AtomError> {
        Ok(Some(match self.kind {
            Avc1::KIND => self.entry::<Avc1>(VISUAL_BYTES, b"avcC")?.into(),
            Hvc1::KIND => self.entry::<Hvc1>(VISUAL_BYTES, b"hvcC")?.into(),
            // Other versions have fields where the boxes begin in this one.
            Mp4a::KIND if self.body.get(AUDIO_VERSION) == Some(&[0, 0]) => {
                self.entry::<Mp4a>(AUDIO_BYTES, b"esds")?.into()
            }
            _ => return Ok(None),
        }))
    }

    /// An entry whose boxes begin after `fixed` bytes; only its configuration and the boxes of every entry are seen.
    fn entry<T: Atom>(&self, fixed: usize, configuration: &[u8; 4]) -> Result<T, AtomError> {
        let (fixed, parts) = self.body.split_at_checked(fixed).ok_or(AtomError::OutOfBounds)?;
        let mut known = fixed.to_vec();
        for part in Parts(parts) {
            let part = part?;
            if part.kind == FourCC::new(configuration) || OF_EVERY_ENTRY.contains(&part.kind) {
                known.extend(part.whole);
            }
        }
        T::decode_body(&mut known.as_slice())
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, AtomError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let mut inside = bytes;
        let header = match mp4_atom::Decode::decode(&mut inside) {
            Ok(Header { kind, size }) => (kind, size.unwrap_or(inside.len())),
            Err(error) => return Some(Err(error)),
        };
        let (kind, size) = header;
        let Some((body, rest)) = inside.split_at_checked(size) else {
            return Some(Err(AtomError::OutOfBounds));
        };
        self.0 = rest;
        Some(Ok(Part { kind, whole: &bytes[..bytes.len() - rest.len()], body }))
    }
}

/// The body of the first box of a kind.
fn first<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Result<Option<&'a [u8]>, AtomError> {
    Ok(all(bytes, name)?.first().copied())
}

/// The bodies of all boxes of a kind.
fn all<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Result<Vec<&'a [u8]>, AtomError> {
    let named = |part: &Result<Part<'_>, _>| {
        part.as_ref().map_or(true, |part| part.kind == FourCC::new(name))
    };
    Parts(bytes).filter(named).map(|part| part.map(|part| part.body)).collect()
}

/// Colour, shape of a sample and bit rate.
const OF_EVERY_ENTRY: [FourCC; 3] =
    [FourCC::new(b"colr"), FourCC::new(b"pasp"), FourCC::new(b"btrt")];
/// Size and kind.
const HEADER_BYTES: usize = 8;
/// Version, flags and a count.
const STSD_HEAD_BYTES: usize = 8;
/// ISO/IEC 14496-12: `SampleEntry` and `VisualSampleEntry`.
const VISUAL_BYTES: usize = 78;
/// ISO/IEC 14496-12: `SampleEntry` and `AudioSampleEntry`.
const AUDIO_BYTES: usize = 28;
/// QuickTime's version of the entry; zero in ISO BMFF.
const AUDIO_VERSION: std::ops::Range<usize> = 8..10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmaf::{init_segment, sample_entry::tests::avc1};

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER_BYTES + body.len()).expect("small");
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    /// A table of groups that claims the most rows there can be, each of no bytes.
    fn endless_table() -> Vec<u8> {
        let head = [[0; 4], *b"none", [0xff; 4]];
        boxed(b"sgpd", &[&head.concat()[..], &[0; 64]].concat())
    }

    /// Puts `extra` at the end of every box on the way to `name`.
    fn with_extra(bytes: &[u8], way: &[&[u8; 4]], extra: &[u8]) -> Vec<u8> {
        let Some((name, deeper)) = way.split_first() else { return [bytes, extra].concat() };
        let mut out = Vec::new();
        for part in Parts(bytes) {
            let part = part.expect("a box");
            if part.kind != FourCC::new(name) {
                out.extend(part.whole);
                continue;
            }
            let fixed = match *name {
                b"stsd" => STSD_HEAD_BYTES,
                b"avc1" => VISUAL_BYTES,
                _ => 0,
            };
            let (head, inside) = part.body.split_at(fixed);
            out.extend(boxed(name, &[head, &with_extra(inside, deeper, extra)].concat()));
        }
        out
    }

    #[test]
    fn boxes_that_nobody_needs_are_not_parsed_wherever_they_stand() {
        let entry = avc1(640, 360);
        let init = init_segment(&entry, 48_000, 0).expect("an init segment");
        let way = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"];
        for depth in [0, 1, 2, 3, 4, 5, 7] {
            let init = with_extra(&init, &way[..depth], &endless_table());
            let minted = Minted::read(&init).expect("boxes");
            assert_eq!((minted.tracks, minted.entries.len()), (1, 1), "{depth}");
            let codec = minted.entries[0].codec().expect("an entry");
            assert_eq!(codec.as_ref(), Some(entry.codec()), "{depth}");
        }
    }

    #[test]
    fn an_entry_that_is_an_endless_table_is_no_codec() {
        let init = init_segment(&avc1(640, 360), 48_000, 0).expect("an init segment");
        let way = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"];
        let init = with_extra(&init, &way, &endless_table());
        let minted = Minted::read(&init).expect("boxes");
        assert_eq!(minted.entries.len(), 2);
        assert!(matches!(minted.entries[1].codec(), Ok(None)));
    }
}
