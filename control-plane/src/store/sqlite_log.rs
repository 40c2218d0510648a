//! The purge log in SQLite, with its newest entries in memory.
//!
//! Nodes that keep up read from the tail in memory; those that fell behind read pages from disk. Neither shows an
//! entry before its commit is on disk.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::OptionalExtension;
use tidegate_contract::id::{PurgeId, StreamId};
use tokio::sync::watch;

use super::{
    Store,
    error::StoreError,
    log::{AppendError, Appended, Entry, Log, NewPurge, Page, TrimPolicy},
    sqlite_purges::{COLUMNS, LOG, append, bounds, entry, page, trim},
    tail::Tail,
};

/// One stream of the purge log.
pub struct SqliteLog {
    store: Store,
    stream: StreamId,
    tail: Arc<Tail>,
    replacements_max: u64,
}

impl SqliteLog {
    /// Opens a stream; the newest `tail_entries_max` entries that are appended from now on stay in memory, and the
    /// newest `replacements_max` of what came with purges on disk.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn open(
        store: Store,
        stream: StreamId,
        tail_entries_max: usize,
        replacements_max: u64,
    ) -> Result<Self, StoreError> {
        let name = stream.clone();
        let head = store
            .write(
                move |connection| {
                    connection.execute(
                        "INSERT OR IGNORE INTO purge_stream VALUES (?1, 0, 0)",
                        [name.as_str()],
                    )?;
                    bounds(connection, &name)
                },
                |_| {},
            )
            .await?
            .head;
        let tail = Arc::new(Tail::new(head, tail_entries_max));
        Ok(Self { store, stream, tail, replacements_max })
    }
}

