//! The tables, version by version.
//!
//! `user_version` counts the steps that were taken; a database of a newer program is refused, never altered.

use rusqlite::Connection;

use super::error::StoreError;

/// Brings a database to the newest version.
pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let taken = usize::try_from(found).map_err(|_| StoreError::Newer { found, known })?;
    let Some(missing) = STEPS.get(taken..) else {
        return Err(StoreError::Newer { found, known });
    };
    for (step, version) in missing.iter().zip(taken + 1..) {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step} PRAGMA user_version = {version}; COMMIT;"
        ))?;
    }
    Ok(())
}

const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('generation', 0);

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
        PRIMARY KEY (stream, position)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX purge_log_id ON purge_log (id);
    CREATE UNIQUE INDEX purge_log_idempotency_key ON purge_log (stream, idempotency_key)
        WHERE idempotency_key IS NOT NULL;

    CREATE TABLE property (
        id TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE pop (
        id TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        shield_upstream BLOB,
        generation INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE node (
        pop TEXT NOT NULL,
        node TEXT NOT NULL,
        serial BLOB NOT NULL,
        serial_previous BLOB,
        expires_unix_ms INTEGER NOT NULL,
        enrolled_unix_ms INTEGER NOT NULL,
        applied INTEGER,
        seen_unix_ms INTEGER,
        PRIMARY KEY (pop, node)
    ) WITHOUT ROWID;

    CREATE TABLE enrolment_token (
        id TEXT PRIMARY KEY,
        pop TEXT NOT NULL,
        hash BLOB NOT NULL,
        expires_unix_ms INTEGER NOT NULL,
        used_unix_ms INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE api_token (
        id TEXT PRIMARY KEY,
        label TEXT NOT NULL,
        scopes TEXT NOT NULL,
        hash BLOB NOT NULL,
        created_unix_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
",
    "
    ALTER TABLE purge_log ADD COLUMN replacement_digest BLOB;
    CREATE TABLE purge_replacement (
        stream TEXT NOT NULL,
        position INTEGER NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (stream, position)
    );
",
    "
    CREATE TABLE record (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL
    );
    INSERT INTO meta VALUES ('record_revision', 0);
",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_the_first_version_goes_on() {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(STEPS[0]).expect("plain SQL");
        let old = "INSERT INTO purge_log VALUES ('main', 1, 'p', '{}', 7, NULL);
                   PRAGMA user_version = 1;";
        connection.execute_batch(old).expect("plain SQL");
        migrate(&connection).expect("the second step");
        let sql = "SELECT replacement_digest IS NULL FROM purge_log WHERE position = 1";
        let is_plain: bool = connection.query_row(sql, [], |row| row.get(0)).expect("there");
        assert!(is_plain);
    }

    #[test]
    fn a_second_migration_changes_nothing_and_a_newer_database_is_refused() {
        let connection = Connection::open_in_memory().expect("memory");
        migrate(&connection).expect("the first");
        migrate(&connection).expect("the second");
        connection.pragma_update(None, "user_version", 99).expect("plain pragma");
        assert!(matches!(migrate(&connection), Err(StoreError::Newer { found: 99, .. })));
    }
}
