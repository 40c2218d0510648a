//! Background work of uploads: finishes what a dying process left, removes what expired, forgets what ended.

use crate::upload::{
    finish,
    model::{Upload, UploadState},
    parts::Parts,
    store,
};

/// Removes spool files that belong to no open upload. Runs before the first request: nobody writes yet.
///
/// # Errors
/// The spool or the database.
pub async fn remove_orphans(parts: &Parts) -> anyhow::Result<()> {
    for id in parts.spool.ids()? {
        let found = store::find(parts.app.database.read(), &id).await?;
        if found.is_none_or(|upload| upload.state != UploadState::Open) {
            parts.spool.remove(&id).await?;
            tracing::info!(upload.id = %id, "a spool file without an upload is gone");
        }
    }
    Ok(())
}

/// Does all of it again and again until the drain begins.
pub async fn sweep_uploads(parts: Parts) {
    let (app, pause) = (parts.app.clone(), parts.config.sweep_interval);
    app.repeat("sweep_uploads", pause, || sweep(&parts)).await;
}

async fn sweep(parts: &Parts) -> anyhow::Result<()> {
    let database = &parts.app.database;
    for upload in store::unfinished(database, BATCH).await? {
        if let Err(error) = finish_again(parts, &upload).await {
            // One that cannot be finished must not keep the others from it.
            tracing::error!(upload.id = %upload.id, %error, "a complete upload is no video yet");
        }
    }
    for upload in store::overdue(database, UploadState::Open, parts.app.now_ms(), BATCH).await? {
        expire(parts, &upload).await?;
    }
    for state in [UploadState::Finished, UploadState::Terminated, UploadState::Expired] {
        let ended = store::overdue(database, state, parts.app.now_ms(), BATCH).await?;
        if !ended.is_empty() {
            let ids: Vec<_> = ended.into_iter().map(|upload| upload.id).collect();
            let mut tx = database.begin().await?;
            store::forget(&mut tx, &ids).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

async fn finish_again(parts: &Parts, upload: &Upload) -> Result<(), finish::FinishError> {
    let Some(lock) = parts.writers.lock(&upload.id) else { return Ok(()) };
    // Somebody may have finished it before the lock was ours.
    match store::find(parts.app.database.read(), &upload.id).await? {
        Some(mut upload) if upload.state == UploadState::Open => {
            finish::resume(parts, &mut upload, &lock).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn expire(parts: &Parts, upload: &Upload) -> anyhow::Result<()> {
    // Whoever holds the lock is bringing bytes, which moves the expiry.
    let Some(lock) = parts.writers.lock(&upload.id) else { return Ok(()) };
    let database = &parts.app.database;
    let found = store::find(database.read(), &upload.id).await?;
    let is_expired = found.is_some_and(|upload| upload.is_gone(parts.app.now_ms()));
    let state = UploadState::Expired;
    if is_expired
        && store::end(database.write(), &upload.id, state, None, parts.forget_ms()).await?
    {
        parts.spool.remove(&upload.id).await?;
        lock.forget_hash();
        parts.app.metrics.uploads.with_label_values(&["expired"]).inc();
        tracing::info!(upload.id = %upload.id, "upload expired");
    }
    Ok(())
}

const BATCH: u32 = 100;
