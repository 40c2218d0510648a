//! Queries of uploads. Every change names the state and the offset that it was decided on.

use sqlx::{Executor, Row};
use tidegate_contract::id::{IdError, UploadId, VideoId};

use crate::{
    database::{Database, Engine, EngineRow, Write},
    upload::model::{Upload, UploadState},
};

/// Why an upload may not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddError {
    /// The client has its share.
    #[error("{0} uploads of this token are unfinished already")]
    ClientFull(u32),
    /// All clients together have theirs.
    #[error("{0} uploads are unfinished already")]
    Full(u32),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Adds an upload unless a limit is reached.
pub(super) async fn add(
    database: &Database,
    upload: &Upload,
    created_ms: i64,
    per_client_max: u32,
    all_max: u32,
) -> Result<(), AddError> {
    let open = UploadState::Open.as_str();
    let mut tx = database.begin().await?;
    let own: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM upload WHERE client = ? AND state = ?")
        .bind(&upload.client)
        .bind(open)
        .fetch_one(&mut *tx)
        .await?;
    if own >= i64::from(per_client_max) {
        return Err(AddError::ClientFull(per_client_max));
    }
    let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM upload WHERE state = ?")
        .bind(open)
        .fetch_one(&mut *tx)
        .await?;
    if all >= i64::from(all_max) {
        return Err(AddError::Full(all_max));
    }
    sqlx::query(
        "INSERT INTO upload (id, client, state, length_bytes, offset_bytes, metadata, filename, title, \
         created_ms, expires_ms) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
    )
    .bind(upload.id.as_str())
    .bind(&upload.client)
    .bind(upload.state.as_str())
    .bind(value(upload.length))
    .bind(&upload.metadata)
    .bind(&upload.filename)
    .bind(&upload.title)
    .bind(created_ms)
    .bind(upload.expires_ms)
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

pub(super) async fn find<'e>(
    executor: impl Executor<'e, Database = Engine>,
    id: &UploadId,
) -> sqlx::Result<Option<Upload>> {
    let row = sqlx::query("SELECT * FROM upload WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(upload_of_row).transpose()
}

/// Bytes up to an offset are on disk; says whether the upload stood where it was thought to.
pub(super) async fn advance(
    database: &Database,
    upload: &Upload,
    offset: u64,
    expires_ms: i64,
) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "UPDATE upload SET offset_bytes = ?, expires_ms = ? \
         WHERE id = ? AND state = ? AND offset_bytes = ?",
    )
    .bind(value(offset))
    .bind(expires_ms)
    .bind(upload.id.as_str())
    .bind(UploadState::Open.as_str())
    .bind(value(upload.offset))
    .execute(database.write())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Ends an open upload; says whether it was open.
pub(super) async fn end<'e>(
    executor: impl Executor<'e, Database = Engine>,
    id: &UploadId,
    state: UploadState,
    video: Option<&VideoId>,
    forget_ms: i64,
) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "UPDATE upload SET state = ?, video_id = ?, expires_ms = ? WHERE id = ? AND state = ?",
    )
    .bind(state.as_str())
    .bind(video.map(VideoId::as_str))
    .bind(forget_ms)
    .bind(id.as_str())
    .bind(UploadState::Open.as_str())
    .execute(executor)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Uploads in a state whose time is over.
pub(super) async fn overdue(
    database: &Database,
    state: UploadState,
    now_ms: i64,
    limit: u32,
) -> sqlx::Result<Vec<Upload>> {
    let rows = sqlx::query(
        "SELECT * FROM upload WHERE state = ? AND expires_ms <= ? ORDER BY expires_ms LIMIT ?",
    )
    .bind(state.as_str())
    .bind(now_ms)
    .bind(limit)
    .fetch_all(database.read())
    .await?;
    rows.iter().map(upload_of_row).collect()
}

/// Open uploads that have all their bytes: the process died before they became videos.
pub(super) async fn unfinished(database: &Database, limit: u32) -> sqlx::Result<Vec<Upload>> {
    let rows = sqlx::query(
        "SELECT * FROM upload WHERE state = ? AND offset_bytes = length_bytes ORDER BY id LIMIT ?",
    )
    .bind(UploadState::Open.as_str())
    .bind(limit)
    .fetch_all(database.read())
    .await?;
    rows.iter().map(upload_of_row).collect()
}

/// Forgets ended uploads.
pub(super) async fn forget(tx: &mut Write, ids: &[UploadId]) -> sqlx::Result<()> {
    for id in ids {
        sqlx::query("DELETE FROM upload WHERE id = ?").bind(id.as_str()).execute(&mut **tx).await?;
    }
    Ok(())
}

fn upload_of_row(row: &EngineRow) -> sqlx::Result<Upload> {
    let bad_id = |error: IdError| sqlx::Error::Decode(Box::new(error));
    let state: String = row.try_get("state")?;
    let video: Option<String> = row.try_get("video_id")?;
    Ok(Upload {
        id: UploadId::parse(row.try_get::<String, _>("id")?).map_err(bad_id)?,
        client: row.try_get("client")?,
        state: UploadState::parse(&state)
            .ok_or_else(|| sqlx::Error::Decode(format!("upload state {state:?}").into()))?,
        length: row.try_get::<i64, _>("length_bytes")?.unsigned_abs(),
        offset: row.try_get::<i64, _>("offset_bytes")?.unsigned_abs(),
        metadata: row.try_get("metadata")?,
        filename: row.try_get("filename")?,
        title: row.try_get("title")?,
        video: video.map(VideoId::parse).transpose().map_err(bad_id)?,
        expires_ms: row.try_get("expires_ms")?,
    })
}

/// Lengths are below the limit of the config, which is far below this.
fn value(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
