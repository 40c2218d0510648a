//! The dynamic table of a connection (RFC 7541 sections 2.3.2 and 4).
//!
//! Invariant: what its entries count is never above its size, which is never above what a server may count on.

use std::collections::VecDeque;

use super::super::{frame::COMPRESSION_ERROR, wrong::Wrong};

#[derive(Debug)]
pub(super) struct Table {
    /// The newest in front.
    entries: VecDeque<Entry>,
    size: usize,
    size_max: usize,
}

#[derive(Debug)]
struct Entry {
    /// Name and value, one behind the other.
    text: Box<[u8]>,
    name_length: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, size_max: TABLE_BYTES }
    }
}

impl Table {
    /// Name and value at a place, counted from 0.
    pub(super) fn get(&self, place: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(place)?;
        Some(entry.text.split_at(entry.name_length as usize))
    }

    /// Puts an entry in front; what does not fit any more is gone, the new one included.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let text = [name, value].concat().into_boxed_slice();
        let entry = Entry { text, name_length: name.len() as u32 };
        let size = entry.size();
        self.shrink(self.size_max.saturating_sub(size));
        if size <= self.size_max {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// The server changes the size.
    pub(super) fn resize(&mut self, size_max: u64) -> Result<(), Wrong> {
        let size_max = match usize::try_from(size_max) {
            Ok(size_max) if size_max <= TABLE_BYTES => size_max,
            _ => return Err(Wrong::new(COMPRESSION_ERROR, "a table over the limit")),
        };
        self.size_max = size_max;
        self.shrink(size_max);
        Ok(())
    }

    fn shrink(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + LINE_BYTES
    }
}

/// SETTINGS_HEADER_TABLE_SIZE where nothing else is said, and we say nothing else.
const TABLE_BYTES: usize = 4096;
/// What a line counts beside its name and value.
pub(super) const LINE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_what_is_too_large_empties_the_table() {
        let mut table = Table::default();
        for name in [&b"a"[..], b"b", b"c"] {
            table.insert(name, &[b'x'; 2000]);
        }
        assert_eq!(table.get(0), Some((&b"c"[..], &[b'x'; 2000][..])));
        assert_eq!(table.get(1).map(|(name, _)| name), Some(&b"b"[..]));
        assert_eq!(table.get(2), None);
        table.insert(b"d", &[b'x'; 4096]);
        assert_eq!(table.get(0), None);
        table.insert(b"e", b"f");
        assert!(table.resize(4097).is_err());
        table.resize(0).unwrap();
        assert_eq!(table.get(0), None);
        table.insert(b"e", b"f");
        assert_eq!(table.get(0), None);
    }
}
