//! The purge log in SQLite, with its newest entries in memory.
//!
//! Nodes that keep up read from the tail in memory; those that fell behind read pages from disk. Neither shows an
//! entry before its commit is on disk.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_contract::id::{PurgeId, StreamId};
use tokio::sync::watch;

use super::{
    Store,
    error::StoreError,
    log::{
        AppendError, Appended, Entry, Log, NewPurge, PAGE_BYTES_MAX, Page, Replacement, TrimPolicy,
    },
    tail::Tail,
};
use crate::unix_time::millis;

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

struct Bounds {
    head: u64,
    trimmed: u64,
}

fn bounds(connection: &Connection, stream: &StreamId) -> Result<Bounds, StoreError> {
    let sql = "SELECT head, trimmed FROM purge_stream WHERE stream = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([stream.as_str()], |row| {
        Ok(Bounds { head: row.get(0)?, trimmed: row.get(1)? })
    })?)
}

fn append(
    connection: &Connection,
    stream: &StreamId,
    purge: NewPurge,
    replacements_max: u64,
) -> Result<Appended, AppendError> {
    let order_json = serde_json::to_vec(&purge.order).expect("an order is plain data");
    if let Some(key) = &purge.idempotency_key
        && let Some(first) = find_key(connection, stream, key)?
    {
        let is_same =
            first.order_json == order_json && first.replacement_digest == purge.replacement_digest;
        return if is_same {
            Ok(Appended { entry: Arc::new(first), is_new: false })
        } else {
            Err(AppendError::KeyReused(first.id))
        };
    }
    let entry = Entry {
        offset: bounds(connection, stream)?.head + 1,
        id: purge.id,
        order_json: order_json.into(),
        accepted_unix_ms: purge.accepted_unix_ms,
        replacement_digest: purge.replacement_digest,
        replacement: purge.replacement,
    };
    insert(connection, stream, &entry, purge.idempotency_key.as_deref())?;
    if let Some(replacement) = &entry.replacement {
        insert_replacement(connection, stream, entry.offset, replacement)?;
        forget_replacements(connection, stream, replacements_max)?;
    }
    Ok(Appended { entry: Arc::new(entry), is_new: true })
}

fn insert(
    connection: &Connection,
    stream: &StreamId,
    entry: &Entry,
    idempotency_key: Option<&str>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO purge_log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            stream.as_str(),
            entry.offset,
            entry.id.as_str(),
            entry.order_json.as_ref(),
            entry.accepted_unix_ms,
            idempotency_key,
            entry.replacement_digest,
        ])?;
    connection
        .prepare_cached("UPDATE purge_stream SET head = ?2 WHERE stream = ?1")?
        .execute(params![stream.as_str(), entry.offset])?;
    Ok(())
}

fn insert_replacement(
    connection: &Connection,
    stream: &StreamId,
    offset: u64,
    replacement: &Replacement,
) -> Result<(), StoreError> {
    let headers = serde_json::to_vec(&replacement.headers).expect("texts are plain data");
    connection
        .prepare_cached("INSERT INTO purge_replacement VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![stream.as_str(), offset, headers, replacement.body.as_ref()])?;
    Ok(())
}

/// Keeps the newest so many.
fn forget_replacements(
    connection: &Connection,
    stream: &StreamId,
    replacements_max: u64,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM purge_replacement WHERE stream = ?1 AND position <= (
                   SELECT position FROM purge_replacement WHERE stream = ?1
                   ORDER BY position DESC LIMIT 1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute(params![stream.as_str(), replacements_max])?;
    Ok(())
}

fn find_key(
    connection: &Connection,
    stream: &StreamId,
    key: &str,
) -> Result<Option<Entry>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM {LOG} WHERE log.stream = ?1 AND log.idempotency_key = ?2");
    let row = connection
        .prepare_cached(&sql)?
        .query_row([stream.as_str(), key], |row| Ok(entry(row)))
        .optional()?;
    row.transpose()
}

/// The page after an offset; nothing above `head`, which is what the rest of the program knows of.
fn page(
    connection: &Connection,
    stream: &StreamId,
    after: u64,
    head: u64,
    entries_max: usize,
) -> Result<Page, StoreError> {
    if after < bounds(connection, stream)?.trimmed {
        return Ok(Page::Gone { head });
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM {LOG}
         WHERE log.stream = ?1 AND log.position > ?2 AND log.position <= ?3
         ORDER BY log.position LIMIT ?4"
    );
    let limit = i64::try_from(entries_max).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![stream.as_str(), after, head, limit])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let entry = entry(row)?;
        bytes += entry.bytes();
        entries.push(Arc::new(entry));
    }
    Ok(Page::Entries(entries))
}

