//! Ends jobs that no packager will end: without attempts left, or of deleted media.
//!
//! A lease does the same on its way; this is for the time when no packager asks.

use std::sync::Arc;

use crate::{
    app::App,
    catalog,
    package::{config::Config, lease::give_up, store},
};

/// Looks for hopeless jobs again and again until the drain begins.
pub async fn end_hopeless_jobs(app: App, config: Arc<Config>) {
    app.repeat("end_hopeless_jobs", config.sweep_interval, || sweep(&app, &config)).await;
}

async fn sweep(app: &App, config: &Config) -> anyhow::Result<()> {
    for _ in 0..BATCH {
        let mut tx = app.database.begin().await?;
        let Some(job) = store::next_ready(&mut tx, app.now_ms()).await? else { break };
        if catalog::store::find_media(&mut *tx, &job.media).await?.is_none() {
            store::remove(&mut tx, &job).await?;
            tx.commit().await?;
        } else if job.attempts >= config.attempts_max {
            give_up(app, tx, &job).await?;
        } else {
            // The first in line can be leased: what stands behind it waits for a packager too.
            break;
        }
    }
    Ok(())
}

const BATCH: usize = 100;
