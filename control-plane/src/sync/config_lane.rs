//! One node's configuration lane: the release that its PoP shall run, whenever it is not what the node runs.
//!
//! Only the newest is ever sent, as the difference from what the node is known to run: a node that is slow skips what
//! came in between, and one for which a difference does not fit gets the whole. A node that refuses a release keeps
//! what it has, and its reason is shown until it accepts a later one.

use std::sync::Arc;

use tidegate_contract::{id::Generation, sealing::PUBLIC_KEY_BYTES};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::{Parts, caller};
use crate::{
    fleet::{AUTHORITIES_MAX, HealthReport, LaneGuard, Nack},
    release::{Made, ReleaseError, travelling},
    wire::{ConfigAck, ConfigDown, ConfigHello, ConfigUp, Health, config_down, config_up},
};

type Down = mpsc::Sender<Result<ConfigDown, Status>>;

/// What the node said of the releases that it was sent.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// The version that it runs.
    runs: u64,
    /// The message for which it wants the whole; 0: none.
    wants_whole: u64,
}

/// Runs the lane until either side ends it.
pub(super) async fn run(
    parts: &Parts,
    hello: ConfigHello,
    up: Streaming<ConfigUp>,
    down: &Down,
    guard: &LaneGuard,
) -> Result<(), Status> {
    if hello.sealing_key.len() != PUBLIC_KEY_BYTES {
        return Err(Status::invalid_argument("hello needs a key that secrets are sealed for"));
    }
    guard.runs(hello.generation);
    let (says, said) = watch::channel(Said { runs: hello.generation, wants_whole: 0 });
    tokio::select! {
        end = write(parts, &hello, down, guard, said) => end,
        end = read(parts, up, guard, &says) => end,
    }
}

async fn write(
    parts: &Parts,
    hello: &ConfigHello,
    down: &Down,
    guard: &LaneGuard,
    mut said: watch::Receiver<Said>,
) -> Result<(), Status> {
    let mut courses = parts.releases.courses();
    courses.mark_unchanged();
    let mut release = newest(parts, guard)?;
    let head = parts.releases.course().version();
    if is_ahead(hello, &release, head) {
        raise_above(parts, hello.generation.max(hello.floor), guard).await?;
        release = newest(parts, guard)?;
    }
    // What it says it runs is only believed to be one of ours when the root says so too.
    let known = parts.releases.version(Generation(hello.generation)).await.ok();
    let mut is_known = known.is_some_and(|known| hello.digest == known.record.header.root[..]);
    let floor = hello.floor.max(if is_same(hello, &release) { hello.generation } else { 0 });
    let mut lane = Lane { parts, down, sealing_key: &hello.sealing_key, nonce: 0, sent: floor };
    loop {
        let now = *said.borrow_and_update();
        is_known |= now.runs != hello.generation;
        if now.wants_whole != 0 && now.wants_whole == lane.nonce {
            lane.send(&release, None).await?;
        } else if lane.sent < release.version().0 {
            let from = if is_known { Some(now.runs) } else { None };
            lane.send(&release, from).await?;
        }
        tokio::select! {
            changed = courses.changed() => {
                changed.map_err(|_| Status::unavailable("the store has ended"))?;
                release = newest(parts, guard)?;
            }
            changed = said.changed() => {
                changed.map_err(|_| Status::cancelled("the node is gone"))?;
            }
        }
    }
}

/// What is sent, and what was sent last.
struct Lane<'a> {
    parts: &'a Parts,
    down: &'a Down,
    sealing_key: &'a [u8],
    nonce: u64,
    /// The highest version that was sent, or that the node has had.
    sent: u64,
}

impl Lane<'_> {
    async fn send(&mut self, release: &Made, from: Option<u64>) -> Result<(), Status> {
        let from = match from.filter(|version| *version > 0) {
            Some(version) => self.parts.releases.version(Generation(version)).await.ok(),
            None => None,
        };
        self.nonce += 1;
        let message = travelling(release, from.as_deref(), self.sealing_key, self.nonce)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let message = ConfigDown { message: Some(config_down::Message::Release(message)) };
        self.down.send(Ok(message)).await.map_err(|_| Status::cancelled("the node is gone"))?;
        self.sent = release.version().0;
        self.parts.metrics.snapshots.inc();
        Ok(())
    }
}

fn newest(parts: &Parts, guard: &LaneGuard) -> Result<Arc<Made>, Status> {
    let course = parts.releases.course();
    course.release_for(&guard.name().pop).cloned().ok_or_else(caller::unknown)
}

/// Whether the node runs exactly this release.
fn is_same(hello: &ConfigHello, release: &Made) -> bool {
    let header = &release.record.header;
    hello.generation == header.version.0 && hello.digest == header.root[..]
}

/// Whether the node has a number that is not from here, so that it would refuse as old what it is sent: the records
/// were restored from a backup. That it had the newest version and went back by itself is another thing: that version
/// did it harm, and it is not sent again.
fn is_ahead(hello: &ConfigHello, release: &Made, head: Generation) -> bool {
    let runs_another = hello.generation >= release.version().0 && !is_same(hello, release);
    runs_another || hello.floor > head.0
}

async fn raise_above(parts: &Parts, seen: u64, guard: &LaneGuard) -> Result<(), Status> {
    tracing::warn!(node = %guard.name(), seen, "a node has a version that is not from this state");
    match parts.releases.raise_above(Generation(seen)).await {
        Ok(_) => Ok(()),
        Err(ReleaseError::Store(error)) => Err(caller::store(&error)),
        Err(error) => Err(Status::failed_precondition(error.to_string())),
    }
}

/// Takes the node's acknowledgements and health.
async fn read(
    parts: &Parts,
    mut up: Streaming<ConfigUp>,
    guard: &LaneGuard,
    says: &watch::Sender<Said>,
) -> Result<(), Status> {
    while let Some(message) = up.message().await? {
        guard.heard();
        match message.message {
            Some(config_up::Message::Ack(ack)) => take_ack(parts, ack, guard, says),
            Some(config_up::Message::Health(health)) => guard.health(report(health)),
            _ => return Err(Status::invalid_argument("only one hello, and first")),
        }
    }
    Ok(())
}

fn take_ack(parts: &Parts, ack: ConfigAck, guard: &LaneGuard, says: &watch::Sender<Said>) {
    let (node, generation) = (guard.name(), ack.generation);
    if ack.applied {
        tracing::info!(%node, generation, apply_us = ack.apply_us, "release applied");
        guard.runs(generation);
        says.send_replace(Said { runs: generation, wants_whole: 0 });
        return;
    }
    if ack.wants_whole {
        tracing::info!(%node, generation, "a difference did not fit");
        says.send_modify(|said| said.wants_whole = ack.nonce);
        return;
    }
    let error: String = ack.error.chars().take(ERROR_CHARS_MAX).collect();
    tracing::warn!(%node, generation, error, "release refused");
    parts.metrics.nacks.inc();
    // One that was put to use and did harm is given up again.
    guard.runs(ack.runs);
    says.send_modify(|said| said.runs = ack.runs);
    guard.refused(Nack { generation, error });
}

fn report(health: Health) -> HealthReport {
    let mut authorities = [0; AUTHORITIES_MAX];
    for (place, mark) in authorities.iter_mut().zip(health.authorities) {
        *place = mark;
    }
    HealthReport {
        authorities,
        signed_by: health.signed_by,
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
