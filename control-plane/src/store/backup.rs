//! Backups of the SQLite database: made while it is written to, checked, put back.
//!
//! A backup appears under its name only when it is whole and on disk. What is put back goes on above everything that
//! was ever given out: purges in the next epoch of their offsets, revisions and the epochs of leases behind a jump.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tidegate_contract::purge_offset::head_after_restore;

use super::{DATABASE_FILE, error::StoreError, records::Key, schema};

/// What was found in a database that is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Its records.
    pub records: u64,
    /// Its purges.
    pub purges: u64,
    /// The newest offset over all streams.
    pub purge_head: u64,
}

/// A key file in a backup: its name and content.
pub type KeyFile = (String, Vec<u8>);

/// Copies the database of a data folder, as it is at one moment, with key files beside it. Others may write meanwhile.
///
/// # Errors
/// [`StoreError`]; nothing stands under `to` then that did not before.
pub fn backup(data_dir: &Path, to: &Path, keys: &[KeyFile]) -> Result<Verified, StoreError> {
    let partial = beside(to, "partial");
    create_empty(&partial)?;
    let source = Connection::open_with_flags(data_dir.join(DATABASE_FILE), READ)?;
    source.busy_timeout(BUSY)?;
    let text = partial.to_string_lossy();
    source.execute("VACUUM INTO ?1", [text.as_ref()])?;
    let copy = Connection::open(&partial)?;
    copy.execute_batch("CREATE TABLE key_file (name TEXT PRIMARY KEY, content BLOB NOT NULL)")?;
    for (name, content) in keys {
        copy.execute("INSERT INTO key_file VALUES (?1, ?2)", params![name, content])?;
    }
    close(copy)?;
    let verified = verify(&partial)?;
    rename(&partial, to)?;
    Ok(verified)
}

/// Checks a database file: its pages, its version, the purge log without holes, the records' keys and revisions.
///
/// # Errors
/// [`StoreError::Damaged`] for the first thing that is wrong.
pub fn verify(path: &Path) -> Result<Verified, StoreError> {
    let connection = Connection::open_with_flags(path, READ)?;
    connection.busy_timeout(BUSY)?;
    let connection = connection.unchecked_transaction()?;
    let pages: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if pages != "ok" {
        return Err(StoreError::damaged("database", pages));
    }
    schema::check_current(&connection)?;
    let mut verified = Verified { records: 0, purges: 0, purge_head: 0 };
    let mut streams = connection.prepare("SELECT stream, head, trimmed FROM purge_stream")?;
    let mut rows = streams.query([])?;
    while let Some(row) = rows.next()? {
        let (stream, head, trimmed) = (row.get::<_, String>(0)?, row.get(1)?, row.get(2)?);
        verified.purges += verify_stream(&connection, &stream, head, trimmed)?;
        verified.purge_head = verified.purge_head.max(head);
    }
    verified.records = verify_records(&connection)?;
    Ok(verified)
}

