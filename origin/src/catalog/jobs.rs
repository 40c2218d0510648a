//! Removes the objects of deleted media. Doing it again changes nothing.

use std::sync::Arc;

use crate::{
    app::App,
    catalog::{config::Config, store},
};

/// Removes what is ripe, again and again, until the drain begins.
pub async fn remove_garbage(app: App, config: Arc<Config>) {
    app.repeat("remove_garbage", config.sweep_interval, || sweep(&app)).await;
}

async fn sweep(app: &App) -> anyhow::Result<()> {
    for garbage in store::garbage(&app.database, app.now_ms(), BATCH).await? {
        let media = &garbage.media;
        let mut removed = 0;
        // Manifests first: what a manifest names is there for as long as the manifest is.
        for prefix in ["manifest", "m", "stills"] {
            removed += app.objects.remove_below(&format!("{prefix}/{media}")).await?;
        }
        app.objects.remove(&garbage.source_key).await?;
        store::garbage_is_gone(&app.database, media).await?;
        tracing::info!(media.id = %media, objects = removed, "objects of a deleted media are gone");
    }
    Ok(())
}

const BATCH: u32 = 16;
