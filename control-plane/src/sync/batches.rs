//! Batches of purges that many lanes send: packed once for all of them.
//!
//! While many purges come, all lanes rest until the same moment ([`super::rest`]) and stand at the same place of the log, or
//! at one of a few. Whoever is the first of a moment packs what the log holds by then; those that stand where it stood send
//! the same bytes, and those that stand elsewhere stop where it stopped, so that all stand at one place afterwards.
//! Invariant: a batch holds every purge behind its place up to its last one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message as _;
use tidegate_contract::packed;

use super::purge_cursor;
use crate::{
    store::Entry,
    wire::{PackedBatch, PurgeBatch, PurgeDown, purge_down},
};

/// The newest batches.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<VecDeque<Packed>>);

/// What lanes are sent that stand behind an offset.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    after: u64,
    /// The offset of its last purge.
    pub(super) last: u64,
    /// How many they are.
    pub(super) purges: usize,
    /// The same as it travels.
    pub(super) message: PurgeDown,
}

impl Batches {
    /// The batch for a lane that stands here, if somebody packed it.
    pub(super) fn behind(&self, after: u64) -> Option<Packed> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().find(|packed| packed.after == after).cloned()
    }

    /// Packs purges of the log for a lane that stands here, and whoever comes to stand here. None where they are too few or
    /// too large for that: such are sent as they are. Another lane's batch of the same moment may end earlier.
    pub(super) fn pack(&self, stream: &str, after: u64, entries: &[Arc<Entry>]) -> Option<Packed> {
        let bytes = entries.iter().map(|entry| entry.order_json.len() + ENTRY_BYTES).sum::<usize>();
        let is_plain = entries.iter().all(|entry| entry.replacement.is_none());
        if entries.len() < PURGES_MIN || bytes > BYTES_MAX || !is_plain {
            return None;
        }
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = recent.iter().rev().find(|packed| packed.after == after) {
            return Some(same.clone());
        }
        // Where the newest batch ends within these, this one does.
        let end = recent.back().and_then(|newest| {
            entries.iter().position(|entry| entry.offset == newest.last).map(|at| at + 1)
        });
        let entries = match end.and_then(|end| entries.get(..end)) {
            Some(same_end) if same_end.len() >= PURGES_MIN => same_end,
            _ => entries,
        };
        let last = entries.last()?.offset;
        let lean = entries.iter().map(|entry| purge_cursor::lean(entry));
        let plain = PurgeBatch { purges: lean.collect() }.encode_to_vec();
        let batch = PackedBatch {
            stream: stream.to_owned(),
            last,
            plain_bytes: u32::try_from(plain.len()).ok()?,
            packed: packed::pack(&plain).into(),
        };
        let message = PurgeDown { message: Some(purge_down::Message::Packed(batch)) };
        let packed = Packed { after, last, purges: entries.len(), message };
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(packed.clone());
        Some(packed)
    }
}

/// Fewer fit into one packet as they are.
const PURGES_MIN: usize = 8;
/// What a purge takes beside its order, roughly.
const ENTRY_BYTES: usize = 16;
/// More is sent as it is, to each lane for itself: that is a node that catches up.
const BYTES_MAX: usize = 256 * 1024;
/// The places at which lanes stand at a time, most of them at one.
const RECENT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_contract::id::PurgeId;

    use super::*;

    fn entries(offsets: std::ops::RangeInclusive<u64>) -> Vec<Arc<Entry>> {
        let entry = |offset| {
            Arc::new(Entry {
                offset,
                id: PurgeId::parse(format!("p{offset}")).expect("good"),
                order_json: Bytes::from_static(br#"{"kind":"key","key":"a"}"#),
                accepted_unix_ms: offset,
                replacement_digest: None,
                replacement: None,
            })
        };
        offsets.map(entry).collect()
    }

    fn offsets(packed: &Packed) -> Vec<u64> {
        let Some(purge_down::Message::Packed(batch)) = &packed.message.message else {
            panic!("packed")
        };
        assert_eq!((batch.stream.as_str(), batch.last), ("main", packed.last));
        let plain = packed::unpack(&batch.packed, batch.plain_bytes as usize, 1 << 20);
        let batch = PurgeBatch::decode(&plain.expect("good")[..]).expect("ours");
        assert!(batch.purges.iter().all(|purge| purge.stream.is_empty() && purge.id.is_empty()));
        batch.purges.iter().map(|purge| purge.offset).collect()
    }

    #[test]
    fn who_stands_at_one_place_is_sent_the_same_bytes() {
        let batches = Batches::default();
        assert!(batches.behind(10).is_none());
        let packed = batches.pack("main", 10, &entries(11..=50)).expect("many");
        assert_eq!((packed.last, packed.purges), (50, 40));
        assert_eq!(offsets(&packed), (11..=50).collect::<Vec<_>>());
        let again = batches.behind(10).expect("packed");
        assert_eq!(again.message, packed.message);
        // Who comes a moment later finds more in the log, and sends the same all the same.
        let later = batches.pack("main", 10, &entries(11..=60)).expect("many");
        assert_eq!(later.message, packed.message);
    }

    #[test]
    fn who_stands_elsewhere_stops_where_the_others_did() {
        let batches = Batches::default();
        batches.pack("main", 10, &entries(11..=50)).expect("many");
        let other = batches.pack("main", 12, &entries(13..=60)).expect("many");
        assert_eq!(offsets(&other), (13..=50).collect::<Vec<_>>());
        // But not where hardly anything would be left, and what is behind goes on behind it.
        let near = batches.pack("main", 48, &entries(49..=90)).expect("many");
        assert_eq!(near.last, 90);
        let next = batches.pack("main", 50, &entries(51..=95)).expect("many");
        assert_eq!(offsets(&next), (51..=90).collect::<Vec<_>>());
    }

    #[test]
    fn few_and_large_ones_go_as_they_are_and_old_batches_are_forgotten() {
        let batches = Batches::default();
        assert!(batches.pack("main", 10, &entries(11..=17)).is_none());
        let mut large = entries(11..=30);
        Arc::make_mut(&mut large[3]).order_json = Bytes::from(vec![b' '; BYTES_MAX]);
        assert!(batches.pack("main", 10, &large).is_none());
        for n in 0..=RECENT_MAX as u64 {
            batches.pack("main", 100 * n, &entries(100 * n + 1..=100 * n + 20)).expect("many");
        }
        assert!(batches.behind(0).is_none());
        assert!(batches.behind(100).is_some());
    }
}