fn trim(
    connection: &Connection,
    stream: &StreamId,
    policy: TrimPolicy,
    now_unix_ms: u64,
) -> Result<u64, StoreError> {
    let Bounds { head, trimmed } = bounds(connection, stream)?;
    let oldest_unix_ms = now_unix_ms.saturating_sub(millis(policy.keep));
    // From the oldest on, so that only what goes is looked at.
    let sql = "SELECT position FROM purge_log WHERE stream = ?1 AND accepted_unix_ms >= ?2
               ORDER BY position LIMIT 1";
    let kept: Option<u64> = connection
        .prepare_cached(sql)?
        .query_row(params![stream.as_str(), oldest_unix_ms], |row| row.get(0))
        .optional()?;
    let by_age = kept.map_or(head, |first| first - 1);
    let by_count = head.saturating_sub(policy.entries_max);
    // A step at a time: purges that are being accepted wait behind this one.
    let up_to = by_age.max(by_count).max(trimmed).min(trimmed + TRIM_ENTRIES_MAX);
    let gone = connection
        .prepare_cached("DELETE FROM purge_log WHERE stream = ?1 AND position <= ?2")?
        .execute(params![stream.as_str(), up_to])?;
    connection
        .prepare_cached("DELETE FROM purge_replacement WHERE stream = ?1 AND position <= ?2")?
        .execute(params![stream.as_str(), up_to])?;
    connection
        .prepare_cached("UPDATE purge_stream SET trimmed = ?2 WHERE stream = ?1")?
        .execute(params![stream.as_str(), up_to])?;
    Ok(gone as u64)
}

fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let id: String = row.get(1)?;
    Ok(Entry {
        offset: row.get(0)?,
        id: PurgeId::parse(id).map_err(|error| StoreError::damaged("purge id", error))?,
        order_json: row.get::<_, Vec<u8>>(2)?.into(),
        accepted_unix_ms: row.get(3)?,
        replacement_digest: row.get(4)?,
        replacement: replacement(row)?,
    })
}

fn replacement(row: &Row<'_>) -> Result<Option<Replacement>, StoreError> {
    let Some(body) = row.get::<_, Option<Vec<u8>>>(6)? else { return Ok(None) };
    let headers = serde_json::from_slice(&row.get::<_, Vec<u8>>(5)?)
        .map_err(|error| StoreError::damaged("headers of a replacement", error))?;
    Ok(Some(Replacement { headers, body: body.into() }))
}

const TRIM_ENTRIES_MAX: u64 = 5000;
const COLUMNS: &str = "log.position, log.id, log.purge_order, log.accepted_unix_ms, \
                       log.replacement_digest, new.headers, new.body";
const LOG: &str = "purge_log AS log LEFT JOIN purge_replacement AS new \
                   ON new.stream = log.stream AND new.position = log.position";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_contract::{
        purge::{PurgeOrder, PurgeTarget},
        replacement,
    };

    use super::*;
    use crate::{metrics::Metrics, store::Config};

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
    async fn writers_at_once_share_commits_and_keep_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Arc::new(open(folder.path(), 1000).await);
        let writers: Vec<_> = (1..=200)
            .map(|n| {
                let log = Arc::clone(&log);
                tokio::spawn(
                    async move { log.append(purge(n, None)).await.expect("room").entry.offset },
                )
            })
            .collect();
        let mut given = futures::future::join_all(writers).await;
        given.sort_by_key(|offset| *offset.as_ref().expect("no panic"));
        let given: Vec<u64> = given.into_iter().map(|offset| offset.expect("no panic")).collect();
        assert_eq!(given, (1..=200).collect::<Vec<_>>());
        assert_eq!(offsets(log.as_ref(), 0, 1000).await, given);
    }

    #[tokio::test]
    async fn what_was_appended_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path(), 3).await;
        let entry = first.append(purge(1, None)).await.expect("room").entry;
        drop(first);
        let second = open(folder.path(), 3).await;
        assert_eq!(second.find(&entry.id).await.expect("readable"), Some(entry));
        assert_eq!(second.append(purge(2, None)).await.expect("room").entry.offset, 2);
    }

    #[tokio::test]
    async fn an_idempotency_key_names_one_purge() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), 3).await;
        let first = log.append(purge(1, Some("k"))).await.expect("room");
        let mut again = purge(1, Some("k"));
        again.id = PurgeId::parse("other").expect("good");
        let again = log.append(again).await.expect("the same purge");
        assert!(first.is_new && !again.is_new);
        assert_eq!(again.entry, first.entry);
        let other = log.append(purge(2, Some("k"))).await;
        assert!(matches!(other, Err(AppendError::KeyReused(id)) if id == first.entry.id));
        assert_eq!(log.append(purge(3, None)).await.expect("room").entry.offset, 2);
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

    #[tokio::test]
    async fn a_trimmed_log_says_so_and_never_gives_an_offset_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), 1).await;
        for n in 1..=6 {
            log.append(purge(n, None)).await.expect("room");
        }
        let by_age = TrimPolicy { keep: Duration::from_secs(10), entries_max: 100 };
        assert_eq!(log.trim(by_age, 13_000).await.expect("writable"), 2);
        assert_eq!(log.read(1, 9).await.expect("readable"), Page::Gone { head: 6 });
        assert_eq!(offsets(&log, 2, 9).await, [3, 4, 5, 6]);
        let all = TrimPolicy { keep: Duration::from_secs(10), entries_max: 0 };
        assert_eq!(log.trim(all, 13_000).await.expect("writable"), 4);
        assert!(offsets(&log, 6, 9).await.is_empty());
        drop(log);
        let log = open(folder.path(), 1).await;
        assert_eq!(log.append(purge(7, None)).await.expect("room").entry.offset, 7);
    }
}
