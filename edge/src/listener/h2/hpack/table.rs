//! The dynamic table of a decoder (RFC 7541 2.3.2 and 4).
//!
//! Invariant: the entries' sizes add up to `size`, which is never above `size_max`.

use std::collections::VecDeque;

use super::{Name, NotDecodable, Value};

/// Entries that a client has put there, the newest in front.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    /// What the client has set it to.
    size_max: usize,
}

/// A name and a value, checked once for all lines that refer to them.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// Bytes of the name, also of one that is not valid.
    pub(super) name_length: usize,
    pub(super) value: Value,
    pub(super) value_length: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, size_max: TABLE_BYTES }
    }
}

impl Table {
    /// The entry at a place, counted from 0.
    pub(super) fn get(&self, place: usize) -> Option<&Entry> {
        self.entries.get(place)
    }

    /// Puts an entry in front; what does not fit any more is gone, the new one included.
    pub(super) fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.shrink_to(self.size_max.saturating_sub(size));
        if size <= self.size_max {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// The client changes the size.
    ///
    /// # Errors
    /// When it is above what our settings allow.
    pub(super) fn resize(&mut self, size_max: u64) -> Result<(), NotDecodable> {
        match usize::try_from(size_max) {
            Ok(size_max) if size_max <= TABLE_BYTES => self.size_max = size_max,
            _ => return Err(NotDecodable("table size above the setting")),
        }
        self.shrink_to(self.size_max);
        Ok(())
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.size();
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.name_length + self.value_length + ENTRY_OVERHEAD
    }
}

/// The initial value of SETTINGS_HEADER_TABLE_SIZE, which we leave as it is.
const TABLE_BYTES: usize = 4096;
/// What an entry counts beside its name and value (RFC 7541 4.1).
const ENTRY_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(length: usize) -> Entry {
        Entry { name: Name::Invalid, name_length: length, value: Value::Malformed, value_length: 0 }
    }

    #[test]
    fn the_oldest_make_room_and_what_is_too_large_empties_the_table() {
        let mut table = Table::default();
        for length in 0..3 {
            table.insert(entry(1000 + length));
        }
        assert_eq!(table.get(0).unwrap().name_length, 1002);
        assert_eq!(table.get(2).unwrap().name_length, 1000);
        table.insert(entry(1003));
        assert_eq!(table.entries.len(), 3);
        assert_eq!(table.get(2).unwrap().name_length, 1001);
        assert_eq!(table.resize(2200), Ok(()));
        assert_eq!(table.entries.len(), 2);
        table.insert(entry(5000));
        assert!(table.entries.is_empty() && table.size == 0);
        assert!(table.resize(4097).is_err() && table.resize(1 << 40).is_err());
        assert_eq!(table.resize(4096), Ok(()));
    }

    proptest! {
        #[test]
        fn its_size_is_the_sum_of_its_entries(
            steps in prop::collection::vec((any::<bool>(), 0_usize..5000), 1..50),
        ) {
            let mut table = Table::default();
            for (is_insert, number) in steps {
                if is_insert {
                    table.insert(entry(number));
                } else {
                    let _ = table.resize(number as u64);
                }
                prop_assert_eq!(table.size, table.entries.iter().map(Entry::size).sum::<usize>());
                prop_assert!(table.size <= table.size_max && table.size_max <= TABLE_BYTES);
            }
        }
    }
}
