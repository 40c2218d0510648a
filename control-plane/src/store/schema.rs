//! The tables.
//!
//! `user_version` says which program made them; a database of a newer program is refused, never altered.

use std::cmp::Ordering;

use rusqlite::Connection;

use super::error::StoreError;

/// Makes the tables of a new database; refuses one that has others.
pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found != 0 {
        return check_current(connection);
    }
    Ok(connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
    ))?)
}

/// Checks that a database has the tables that this program knows.
pub(super) fn check_current(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found.cmp(&VERSION) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StoreError::Newer { found, known: VERSION }),
        Ordering::Less => {
            let detail = format!("it has version {found}, which no release of the program had");
            Err(StoreError::damaged("database", detail))
        }
    }
}

/// Those before were never in a release.
const VERSION: i64 = 4;
const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('record_revision', 0);

    CREATE TABLE purge_stream (
        stream TEXT PRIMARY KEY,
        head INTEGER NOT NULL,
        trimmed INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE purge_log (
        stream TEXT NOT NULL,
        position INTEGER NOT NULL,
        id TEXT NOT NULL,
        purge_order BLOB NOT NULL,
        accepted_unix_ms INTEGER NOT NULL,
        idempotency_key TEXT,
        replacement_digest BLOB,
        PRIMARY KEY (stream, position)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX purge_log_id ON purge_log (id);
    CREATE UNIQUE INDEX purge_log_idempotency_key ON purge_log (stream, idempotency_key)
        WHERE idempotency_key IS NOT NULL;
    CREATE TABLE purge_replacement (
        stream TEXT NOT NULL,
        position INTEGER NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (stream, position)
    );

    CREATE TABLE record (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL
    );
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_left_alone_and_what_others_made_is_refused() {
        let connection = Connection::open_in_memory().expect("memory");
        migrate(&connection).expect("a new one");
        migrate(&connection).expect("the same");
        let version = |version: i64| {
            connection.pragma_update(None, "user_version", version).expect("plain pragma");
            migrate(&connection)
        };
        assert!(matches!(version(99), Err(StoreError::Newer { found: 99, .. })));
        assert!(matches!(version(3), Err(StoreError::Damaged { .. })));
        version(VERSION).expect("the same");
    }
}
