//! Records in one table of the database.
//!
//! The revision is a row of its own and rises with every commit that writes, so that a record's revision names the
//! commit that wrote it and never comes again, not even after the record is gone.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::watch;

use super::{
    Store,
    error::StoreError,
    records::{Commit, CommitError, Expect, Key, Listing, Record, Records, Revision},
};

/// The records of a SQLite database. Cheap to clone.
#[derive(Clone)]
pub struct SqliteRecords {
    store: Store,
}

impl SqliteRecords {
    /// The records of an open database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The same, for whoever awaits it.
    ///
    /// # Errors
    /// None any more.
    pub async fn open(store: Store) -> Result<Self, StoreError> {
        Ok(Self::new(store))
    }
}

#[async_trait]
impl Records for SqliteRecords {
    fn head(&self) -> watch::Receiver<Revision> {
        self.store.head.subscribe()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let key = key.clone();
        let find = move |connection: &Connection| {
            let sql = "SELECT key, value, revision FROM record WHERE key = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let row = statement.query_row([key.as_str()], columns).optional()?;
            row.map(record).transpose()
        };
        self.store.read(find).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let prefix = prefix.to_owned();
        let find = move |connection: &Connection| {
            let sql = "SELECT key, value, revision FROM record
                       WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([&prefix], columns)?;
            let records = rows.map(|row| record(row?)).collect::<Result<_, StoreError>>()?;
            Ok(Listing { records, revision: revision(connection)? })
        };
        self.store.read(find).await
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError> {
        commit.check()?;
        if commit.puts.is_empty() && commit.deletes.is_empty() && commit.expect.is_empty() {
            return Ok(*self.store.head.borrow());
        }
        let (head, is_followed) = (Arc::clone(&self.store.head), commit.is_followed());
        let raise = move |revision: &Revision| {
            head.send_if_modified(|known| {
                let is_newer = is_followed && *revision > *known;
                if is_newer {
                    *known = *revision;
                }
                is_newer
            });
        };
        self.store.write(move |connection| write(connection, &commit), raise).await
    }
}

fn write(connection: &Connection, commit: &Commit) -> Result<Revision, CommitError> {
    for (key, expect) in &commit.expect {
        let found = revision_of(connection, key)?;
        let is_so = match expect {
            Expect::Absent => found.is_none(),
            Expect::At(revision) => found == Some(*revision),
        };
        if !is_so {
            return Err(CommitError::Conflict { key: key.clone(), found });
        }
    }
    let now = revision(connection)?;
    if commit.puts.is_empty() && commit.deletes.is_empty() {
        return Ok(now);
    }
    let next = now + 1;
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<usize, StoreError> {
        Ok(connection.prepare_cached(sql)?.execute(values)?)
    };
    for key in &commit.deletes {
        run("DELETE FROM record WHERE key = ?1", params![key.as_str()])?;
    }
    for (key, value) in &commit.puts {
        let sql = "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3)";
        run(sql, params![key.as_str(), value.as_ref(), next])?;
    }
    run("UPDATE meta SET value = ?1 WHERE name = 'record_revision'", params![next])?;
    Ok(next)
}

pub(super) fn revision(connection: &Connection) -> Result<Revision, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = 'record_revision'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

fn revision_of(connection: &Connection, key: &Key) -> Result<Option<Revision>, StoreError> {
    let sql = "SELECT revision FROM record WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([key.as_str()], |row| row.get(0)).optional()?)
}

type Columns = (String, Vec<u8>, Revision);

fn columns(row: &Row<'_>) -> Result<Columns, rusqlite::Error> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn record((key, value, revision): Columns) -> Result<Record, StoreError> {
    let key = Key::parse(&key).map_err(|error| StoreError::damaged("key", error))?;
    Ok(Record { key, value: Bytes::from(value), revision })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, store::Config};

    async fn open(folder: &std::path::Path) -> SqliteRecords {
        let opened = Store::open(folder, &Config::default(), Metrics::for_test());
        SqliteRecords::open(opened.expect("usable").0).await.expect("readable")
    }

    fn key(text: &str) -> Key {
        Key::parse(text).expect("good")
    }

    fn put(text: &str, value: &'static str, expect: Option<Expect>) -> Commit {
        let expect = expect.map(|expect| (key(text), expect)).into_iter().collect();
        Commit { expect, puts: vec![(key(text), value.into())], deletes: Vec::new() }
    }

    #[tokio::test]
    async fn writes_happen_together_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = open(folder.path()).await;
        let head = records.head();
        let first = records.commit(put("a/1", "one", Some(Expect::Absent))).await.expect("new");
        assert_eq!(*head.borrow(), first);
        let mut both = put("a/2", "two", Some(Expect::Absent));
        both.expect.push((key("a/1"), Expect::At(first + 7)));
        let refused = records.commit(both).await;
        assert!(
            matches!(&refused, Err(CommitError::Conflict { key, found })
                if key.as_str() == "a/1" && *found == Some(first)),
            "{refused:?}"
        );
        assert_eq!(records.get(&key("a/2")).await.expect("readable"), None);
        let second =
            records.commit(put("a/1", "uno", Some(Expect::At(first)))).await.expect("same");
        assert!(second > first);
        let found = records.get(&key("a/1")).await.expect("readable").expect("there");
        assert_eq!((found.value.as_ref(), found.revision), (b"uno".as_slice(), second));
    }

    #[tokio::test]
    async fn a_listing_holds_what_begins_with_the_prefix_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = open(folder.path()).await;
        for text in ["b/1", "a/2", "a/10", "a", "ab/1", "a0"] {
            records.commit(put(text, "x", None)).await.expect("writable");
        }
        let listing = records.list("a/").await.expect("readable");
        let keys: Vec<_> = listing.records.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys, ["a/10", "a/2"]);
        assert_eq!(listing.revision, *records.head().borrow());
        assert_eq!(records.list("").await.expect("readable").records.len(), 6);
    }

    #[tokio::test]
    async fn a_revision_never_comes_again_though_everything_is_gone_and_reopened() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = open(folder.path()).await;
        records.commit(put("a/1", "x", None)).await.expect("writable");
        let gone = Commit { deletes: vec![key("a/1")], ..Commit::default() };
        let last = records.commit(gone).await.expect("writable");
        drop(records);
        let records = open(folder.path()).await;
        assert_eq!(*records.head().borrow(), last);
        let next = records.commit(put("a/1", "y", Some(Expect::Absent))).await.expect("writable");
        assert!(next > last);
    }
}
