//! The tables, version by version.
//!
//! `user_version` counts the steps that were taken; a database of a newer program is refused, never altered.

use std::cmp::Ordering;

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

/// Checks that a database has a version that this program knows, and all that the newest one has.
pub(super) fn check_current(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StoreError::Newer { found, known }),
        Ordering::Less => {
            let detail =
                format!("it has version {found} of {known}: start it once to carry it over");
            Err(StoreError::damaged("database", detail))
        }
    }
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
    "
    UPDATE meta SET value = value + 1 WHERE name = 'record_revision' AND (
        EXISTS (SELECT 1 FROM meta WHERE name = 'tier_key') OR EXISTS (SELECT 1 FROM api_token)
        OR EXISTS (SELECT 1 FROM property) OR EXISTS (SELECT 1 FROM pop));
    CREATE TEMP VIEW moved AS SELECT value AS at FROM main.meta WHERE name = 'record_revision';
    INSERT INTO record SELECT 'desired/generation', CAST(CAST(value AS TEXT) AS BLOB), at
        FROM meta, moved WHERE name = 'generation' AND value > 0;
    INSERT INTO record SELECT 'desired/tier_key', CAST(value AS BLOB), at
        FROM meta, moved WHERE name = 'tier_key';
    INSERT INTO record SELECT 'desired/property/' || id, CAST(json_object(
        'generation', generation, 'spec', json(CAST(body AS TEXT))) AS BLOB), at
        FROM property, moved;
    INSERT INTO record SELECT 'desired/pop/' || id, CAST(json_object(
        'generation', generation, 'role', role,
        'shield_upstream', json(CAST(shield_upstream AS TEXT))) AS BLOB), at
        FROM pop, moved;
    INSERT INTO record SELECT 'node/' || pop || '/' || node, CAST(json_object(
        'serial', lower(hex(serial)),
        'serial_previous', iif(serial_previous IS NULL, NULL, lower(hex(serial_previous))),
        'expires_unix_ms', expires_unix_ms, 'enrolled_unix_ms', enrolled_unix_ms) AS BLOB), at
        FROM node, moved;
    INSERT INTO record SELECT 'seen/' || pop || '/' || node, CAST(json_object(
        'applied', applied, 'seen_unix_ms', seen_unix_ms) AS BLOB), at
        FROM node, moved WHERE seen_unix_ms IS NOT NULL;
    INSERT INTO record SELECT 'enrolment/' || id, CAST(json_object(
        'pop', pop, 'hash', lower(hex(hash)), 'expires_unix_ms', expires_unix_ms,
        'used_unix_ms', used_unix_ms) AS BLOB), at
        FROM enrolment_token, moved;
    INSERT INTO record SELECT 'token/' || id, CAST(json_object(
        'id', id, 'label', label, 'scopes', json('[\"' || replace(scopes, ' ', '\",\"') || '\"]'),
        'roles', json('[]'), 'hash', lower(hex(hash)),
        'created_unix_ms', created_unix_ms) AS BLOB), at
        FROM api_token, moved;
    DROP VIEW moved;
    DROP TABLE property;
    DROP TABLE pop;
    DROP TABLE node;
    DROP TABLE enrolment_token;
    DROP TABLE api_token;
    DELETE FROM meta WHERE name IN ('generation', 'tier_key');