/// The records of a database file whose keys begin with a text, by key.
///
/// # Errors
/// [`StoreError`]
pub fn records_in(path: &Path, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let connection = Connection::open_with_flags(path, READ)?;
    let sql = "SELECT key, value FROM record WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The names of the key files in a backup, in order.
///
/// # Errors
/// [`StoreError`]
pub fn key_names(path: &Path) -> Result<Vec<String>, StoreError> {
    let connection = Connection::open_with_flags(path, READ)?;
    if !has_keys(&connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT name FROM key_file ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Puts a backup into a data folder that no process uses; a database that stands there is kept under another name.
/// Returns the key files that were in the backup.
///
/// # Errors
/// [`StoreError`]; what stood there stays then.
pub fn restore(from: &Path, data_dir: &Path, now_unix_ms: u64) -> Result<Vec<KeyFile>, StoreError> {
    verify(from)?;
    let place = data_dir.join(DATABASE_FILE);
    let known = if place.exists() { known_head(&place) } else { 0 };
    let partial = beside(&place, "partial");
    create_empty(&partial)?;
    fs::copy(from, &partial).map_err(|source| file(&partial, source))?;
    let connection = Connection::open(&partial)?;
    let keys = take_keys(&connection)?;
    schema::migrate(&connection)?;
    raise(&connection, known)?;
    close(connection)?;
    if place.exists() {
        // All of it into the one file, then the file under a second name.
        let old = Connection::open(&place)?;
        old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        close(old)?;
        let before = beside(&place, &format!("before-{now_unix_ms}"));
        fs::hard_link(&place, &before).map_err(|source| file(&before, source))?;
    }
    rename(&partial, &place)?;
    Ok(keys)
}

/// Lifts everything that only grows above what may have been given out since the backup.
fn raise(connection: &Connection, known_head: u64) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let sql = "SELECT stream, head FROM purge_stream";
    let streams: Vec<(String, u64)> = transaction
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (stream, head) in streams {
        let head = head_after_restore(head.max(known_head))
            .ok_or_else(|| StoreError::damaged("purge log", "it was restored too often"))?;
        let sql = "UPDATE purge_stream SET head = ?2, trimmed = ?2 WHERE stream = ?1";
        transaction.execute(sql, params![stream, head])?;
    }
    transaction.execute_batch("DELETE FROM purge_log; DELETE FROM purge_replacement;")?;
    transaction.execute(
        "UPDATE record SET value = CAST(CAST(CAST(value AS TEXT) AS INTEGER) + ?1 AS TEXT)
         WHERE substr(key, 1, 6) = 'epoch/'",
        [JUMP],
    )?;
    transaction.execute(
        "UPDATE record SET value = CAST(value AS BLOB) WHERE substr(key, 1, 6) = 'epoch/'",
        [],
    )?;
    transaction
        .execute("UPDATE meta SET value = value + ?1 WHERE name = 'record_revision'", [JUMP])?;
    Ok(transaction.commit()?)
}

fn verify_stream(
    connection: &Connection,
    stream: &str,
    head: u64,
    trimmed: u64,
) -> Result<u64, StoreError> {
    let sql = "SELECT count(*), min(position), max(position) FROM purge_log WHERE stream = ?1";
    let (count, first, last): (u64, Option<u64>, Option<u64>) =
        connection.query_row(sql, [stream], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let expected = head.checked_sub(trimmed);
    let is_whole =
        expected == Some(count) && (count == 0 || (first, last) == (Some(trimmed + 1), Some(head)));
    if !is_whole {
        let detail = format!(
            "{stream} holds {count} purges from {first:?} to {last:?}, not all behind {trimmed} up \
             to {head}"
        );
        return Err(StoreError::damaged("purge log", detail));
    }
    let sql = "SELECT count(*) FROM purge_replacement AS new WHERE stream = ?1 AND NOT EXISTS (
                   SELECT 1 FROM purge_log AS log
                   WHERE log.stream = new.stream AND log.position = new.position)";
    let lost: u64 = connection.query_row(sql, [stream], |row| row.get(0))?;
    if lost > 0 {
        return Err(StoreError::damaged("purge log", format!("{lost} bodies have no purge")));
    }
    Ok(count)
}

fn verify_records(connection: &Connection) -> Result<u64, StoreError> {
    let newest: u64 = connection.query_row(
        "SELECT value FROM meta WHERE name = 'record_revision'",
        [],
        |row| row.get(0),
    )?;
    let mut statement = connection.prepare("SELECT key, revision FROM record")?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let (key, revision) = (row.get::<_, String>(0)?, row.get::<_, u64>(1)?);
        Key::parse(&key).map_err(|error| StoreError::damaged("record", error))?;
        if revision > newest {
            let detail = format!("{key} is of revision {revision}, the newest is {newest}");
            return Err(StoreError::damaged("record", detail));
        }
        count += 1;
    }
    Ok(count)
}

fn has_keys(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM sqlite_master WHERE name = 'key_file'";
    Ok(connection.query_row(sql, [], |_| Ok(())).optional()?.is_some())
}

fn take_keys(connection: &Connection) -> Result<Vec<KeyFile>, StoreError> {
    if !has_keys(connection)? {
        return Ok(Vec::new());
    }
    let keys = connection
        .prepare("SELECT name, content FROM key_file ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    connection.execute_batch("DROP TABLE key_file; VACUUM;")?;
    Ok(keys)
}

/// The newest offset of a database that is about to be replaced, as far as it can be read.
fn known_head(path: &Path) -> u64 {
    let read = || -> Result<u64, rusqlite::Error> {
        let connection = Connection::open(path)?;
        connection
            .query_row("SELECT coalesce(max(head), 0) FROM purge_stream", [], |row| row.get(0))
    };
    read().unwrap_or(0)
}

fn close(connection: Connection) -> Result<(), StoreError> {
    connection.close().map_err(|(_, error)| error.into())
}

fn create_empty(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(path, error)),
        _ => {}
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map(drop).map_err(|source| file(path, source))
}

/// Gives a file that is whole its name, on disk.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let renamed = || {
        File::open(from)?.sync_all()?;
        fs::rename(from, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    renamed().map_err(|source| file(to, source))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn file(path: &Path, source: io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), source }
}