#[async_trait]
impl Log for SqliteLog {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.tail.watch()
    }

    async fn append(&self, purge: NewPurge) -> Result<Appended, AppendError> {
        let stream = self.stream.clone();
        let tail = Arc::clone(&self.tail);
        let replacements_max = self.replacements_max;
        self.store
            .write(
                move |connection| append(connection, &stream, purge, replacements_max),
                move |appended: &Appended| {
                    if appended.is_new {
                        tail.push(Arc::clone(&appended.entry));
                    }
                },
            )
            .await
    }

    async fn read(&self, after: u64, entries_max: usize) -> Result<Page, StoreError> {
        if let Some(page) = self.tail.page(after, entries_max) {
            return Ok(page);
        }
        let stream = self.stream.clone();
        let head = self.tail.head();
        self.store.read(move |connection| page(connection, &stream, after, head, entries_max)).await
    }

    async fn find(&self, id: &PurgeId) -> Result<Option<Arc<Entry>>, StoreError> {
        let id = id.clone();
        self.store
            .read(move |connection| {
                let sql = format!("SELECT {COLUMNS} FROM {LOG} WHERE log.id = ?1");
                let row = connection
                    .prepare_cached(&sql)?
                    .query_row([id.as_str()], |row| Ok(entry(row)))
                    .optional()?;
                row.transpose().map(|entry| entry.map(Arc::new))
            })
            .await
    }

    async fn trim(&self, policy: TrimPolicy, now_unix_ms: u64) -> Result<u64, StoreError> {
        let stream = self.stream.clone();
        self.store.write(move |c| trim(c, &stream, policy, now_unix_ms), |_| {}).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_contract::{
        purge::{PurgeOrder, PurgeTarget},
        replacement,
    };

    use super::*;
    use crate::{
        metrics::Metrics,
        store::{Config, log::PAGE_BYTES_MAX},
    };

    fn purge(n: u64, key: Option<&str>) -> NewPurge {
        let target = PurgeTarget::Url { host: "a.org".into(), path: format!("/{n}") };
        NewPurge {
            id: PurgeId::parse(format!("p{n}")).expect("good"),
            order: PurgeOrder { target, soft: false },
            replacement: None,
            replacement_digest: None,
            accepted_unix_ms: n * 1000,
            idempotency_key: key.map(str::to_owned),
        }
    }

    /// A purge that brings a body of so many bytes.
    fn replacing(n: u64, bytes: usize, key: Option<&str>) -> NewPurge {
        let headers = [("content-type".to_owned(), "text/plain".to_owned())].into();
        let byte = u8::try_from(n).expect("a few");
        let replacement = replacement::Replacement { headers, body: vec![byte; bytes] };
        NewPurge {
            replacement_digest: Some(replacement.digest()),
            replacement: Some(replacement.into()),
            ..purge(n, key)
        }
    }

    async fn bodies(log: &dyn Log, after: u64) -> Vec<Option<usize>> {
        let Page::Entries(entries) = log.read(after, 100).await.expect("readable") else {
            panic!("nothing was trimmed")
        };
        let bytes = |entry: &Arc<Entry>| entry.replacement.as_ref().map(|new| new.body.len());
        entries.iter().map(bytes).collect()
    }

    async fn open(folder: &std::path::Path, tail: usize) -> SqliteLog {
        let opened = Store::open(folder, &Config::default(), Metrics::for_test());
        let (store, _) = opened.expect("a fresh folder");
        let main = StreamId::parse("main").expect("good");
        SqliteLog::open(store, main, tail, REPLACEMENTS_MAX).await.expect("a fresh folder")
    }

    const REPLACEMENTS_MAX: u64 = 3;

    async fn offsets(log: &dyn Log, after: u64, entries_max: usize) -> Vec<u64> {
        match log.read(after, entries_max).await.expect("readable") {
            Page::Entries(entries) => entries.iter().map(|entry| entry.offset).collect(),
            Page::Gone { head } => panic!("gone, head {head}"),
        }
    }

    #[tokio::test]
    async fn offsets_grow_without_holes_from_memory_and_from_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), 3).await;
        for n in 1..=8 {
            assert_eq!(log.append(purge(n, None)).await.expect("room").entry.offset, n);
        }
        assert_eq!(*log.head().borrow(), 8);
        assert_eq!(offsets(&log, 0, 100).await, (1..=8).collect::<Vec<_>>(), "from disk");
        assert_eq!(offsets(&log, 6, 100).await, [7, 8], "from memory");
        assert_eq!(offsets(&log, 3, 2).await, [4, 5]);
        assert!(offsets(&log, 8, 100).await.is_empty());
        assert_eq!(log.read(9, 1).await.expect("readable"), Page::Gone { head: 8 });
    }

    #[tokio::test]
    async fn what_came_with_a_purge_is_there_after_a_restart_and_goes_before_the_purge_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), 100).await;
        log.append(purge(1, None)).await.expect("room");
        for n in 2..=5 {
            log.append(replacing(n, n as usize, None)).await.expect("room");
        }
        let all = [None, Some(2), Some(3), Some(4), Some(5)];
        assert_eq!(bodies(&log, 0).await, all, "in memory they are still there");
        drop(log);
        let log = open(folder.path(), 100).await;
        assert_eq!(bodies(&log, 0).await, [None, None, Some(3), Some(4), Some(5)]);
        let Page::Entries(entries) = log.read(4, 1).await.expect("readable") else { panic!() };
        let new = entries[0].replacement.as_ref().expect("kept");
        assert_eq!(
            (&new.headers["content-type"], &new.body[..]),
            (&"text/plain".into(), &[5; 5][..])
        );

        let most = TrimPolicy { keep: Duration::from_secs(1000), entries_max: 1 };
        while log.trim(most, 0).await.expect("writable") > 0 {}
        assert_eq!(bodies(&log, 4).await, [Some(5)]);
    }

    #[tokio::test]
    async fn an_idempotency_key_names_one_body_too_even_when_it_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), 3).await;
        let first = log.append(replacing(1, 10, Some("k"))).await.expect("room");
        for n in 2..=9 {
            log.append(replacing(n, 10, None)).await.expect("room");
        }
        let again = log.append(replacing(1, 10, Some("k"))).await.expect("the same purge");
        assert_eq!((again.is_new, &again.entry.id), (false, &first.entry.id));
        for other in [replacing(1, 11, Some("k")), purge(1, Some("k"))] {
            assert!(matches!(log.append(other).await, Err(AppendError::KeyReused(_))));
        }
    }

    #[tokio::test]
    async fn large_bodies_make_pages_short_from_memory_and_from_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let half = PAGE_BYTES_MAX / 2;
        let log = open(folder.path(), 100).await;
        for n in 1..=3 {
            log.append(replacing(n, half, None)).await.expect("room");
        }
        assert_eq!(offsets(&log, 0, 100).await, [1, 2], "from memory");
        assert_eq!(offsets(&log, 2, 100).await, [3]);
        drop(log);
        let log = open(folder.path(), 100).await;
        assert_eq!(offsets(&log, 0, 100).await, [1, 2], "from disk");
        assert_eq!(offsets(&log, 2, 100).await, [3]);
    }
}
