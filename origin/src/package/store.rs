//! Queries of jobs. Every change names the epoch that it was decided on, so that a decision made on an old lease
//! changes nothing.

use sqlx::{Executor, Row};
use tidegate_contract::id::{IdError, JobId, MediaId};

use crate::{
    app::App,
    database::{Engine, EngineRow, Write},
    package::model::{Job, JobState},
};

/// Adds the job of a new media.
///
/// # Errors
/// The database.
pub async fn add(tx: &mut Write, media: &MediaId, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO job (id, media_id, state, epoch, attempts, ready_ms, packager, created_ms) \
         VALUES (?, ?, ?, 0, 0, ?, '', ?)",
    )
    .bind(App::new_id())
    .bind(media.as_str())
    .bind(JobState::Waiting.as_str())
    .bind(now_ms)
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Lets the ended job of a media begin again; its epochs go on growing.
///
/// # Errors
/// The database.
pub async fn begin_again(tx: &mut Write, media: &MediaId, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE job SET state = ?, attempts = 0, ready_ms = ? WHERE media_id = ? AND state = ?",
    )
    .bind(JobState::Waiting.as_str())
    .bind(now_ms)
    .bind(media.as_str())
    .bind(JobState::Failed.as_str())
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// One job.
///
/// # Errors
/// The database.
pub async fn find<'e>(
    executor: impl Executor<'e, Database = Engine>,
    id: &JobId,
) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query("SELECT * FROM job WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(job_of_row).transpose()
}

/// The job that waits longest to be leased by now: new ones, ones whose pause is over, ones whose lease ran out.
///
/// # Errors
/// The database.
pub async fn next_ready(tx: &mut Write, now_ms: i64) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query(
        "SELECT * FROM job WHERE state IN (?, ?) AND ready_ms <= ? ORDER BY ready_ms, id LIMIT 1",
    )
    .bind(JobState::Waiting.as_str())
    .bind(JobState::Leased.as_str())
    .bind(now_ms)
    .fetch_optional(&mut **tx)
    .await?;
    row.as_ref().map(job_of_row).transpose()
}

/// Leases a job under the next epoch; says whether nobody was faster.
///
/// # Errors
/// The database.
pub async fn lease(
    tx: &mut Write,
    job: &Job,
    packager: &str,
    lease_ends_ms: i64,
) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "UPDATE job SET state = ?, epoch = epoch + 1, attempts = attempts + 1, ready_ms = ?, packager = ? \
         WHERE id = ? AND epoch = ? AND state = ?",
    )
    .bind(JobState::Leased.as_str())
    .bind(lease_ends_ms)
    .bind(packager)
    .bind(job.id.as_str())
    .bind(epoch_value(job.epoch))
    .bind(job.state.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Moves a job from its present lease to a state, ready again at a time; says whether the lease still stood.
///
/// # Errors
/// The database.
pub async fn change(
    tx: &mut Write,
    job: &Job,
    state: JobState,
    ready_ms: i64,
) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "UPDATE job SET state = ?, ready_ms = ? WHERE id = ? AND epoch = ? AND state = ?",
    )
    .bind(state.as_str())
    .bind(ready_ms)
    .bind(job.id.as_str())
    .bind(epoch_value(job.epoch))
    .bind(job.state.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Removes the job of a media that is gone.
///
/// # Errors
/// The database.
pub async fn remove(tx: &mut Write, job: &Job) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM job WHERE id = ?")
        .bind(job.id.as_str())
        .execute(&mut **tx)
        .await
        .map(drop)
}

fn job_of_row(row: &EngineRow) -> sqlx::Result<Job> {
    let bad_id = |error: IdError| sqlx::Error::Decode(Box::new(error));
    let state: String = row.try_get("state")?;
    Ok(Job {
        id: JobId::parse(row.try_get::<String, _>("id")?).map_err(bad_id)?,
        media: MediaId::parse(row.try_get::<String, _>("media_id")?).map_err(bad_id)?,
        state: JobState::parse(&state)
            .ok_or_else(|| sqlx::Error::Decode(format!("job state {state:?}").into()))?,
        epoch: row.try_get::<i64, _>("epoch")?.unsigned_abs(),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        ready_ms: row.try_get("ready_ms")?,
    })
}

/// No epoch comes near the limit; one that a packager made up matches nothing.
fn epoch_value(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}
