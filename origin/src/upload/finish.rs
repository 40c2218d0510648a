//! An upload that has all its bytes becomes a video.
//!
//! First the bytes become an object, then one transaction makes the video, the media and its job if the content
//! is new, and ends the upload. Dying in between is harmless: it is done again from the beginning.

use sha2::{Digest, Sha256};
use tidegate_contract::id::VideoId;

use crate::{
    catalog::{
        self,
        store::{AddedVideo, Content, NewVideo},
    },
    package,
    upload::{
        model::{Upload, UploadState},
        parts::Parts,
        store,
        writers::WriterLock,
    },
};

/// Why an upload did not become a video yet; it is tried again in the background.
#[derive(Debug, thiserror::Error)]
pub(super) enum FinishError {
    #[error(transparent)]
    Objects(#[from] crate::objects::ObjectError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Spool(#[from] std::io::Error),
    #[error("the upload is gone")]
    Gone,
}

/// Makes the video of an upload whose bytes have this hash.
pub(super) async fn finish(
    parts: &Parts,
    upload: &mut Upload,
    lock: &WriterLock,
    sha: Sha256,
) -> Result<VideoId, FinishError> {
    let sha256 = hex::encode(sha.finalize());
    let source_key = format!("upload/{}/source", upload.id);
    parts.app.objects.adopt(&parts.spool.path(&upload.id), &source_key).await?;
    let added = add_video(parts, upload, &sha256, &source_key).await?;
    upload.state = UploadState::Finished;
    upload.video = Some(added.video.clone());
    lock.forget_hash();
    // From here on it is done; what is left over is only space.
    if added.content != Content::New
        && let Err(error) = parts.app.objects.remove(&source_key).await
    {
        tracing::warn!(%error, upload.id = %upload.id, "a source that nobody needs stays");
    }
    if let Err(error) = parts.spool.remove(&upload.id).await {
        tracing::warn!(%error, upload.id = %upload.id, "a spool file stays until the next start");
    }
    announce(parts, upload, &added);
    Ok(added.video)
}

/// Hashes an upload that was complete when the process died, and finishes it.
pub(super) async fn resume(
    parts: &Parts,
    upload: &mut Upload,
    lock: &WriterLock,
) -> Result<VideoId, FinishError> {
    let writer = parts.spool.writer(&upload.id, upload.offset, None, false).await?;
    finish(parts, upload, lock, writer.sha()).await
}

async fn add_video(
    parts: &Parts,
    upload: &Upload,
    sha256: &str,
    source_key: &str,
) -> Result<AddedVideo, FinishError> {
    let now_ms = parts.app.now_ms();
    let new = NewVideo {
        client: upload.client.clone(),
        filename: upload.filename.clone(),
        title: upload.title.clone(),
        sha256: sha256.to_owned(),
        source_key: source_key.to_owned(),
        source_bytes: upload.length,
    };
    let mut tx = parts.app.database.begin().await?;
    let added = catalog::store::add_video(&mut tx, new, now_ms).await?;
    match added.content {
        // What has no bytes has failed already: there is nothing to package.
        Content::New if upload.length == 0 => {}
        Content::New => package::store::add(&mut tx, &added.media, now_ms).await?,
        Content::Retried => package::store::begin_again(&mut tx, &added.media, now_ms).await?,
        Content::Known => {}
    }
    let (state, video) = (UploadState::Finished, Some(&added.video));
    let forget_ms = parts.forget_ms();
    if !store::end(&mut *tx, &upload.id, state, video, forget_ms).await? {
        return Err(FinishError::Gone);
    }
    tx.commit().await?;
    Ok(added)
}

fn announce(parts: &Parts, upload: &Upload, added: &AddedVideo) {
    let content = match added.content {
        Content::New => "new",
        Content::Known => "known",
        Content::Retried => "retried",
    };
    parts.app.metrics.videos.with_label_values(&[content]).inc();
    parts.app.metrics.uploads.with_label_values(&["finished"]).inc();
    tracing::info!(upload.id = %upload.id, video.id = %added.video, media.id = %added.media, content,
        bytes = upload.length, "upload finished");
    parts.app.tell_change(&added.media);
}
