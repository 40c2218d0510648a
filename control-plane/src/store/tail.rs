//! The newest entries of a purge log, in memory.
//!
//! Filled by the writer thread after each commit, in the order of commits, so it holds nothing that is not durable.
//! The head and the entries move together: nobody is handed an entry above the head that is told next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::log::{Entry, Page};

pub(super) struct Tail {
    entries: Mutex<VecDeque<Arc<Entry>>>,
    entries_max: usize,
    head: watch::Sender<u64>,
}

impl Tail {
    /// An empty tail of a log with a head.
    pub(super) fn new(head: u64, entries_max: usize) -> Self {
        Self {
            entries: Mutex::default(),
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
        let mut entries = self.lock();
        if entries.len() == self.entries_max {
            entries.pop_front();
        }
        entries.push_back(entry);
        self.head.send_replace(offset);
    }

    /// The page after an offset, when memory alone can tell it.
    pub(super) fn page(&self, after: u64, entries_max: usize) -> Option<Page> {
        let entries = self.lock();
        let head = *self.head.borrow();
        if after > head {
            return Some(Page::Gone { head });
        }
        if after == head {
            return Some(Page::Entries(Vec::new()));
        }
        let first = entries.front()?.offset;
        let skipped = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        Some(Page::Entries(entries.iter().skip(skipped).take(entries_max).cloned().collect()))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
