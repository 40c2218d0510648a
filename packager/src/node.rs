//! Builds the parts and starts the job loops.
//!
//! Everything that can be wrong with the surroundings (token, store, worker binary) is found here, before the
//! first job is leased.

use std::sync::Arc;

use tidegate_chassis::Process;
use tracing::info;

use crate::{
    config::Config, job::Packager, jobs::Slot, metrics::Metrics, origin_client::OriginClient,
    store::Store,
};

/// Runs the packager until it is drained.
///
/// # Errors
/// The surroundings are not as configured.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    let slot = slot(&config, &process)?;
    let drain = process.drain();
    info!(
        name = slot.name,
        origin = %config.origin.url,
        worker = %slot.packager.worker_binary.display(),
        parallel = config.jobs.parallel,
        "packager starts"
    );
    if config.worker.unsandboxed {
        tracing::warn!(
            "workers run WITHOUT a sandbox: an upload that takes over a decoder has this program's rights"
        );
    }
    let slots = (0..config.jobs.parallel).map(|_| slot.clone().serve(drain.clone()));
    futures::future::try_join_all(slots).await?;
    Ok(())
}

fn slot(config: &Config, process: &Process) -> anyhow::Result<Slot> {
    let packager = Packager {
        limits: config.limits.clone(),
        ladder: config.ladder.clone(),
        segment: config.segment.clone(),
        worker: config.worker.clone(),
        worker_binary: config.worker.binary()?,
        store: Store::open(&config.object_store)?,
        scratch: config.scratch.clone(),
        metrics: Metrics::register(process.registry()),
    };
    Ok(Slot {
        client: OriginClient::new(&config.origin)?,
        packager,
        name: config.jobs.packager_name(),
        config: config.jobs.clone(),
        ready: process.ready("origin"),
    })
}
