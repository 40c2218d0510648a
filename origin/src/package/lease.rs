//! Lease, renew, fail: a job passes from one packager to the next.

use std::time::Duration;

use tidegate_contract::{
    id::JobId,
    package_job::{FailureReason, PackageJob, Renewal},
};

use crate::{
    app::App,
    catalog,
    database::Write,
    package::{
        config::Config,
        model::{Job, JobState, Standing, retry_pause},
        store,
    },
};

/// Why a packager may not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    /// It holds no lease with this epoch: another packager took over, the job ended, or the media was deleted.
    #[error("the lease is lost")]
    Lost,
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Leases the job that waits longest, if one does.
pub(super) async fn lease(
    app: &App,
    config: &Config,
    packager: &str,
) -> sqlx::Result<Option<PackageJob>> {
    let now_ms = app.now_ms();
    for _ in 0..LOOKS_MAX {
        let mut tx = app.database.begin().await?;
        let Some(job) = store::next_ready(&mut tx, now_ms).await? else { return Ok(None) };
        let found = catalog::store::find_media(&mut *tx, &job.media).await?;
        let Some(media) = found else {
            store::remove(&mut tx, &job).await?;
            tx.commit().await?;
            continue;
        };
        if job.attempts >= config.attempts_max {
            give_up(app, tx, &job).await?;
            continue;
        }
        if !store::lease(&mut tx, &job, packager, in_ms(now_ms, config.lease)).await? {
            continue;
        }
        tx.commit().await?;
        let is_taken_over = job.state == JobState::Leased;
        app.metrics.jobs.with_label_values(&["leased"]).inc();
        if is_taken_over {
            app.metrics.jobs.with_label_values(&["taken_over"]).inc();
        }
        tracing::info!(job.id = %job.id, media.id = %media.id, job.epoch = job.epoch + 1, packager, is_taken_over,
            "job leased");
        return Ok(Some(PackageJob {
            job: job.id,
            epoch: job.epoch + 1,
            lease: config.lease,
            media: media.id,
            source_key: media.source_key,
            source_bytes: media.source_bytes,
            source_sha256: media.sha256,
        }));
    }
    Ok(None)
}

/// A packager is still at it: the lease is as long as at its beginning again.
pub(super) async fn renew(
    app: &App,
    config: &Config,
    id: &JobId,
    renewal: &Renewal,
) -> Result<(), LeaseError> {
    let now_ms = app.now_ms();
    let mut tx = app.database.begin().await?;
    let job = held(&mut tx, id, renewal.epoch).await?;
    if !store::change(&mut tx, &job, JobState::Leased, in_ms(now_ms, config.lease)).await? {
        return Err(LeaseError::Lost);
    }
    let found = catalog::store::find_media(&mut *tx, &job.media).await?;
    let before = found.ok_or(LeaseError::Lost)?;
    let mut media = before.clone();
    media.advance(renewal.stage, renewal.progress_permille);
    let is_changed = media != before;
    if is_changed && !catalog::store::save_media(&mut tx, &media, now_ms).await? {
        return Err(LeaseError::Lost);
    }
    tx.commit().await?;
    if is_changed {
        app.tell_change(&media.id);
    }
    Ok(())
}

/// A packager gives the job up: for good, or until another attempt.
pub(super) async fn fail(
    app: &App,
    config: &Config,
    id: &JobId,
    epoch: u64,
    reason: FailureReason,
    detail: &str,
) -> Result<(), LeaseError> {
    let now_ms = app.now_ms();
    let mut tx = app.database.begin().await?;
    let job = held(&mut tx, id, epoch).await?;
    let is_final = !reason.is_retryable() || job.attempts >= config.attempts_max;
    let state = if is_final { JobState::Failed } else { JobState::Waiting };
    let ready_ms = in_ms(now_ms, retry_pause(config, job.attempts));
    if !store::change(&mut tx, &job, state, ready_ms).await? {
        return Err(LeaseError::Lost);
    }
    if is_final {
        end_media(&mut tx, &job, reason, detail, now_ms).await?;
    }
    tx.commit().await?;
    app.metrics.jobs.with_label_values(&["failed"]).inc();
    tracing::warn!(job.id = %job.id, media.id = %job.media, job.epoch = epoch, reason = reason.as_str(),
        is_final, detail, "packaging failed");
    app.tell_change(&job.media);
    Ok(())
}

/// Ends a job that has no attempts left.
pub(super) async fn give_up(app: &App, mut tx: Write, job: &Job) -> sqlx::Result<()> {
    let detail = format!("given up after {} attempts", job.attempts);
    if !store::change(&mut tx, job, JobState::Failed, job.ready_ms).await? {
        return Ok(());
    }
    end_media(&mut tx, job, FailureReason::Internal, &detail, app.now_ms()).await?;
    tx.commit().await?;
    app.metrics.jobs.with_label_values(&["given_up"]).inc();
    tracing::error!(job.id = %job.id, media.id = %job.media, attempts = job.attempts, "job given up");
    app.tell_change(&job.media);
    Ok(())
}

/// The job, if the packager that shows this epoch holds it.
pub(super) async fn held(tx: &mut Write, id: &JobId, epoch: u64) -> Result<Job, LeaseError> {
    let job = store::find(&mut **tx, id).await?.ok_or(LeaseError::Lost)?;
    match job.standing(epoch) {
        Standing::Holder => Ok(job),
        Standing::Finished | Standing::Fenced => Err(LeaseError::Lost),
    }
}

/// A time some while after another.
pub(super) fn in_ms(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

async fn end_media(
    tx: &mut Write,
    job: &Job,
    reason: FailureReason,
    detail: &str,
    now_ms: i64,
) -> sqlx::Result<()> {
    if let Some(mut media) = catalog::store::find_media(&mut **tx, &job.media).await? {
        media.fail(reason, detail.to_owned());
        catalog::store::save_media(tx, &media, now_ms).await?;
    }
    Ok(())
}

/// Jobs looked at for one lease: hopeless ones are put aside on the way.
const LOOKS_MAX: usize = 16;
