//! A publication becomes visible: checked, written beside the last one, then switched to in one transaction.
//!
//! Manifests of a publication lie below a prefix of their own. Whoever reads follows the media's pointer, so a
//! reader sees all of one publication or all of another; a packager that lost its lease in between has written
//! something that nobody points at.

use tidegate_contract::{
    id::{JobId, MediaId},
    package_job::Publication,
    purge::PurgeTarget,
    surrogate_key::SurrogateKey,
};

use crate::{
    app::App,
    catalog,
    database::Write,
    objects::ObjectError,
    package::{
        config::Config,
        lease::{LeaseError, held, in_ms},
        model::{
            Job, JobState, PublicationError, Standing, check_publication, in_order_of_writing,
            keys_to_check,
        },
        store,
    },
    purge,
};

/// Why a publication is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    /// The lease is lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// It breaks a rule.
    #[error(transparent)]
    Rule(#[from] PublicationError),
    /// It names an object that is not in the object store.
    #[error("object {0:?} is not in the object store")]
    Unwritten(String),
    /// The object store.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// Publishes; saying the same again after it was done is fine.
pub(super) async fn publish(
    app: &App,
    config: &Config,
    id: &JobId,
    publication: &Publication,
) -> Result<(), PublishError> {
    check_publication(publication, config.images_max)?;
    let found = store::find(app.database.read(), id).await.map_err(LeaseError::from)?;
    let job = found.ok_or(LeaseError::Lost)?;
    match job.standing(publication.epoch) {
        Standing::Holder => {}
        // The answer to the last publication was lost on its way.
        Standing::Finished if publication.complete => return Ok(()),
        Standing::Finished | Standing::Fenced => return Err(LeaseError::Lost.into()),
    }
    for key in keys_to_check(&job.media, publication) {
        match app.objects.facts(&key).await {
            Ok(_) => {}
            Err(ObjectError::Missing(key)) => return Err(PublishError::Unwritten(key)),
            Err(error) => return Err(error.into()),
        }
    }
    let prefix = format!("manifest/{}/{}-{}", job.media, publication.epoch, App::new_id());
    for manifest in in_order_of_writing(&publication.manifests) {
        app.objects.put(&format!("{prefix}/{}", manifest.name), manifest.body.clone()).await?;
    }
    if let Err(error) = switch(app, config, id, publication, &prefix).await {
        // Nobody points at it; should this fail too, it goes with the media.
        let _ = app.objects.remove_below(&prefix).await;
        return Err(error.into());
    }
    announce(app, &job, publication);
    Ok(())
}

/// The step that makes it visible: pointer, state, lease and purges, all or nothing.
async fn switch(
    app: &App,
    config: &Config,
    id: &JobId,
    publication: &Publication,
    prefix: &str,
) -> Result<(), LeaseError> {
    let now_ms = app.now_ms();
    let mut tx = app.database.begin().await?;
    let job = held(&mut tx, id, publication.epoch).await?;
    let state = if publication.complete { JobState::Done } else { JobState::Leased };
    if !store::change(&mut tx, &job, state, in_ms(now_ms, config.lease)).await? {
        return Err(LeaseError::Lost);
    }
    let found = catalog::store::find_media(&mut *tx, &job.media).await?;
    let mut media = found.ok_or(LeaseError::Lost)?;
    media.publish(publication, prefix.to_owned());
    if !catalog::store::save_media(&mut tx, &media, now_ms).await? {
        return Err(LeaseError::Lost);
    }
    order_purges(&mut tx, &job.media, now_ms).await?;
    tx.commit().await?;
    Ok(())
}

async fn order_purges(tx: &mut Write, media: &MediaId, now_ms: i64) -> sqlx::Result<()> {
    let mut keys = vec![SurrogateKey::manifest(media)];
    // Every manifest carries the media's key as well, so the videos beyond the limit are not forgotten.
    let videos = catalog::store::videos_of(tx, media, VIDEOS_PURGED_MAX).await?;
    keys.extend(videos.iter().map(SurrogateKey::video));
    for key in keys {
        purge::store::add(tx, PurgeTarget::Key { key }, now_ms).await?;
    }
    Ok(())
}

fn announce(app: &App, job: &Job, publication: &Publication) {
    let event = if publication.complete { "completed" } else { "published" };
    app.metrics.jobs.with_label_values(&[event]).inc();
    tracing::info!(job.id = %job.id, media.id = %job.media, job.epoch = publication.epoch,
        renditions = publication.renditions.len(), is_complete = publication.complete, "manifests published");
    app.purge_waits.notify_one();
    app.tell_change(&job.media);
}

const VIDEOS_PURGED_MAX: u32 = 100;
