//! The purge log's statements: each works on one connection, within a transaction of its caller.
//!
//! An offset is the one behind the head that the same transaction reads; so none is given twice.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_contract::id::{PurgeId, StreamId};

use super::{
    error::StoreError,
    log::{AppendError, Appended, Entry, NewPurge, PAGE_BYTES_MAX, Page, Replacement, TrimPolicy},
};
use crate::unix_time::millis;

pub(super) struct Bounds {
    pub(super) head: u64,
    pub(super) trimmed: u64,
}

pub(super) fn bounds(connection: &Connection, stream: &StreamId) -> Result<Bounds, StoreError> {
    let sql = "SELECT head, trimmed FROM purge_stream WHERE stream = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([stream.as_str()], |row| {
        Ok(Bounds { head: row.get(0)?, trimmed: row.get(1)? })
    })?)
}

pub(super) fn append(
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
pub(super) fn page(
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

pub(super) fn trim(
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

pub(super) fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
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
pub(super) const COLUMNS: &str = "log.position, log.id, log.purge_order, log.accepted_unix_ms, \
                       log.replacement_digest, new.headers, new.body";
pub(super) const LOG: &str = "purge_log AS log LEFT JOIN purge_replacement AS new \
                   ON new.stream = log.stream AND new.position = log.position";