const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const BUSY: Duration = Duration::from_secs(5);
/// More than any control plane counts between a backup and its loss.
const JUMP: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{PurgeId, StreamId},
        purge::{PurgeOrder, PurgeTarget},
    };

    use super::*;
    use crate::{
        metrics::Metrics,
        store::{Commit, Config, Log, NewPurge, Page, Stores},
    };

    async fn open(folder: &Path) -> Stores {
        let opened = Stores::open(folder, &Config::default(), Metrics::for_test()).await;
        opened.expect("usable").0
    }

    async fn log(stores: &Stores) -> std::sync::Arc<dyn Log> {
        stores.log(StreamId::parse("main").expect("good"), 10, 10).await.expect("usable")
    }

    fn purge(n: u64) -> NewPurge {
        NewPurge {
            id: PurgeId::parse(format!("p{n}")).expect("good"),
            order: PurgeOrder { target: PurgeTarget::All, soft: false },
            replacement: None,
            replacement_digest: None,
            accepted_unix_ms: 1,
            idempotency_key: None,
        }
    }

    fn commit(value: &'static str) -> Commit {
        let key = Key::parse("a/1").expect("good");
        Commit { puts: vec![(key, value.into())], ..Commit::default() }
    }

    #[tokio::test]
    async fn what_is_restored_goes_on_above_everything_that_was_given_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, file) = (folder.path().join("data"), folder.path().join("backup"));
        let stores = open(&data).await;
        let log_before = log(&stores).await;
        for n in 1..=3 {
            log_before.append(purge(n)).await.expect("room");
        }
        stores.records.commit(commit("kept")).await.expect("writable");
        let epoch = {
            let ttl = Duration::from_secs(1);
            let held = stores.lease.acquire("leader", "a", ttl).await.expect("usable");
            held.expect("free").epoch()
        };
        let keys = vec![("ca.key".to_owned(), b"secret".to_vec())];
        let verified = backup(&data, &file, &keys).expect("a backup");
        assert_eq!((verified.purges, verified.purge_head), (3, 3));
        assert_eq!(key_names(&file).expect("readable"), ["ca.key"]);
        // What the backup does not know of.
        let lost = log_before.append(purge(4)).await.expect("room").entry.offset;
        let revision = stores.records.commit(commit("lost")).await.expect("writable");
        drop((stores, log_before));

        assert_eq!(restore(&file, &data, 7).expect("a good backup"), keys);
        assert!(data.join("control.sqlite.before-7").exists());
        let stores = open(&data).await;
        let record = stores.records.get(&Key::parse("a/1").expect("good")).await;
        assert_eq!(record.expect("readable").expect("kept").value, "kept");
        assert!(stores.records.commit(commit("new")).await.expect("writable") > revision);
        let log = log(&stores).await;
        let head = *log.head().borrow();
        assert_eq!(head, 1 << 40);
        assert_eq!(log.read(lost, 10).await.expect("readable"), Page::Gone { head });
        assert_eq!(log.append(purge(5)).await.expect("room").entry.offset, head + 1);
        let ttl = Duration::from_secs(1);
        let held = stores.lease.acquire("leader", "b", ttl).await.expect("usable").expect("free");
        assert!(held.epoch() > epoch + 1_000_000);
        drop((held, stores, log));
        verify(&data.join(DATABASE_FILE)).expect("as it should be");
    }

    #[tokio::test]
    async fn damage_is_found_and_a_damaged_backup_is_not_put_in_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let stores = open(&data).await;
        let log = log(&stores).await;
        for n in 1..=3 {
            log.append(purge(n)).await.expect("room");
        }
        drop((log, stores));
        for (name, damage) in [
            ("hole", "DELETE FROM purge_log WHERE position = 2"),
            ("head", "UPDATE purge_stream SET head = 4"),
            ("body", "INSERT INTO purge_replacement VALUES ('main', 9, '', '')"),
            ("revision", "INSERT INTO record VALUES ('a', '', 99)"),
            ("key", "INSERT INTO record VALUES ('a b', '', 0)"),
            ("version", "PRAGMA user_version = 99"),
        ] {
            let file = folder.path().join(name);
            backup(&data, &file, &[]).expect("a backup");
            Connection::open(&file).expect("usable").execute_batch(damage).expect("plain SQL");
            assert!(verify(&file).is_err(), "{name}");
            assert!(restore(&file, &data, 1).is_err(), "{name}");
        }
        let file = folder.path().join("pages");
        backup(&data, &file, &[]).expect("a backup");
        let mut bytes = fs::read(&file).expect("readable");
        let middle = bytes.len() / 2;
        bytes[4096..middle].fill(0xa5);
        fs::write(&file, bytes).expect("writable");
        assert!(verify(&file).is_err());
        verify(&data.join(DATABASE_FILE)).expect("nothing was put in place");
    }

    #[test]
    fn a_backup_of_nothing_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("backup");
        assert!(backup(&folder.path().join("none"), &file, &[]).is_err());
        assert!(!file.exists());
    }
}
