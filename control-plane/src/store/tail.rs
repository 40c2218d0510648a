//! The newest entries of a purge log, in memory.
//!
//! Filled by the writer thread after each commit, in the order of commits, so it holds nothing that is not durable.
//! The head and the entries move together: nobody is handed an entry above the head that is told next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::log::{Entry, PAGE_BYTES_MAX, Page};

pub(super) struct Tail {
    kept: Mutex<Kept>,
    entries_max: usize,
    head: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Tail {
    /// An empty tail of a log with a head.
    pub(super) fn new(head: u64, entries_max: usize) -> Self {
        Self {
            kept: Mutex::default(),
            entries_max: entries_max.max(1),
            head: watch::Sender::new(head),
        }
    }

    /// The newest offset.
    pub(super) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// The newest offset, now and on every change.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Adds an entry that was just committed; called in the order of commits.
    pub(super) fn push(&self, entry: Arc<Entry>) {
        let offset = entry.offset;
        let mut kept = self.lock();
        kept.bytes += entry.bytes();
        kept.entries.push_back(entry);
        // The newest stays in any case.
        while kept.entries.len() > self.entries_max
            || (kept.bytes > TAIL_BYTES_MAX && kept.entries.len() > 1)
        {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.bytes();
        }
        self.head.send_replace(offset);
    }

    /// Forgets all entries and goes on behind an offset.
    pub(super) fn reset(&self, head: u64) {
        let mut kept = self.lock();
        *kept = Kept::default();
        self.head.send_replace(head);
    }

    /// The page after an offset, when memory alone can tell it.
    pub(super) fn page(&self, after: u64, entries_max: usize) -> Option<Page> {
        let kept = self.lock();
        let head = *self.head.borrow();
        if after > head {
            return Some(Page::Gone { head });
        }
        if after == head {
            return Some(Page::Entries(Vec::new()));
        }
        let first = kept.entries.front()?.offset;
        let skipped = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let fits = |entry: &&Arc<Entry>| {
            let is_full = bytes >= PAGE_BYTES_MAX;
            bytes += entry.bytes();
            !is_full
        };
        let entries = kept.entries.iter().skip(skipped).take(entries_max);
        Some(Page::Entries(entries.take_while(fits).cloned().collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tail takes of memory at most; nodes further behind read from disk.
const TAIL_BYTES_MAX: usize = 32 * 1024 * 1024;
