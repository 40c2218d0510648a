//! The segment index of an on-demand file (`sidx`, ISO/IEC 14496-12 section 8.16.3): where in the file each segment is.

use super::{
    super::{error::Fault, limit},
    timeline::Span,
};

/// What an index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Ticks a second.
    pub timescale: u64,
    /// Of the first segment, in ticks.
    pub start: u64,
    /// From the first byte behind the index.
    pub first_offset: u64,
    /// Bytes from the beginning of what was read to the first behind the index.
    pub end: u64,
    /// Bytes and ticks of each.
    pub segments: Vec<(u32, u32)>,
}

impl Index {
    /// Its segments, equal ones together.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (first, (_, ticks)) in (0..).zip(&self.segments) {
            let duration = u64::from(*ticks);
            match spans.last_mut() {
                Some(last) if last.duration == duration => last.count += 1,
                last => {
                    let start = last.map_or(self.start, |last| last.end());
                    spans.push(Span { first, start, duration, count: 1 });
                }
            }
        }
        spans
    }

    /// Where in the file each segment begins, and where the last one ends; the index was read from `first` on.
    pub(super) fn ends(&self, first: u64) -> Vec<u64> {
        let mut end = first + self.end + self.first_offset;
        let mut ends = vec![end];
        for (size, _) in &self.segments {
            end += u64::from(*size);
            ends.push(end);
        }
        ends
    }
}

/// Reads the index in these bytes, behind boxes of other kinds.
pub(super) fn read(bytes: &[u8]) -> Result<Index, Fault> {
    if bytes.len() > limit::MAX_INDEX_BYTES {
        return Err(Fault::too_many("bytes of an index", limit::MAX_INDEX_BYTES));
    }
    let mut reader = Reader { bytes, at: 0 };
    loop {
        let begin = reader.at;
        let size = reader.u32()?;
        let kind = reader.take::<4>()?;
        let size = match size {
            1 => usize::try_from(reader.u64()?).map_err(|_| damaged())?,
            size => size as usize,
        };
        let end = begin.checked_add(size).filter(|end| *end > reader.at).ok_or_else(damaged)?;
        if &kind == b"sidx" {
            return sidx(&mut reader, end);
        }
        reader.at = end;
    }
}

fn sidx(reader: &mut Reader<'_>, end: usize) -> Result<Index, Fault> {
    let [version, ..] = reader.take::<4>()?;
    reader.u32()?;
    let timescale = match reader.u32()? {
        0 => return Err(damaged()),
        timescale => u64::from(timescale),
    };
    let (start, first_offset) = match version {
        0 => (u64::from(reader.u32()?), u64::from(reader.u32()?)),
        _ => (reader.u64()?, reader.u64()?),
    };
    reader.take::<2>()?;
    let count = u16::from_be_bytes(reader.take::<2>()?);
    let mut segments = Vec::new();
    for _ in 0..count {
        let (size, ticks) = (reader.u32()?, reader.u32()?);
        reader.u32()?;
        if size & REFERS_TO_INDEX != 0 {
            return Err(Fault::Unsupported("an index of indexes"));
        }
        if size == 0 || ticks == 0 {
            return Err(Fault::invalid("a segment of the index", "empty"));
        }
        segments.push((size, ticks));
    }
    if reader.at > end
        || end > reader.bytes.len()
        || start > limit::MAX_NUMBER
        || first_offset > limit::MAX_NUMBER
    {
        return Err(damaged());
    }
    Ok(Index { timescale, start, first_offset, end: end as u64, segments })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Fault> {
        let end = self.at.checked_add(COUNT).ok_or_else(damaged)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(damaged)?;
        self.at = end;
        taken.try_into().map_err(|_| damaged())
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_be_bytes(self.take()?))
    }
}

fn damaged() -> Fault {
    Fault::Syntax("the segment index (sidx) is cut off or damaged".to_owned())
}

/// The highest bit of a reference's first word.
const REFERS_TO_INDEX: u32 = 1 << 31;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A box of version 0 with these segments.
    pub(in super::super) fn sidx_box(timescale: u32, segments: &[(u32, u32)]) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [0, 1, timescale, 0, 0] {
            body.extend(u32::to_be_bytes(word));
        }
        body.extend([0, 0]);
        body.extend(u16::try_from(segments.len()).expect("few").to_be_bytes());
        for (size, ticks) in segments {
            for word in [*size, *ticks, 0x9000_0000] {
                body.extend(u32::to_be_bytes(word));
            }
        }
        let size = u32::try_from(body.len() + 8).expect("short");
        [&size.to_be_bytes()[..], b"sidx", &body].concat()
    }

    #[test]
    fn an_index_is_read_behind_other_boxes() {
        let table = [(100, 4000), (200, 2000)];
        let plain = sidx_box(1000, &table);
        let end = plain.len() as u64;
        let expected =
            Index { timescale: 1000, start: 0, first_offset: 0, end, segments: table.to_vec() };
        assert_eq!(read(&plain), Ok(expected.clone()));
        let behind = [&[0, 0, 0, 12], &b"styp"[..], b"cmfc", &plain].concat();
        assert_eq!(read(&behind), Ok(Index { end: end + 12, ..expected }));
    }

    #[test]
    fn a_damaged_index_is_refused() {
        let whole = sidx_box(1000, &[(100, 4000)]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        for bad in [
            sidx_box(0, &[(1, 1)]),
            sidx_box(1, &[(0, 1)]),
            sidx_box(1, &[(1, 0)]),
            sidx_box(1, &[(1 << 31 | 5, 1)]),
            b"\0\0\0\0freeeeee".to_vec(),
            vec![0; limit::MAX_INDEX_BYTES + 1],
        ] {
            assert!(read(&bad).is_err(), "{:?}", &bad[..8]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
            if bytes.len() > 8 {
                bytes[..8].copy_from_slice(b"\0\0\0\x50sidx");
                let _ = read(&bytes);
            }
        }
    }
}
