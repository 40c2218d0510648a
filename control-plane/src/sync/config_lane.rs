//! One node's configuration lane: the newest snapshot of its PoP, whenever it is not what the node runs.
//!
//! Snapshots are whole, and only the newest is ever sent: a node that is slow skips what came in between. A node
//! that refuses one keeps what it has, and its reason is shown until it accepts a later one.

use std::sync::Arc;

use tidegate_contract::id::Generation;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Parts, caller};
use crate::{
    distribution::Release,
    fleet::{HealthReport, LaneGuard, Nack},
    store::DesiredError,
    wire::{
        ConfigAck, ConfigDown, ConfigHello, ConfigUp, Health, Snapshot, config_down, config_up,
    },
};

type Down = mpsc::Sender<Result<ConfigDown, Status>>;

/// Runs the lane until either side ends it.
pub(super) async fn run(
    parts: &Parts,
    hello: ConfigHello,
    up: Streaming<ConfigUp>,
    down: &Down,
    guard: &LaneGuard,
) -> Result<(), Status> {
    guard.runs(hello.generation);
    tokio::select! {
        end = write(parts, &hello, down, guard) => end,
        end = read(parts, up, guard) => end,
    }
}

async fn write(
    parts: &Parts,
    hello: &ConfigHello,
    down: &Down,
    guard: &LaneGuard,
) -> Result<(), Status> {
    let mut generation = parts.distribution.generation();
    generation.mark_unchanged();
    let mut release = newest(parts, guard).await?;
    if is_ahead(hello, &release) {
        raise_above(parts, hello.generation, guard).await?;
        release = newest(parts, guard).await?;
    }
    let mut sent = if is_same(hello, &release) { Some(release.generation) } else { None };
    loop {
        if sent.is_none_or(|sent| sent < release.generation) {
            send(parts, &release, down).await?;
            sent = Some(release.generation);
        }
        generation.changed().await.map_err(|_| Status::unavailable("the store has ended"))?;
        release = newest(parts, guard).await?;
    }
}

async fn newest(parts: &Parts, guard: &LaneGuard) -> Result<Arc<Release>, Status> {
    let release = parts.distribution.release(&guard.name().pop).await;
    release.map_err(|error| caller::store(&error))?.ok_or_else(caller::unknown)
}

async fn send(parts: &Parts, release: &Release, down: &Down) -> Result<(), Status> {
    let snapshot = Snapshot {
        generation: release.generation.0,
        body: release.body.clone(),
        digest: release.digest.to_vec().into(),
    };
    let message = ConfigDown { message: Some(config_down::Message::Snapshot(snapshot)) };
    down.send(Ok(message)).await.map_err(|_| Status::cancelled("the node is gone"))?;
    parts.metrics.snapshots.inc();
    Ok(())
}

/// Whether the node runs exactly this release.
fn is_same(hello: &ConfigHello, release: &Release) -> bool {
    hello.generation == release.generation.0 && hello.digest == release.digest[..]
}

/// Whether the node would refuse this release as old although it is not what it runs: the state was restored from
/// a backup.
fn is_ahead(hello: &ConfigHello, release: &Release) -> bool {
    hello.generation >= release.generation.0 && !is_same(hello, release)
}

async fn raise_above(parts: &Parts, seen: u64, guard: &LaneGuard) -> Result<(), Status> {
    tracing::warn!(node = %guard.name(), seen, "a node has a generation that is not from this state");
    match parts.distribution.raise_above(Generation(seen)).await {
        Ok(_) => Ok(()),
        Err(DesiredError::Store(error)) => Err(caller::store(&error)),
        Err(error) => Err(Status::failed_precondition(error.to_string())),
    }
}

/// Takes the node's acknowledgements and health.
async fn read(parts: &Parts, mut up: Streaming<ConfigUp>, guard: &LaneGuard) -> Result<(), Status> {
    while let Some(message) = up.message().await? {
        guard.heard();
        match message.message {
            Some(config_up::Message::Ack(ack)) => take_ack(parts, ack, guard),
            Some(config_up::Message::Health(health)) => guard.health(report(health)),
            _ => return Err(Status::invalid_argument("only one hello, and first")),
        }
    }
    Ok(())
}

fn take_ack(parts: &Parts, ack: ConfigAck, guard: &LaneGuard) {
    let (node, generation) = (guard.name(), ack.generation);
    if ack.applied {
        tracing::info!(%node, generation, "snapshot applied");
        guard.runs(generation);
        return;
    }
    let error: String = ack.error.chars().take(ERROR_CHARS_MAX).collect();
    tracing::warn!(%node, generation, error, "snapshot refused");
    parts.metrics.nacks.inc();
    guard.refused(Nack { generation, error });
}

fn report(health: Health) -> HealthReport {
    HealthReport {
        ready: health.ready,
        draining: health.draining,
        requests_total: health.requests_total,
        hits_total: health.hits_total,
        errors_total: health.errors_total,
        cache_bytes: health.cache_bytes,
        started_unix_ms: health.started_unix_ms,
    }
}

const ERROR_CHARS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_node_is_sent_what_it_does_not_run_and_lifts_the_number_when_it_is_ahead() {
        let release =
            Release { generation: Generation(5), body: Bytes::from_static(b"x"), digest: [1; 32] };
        for (generation, digest, same, ahead) in [
            (0, &[][..], false, false),
            (4, &[1; 32][..], false, false),
            (5, &[1; 32][..], true, false),
            (5, &[2; 32][..], false, true),
            (9, &[1; 32][..], false, true),
        ] {
            let digest = Bytes::copy_from_slice(digest);
            let hello = ConfigHello { generation, digest, build: String::new() };
            assert_eq!(is_same(&hello, &release), same, "{generation}");
            assert_eq!(is_ahead(&hello, &release), ahead, "{generation}");
        }
    }
}