",
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_contract::tier::TierKey;

    use super::*;
    use crate::{
        metrics::Metrics,
        store::{Config, DATABASE_FILE, Key, Registry, SqliteRecords, Store},
    };

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

    #[tokio::test]
    async fn what_lay_in_tables_of_its_own_is_found_among_the_records() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = Connection::open(folder.path().join(DATABASE_FILE)).expect("writable");
        for step in &STEPS[..3] {
            old.execute_batch(step).expect("plain SQL");
        }
        let tier_key = String::from(TierKey::new([7; 32]));
        old.execute_batch(&OLD_STATE.replace("TIERKEY", &tier_key)).expect("plain SQL");
        drop(old);
        let store = Store::open(folder.path(), &Config::default(), Metrics::for_test());
        let records = SqliteRecords::new(store.expect("a migration").0);
        let registry = Registry::open(Arc::new(records)).await.expect("readable");
        assert_eq!(*registry.generation().borrow(), 41);
        let desired = registry.desired().await.expect("readable");
        assert_eq!((desired.generation.0, desired.tier_key), (41, TierKey::new([7; 32])));
        let (property, generation) = &desired.properties[0];
        assert_eq!((property.id.as_str(), property.hosts[0].as_str()), ("demo", "a.org"));
        assert_eq!(generation.0, 40);
        let [edge, shield] = &desired.pops[..] else { panic!("{:?}", desired.pops) };
        assert_eq!((edge.id.as_str(), edge.shield_upstream.is_none()), ("ams", true));
        assert_eq!(shield.role.as_str(), "shield");
        assert_eq!(shield.shield_upstream.as_ref().expect("kept").authority, "10.0.0.1:443");
        let nodes = registry.nodes().await.expect("readable");
        let [first, second] = &nodes[..] else { panic!("{nodes:?}") };
        assert_eq!((first.name.to_string(), first.expires_unix_ms), ("ams/a".to_owned(), 900));
        assert!(
            first.has_serial(&[0xab, 0xcd]) && first.has_serial(&[1]) && !first.has_serial(&[2])
        );
        assert_eq!((first.applied, first.seen_unix_ms), (Some(17), Some(800)));
        assert_eq!((second.serial_previous.as_ref(), second.seen_unix_ms), (None, None));
        let token = Key::parse("token/t1").expect("good");
        let token = registry.records().get(&token).await.expect("readable").expect("kept");
        let expected = serde_json::json!({
            "id": "t1", "label": "me", "scopes": ["admin", "read"], "roles": [], "hash": "ff00",
            "created_unix_ms": 6
        });
        let token: serde_json::Value = serde_json::from_slice(&token.value).expect("json");
        assert_eq!(token, expected);
        let enrolment = registry.enrolment_token("e1").await.expect("readable").expect("kept");
        assert_eq!((enrolment.pop.as_str(), enrolment.is_used), ("ams", true));
        let unused = registry.enrolment_token("e2").await.expect("readable").expect("kept");
        assert!(!unused.is_used);
    }

    /// What a program of the third version had written.
    const OLD_STATE: &str = r#"
        UPDATE meta SET value = 41 WHERE name = 'generation';
        INSERT INTO meta VALUES ('tier_key', 'TIERKEY');
        INSERT INTO property VALUES ('demo', 40, CAST(
            '{"id":"demo","hosts":["a.org"],"origins":[{"authority":"127.0.0.1:1"}]}' AS BLOB));
        INSERT INTO pop VALUES ('ams', 'edge', NULL, 3),
            ('shield-1', 'shield', CAST('{"authority":"10.0.0.1:443"}' AS BLOB), 4);
        INSERT INTO node VALUES ('ams', 'a', X'ABCD', X'01', 900, 100, 17, 800),
            ('ams', 'b', X'02', NULL, 901, 101, NULL, NULL);
        INSERT INTO enrolment_token VALUES ('e1', 'ams', X'00', 5, 4), ('e2', 'ams', X'00', 5, NULL);
        INSERT INTO api_token VALUES ('t1', 'me', 'admin read', X'FF00', 6);
        PRAGMA user_version = 3;
    "#;

    #[test]
    fn a_second_migration_changes_nothing_and_a_newer_database_is_refused() {
        let connection = Connection::open_in_memory().expect("memory");
        migrate(&connection).expect("the first");
        migrate(&connection).expect("the second");
        connection.pragma_update(None, "user_version", 99).expect("plain pragma");
        assert!(matches!(migrate(&connection), Err(StoreError::Newer { found: 99, .. })));
    }
}
