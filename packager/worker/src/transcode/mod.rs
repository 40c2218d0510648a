//! Decode once, feed every encoder.
//!
//! ```text
//!                                  ┌─ rung 360p: scale, encode ─┐
//! demux, decode ─ steady pictures ─┼─ rung 720p: scale, encode ─┼─ frames to the packager
//!        │                         └─ images: scale, encode ────┘
//!        └─ sound: resample, encode ────────────────────────────┘
//! ```
//!
//! Every rung has its own thread and queue of shared pictures, so the smallest runs ahead and is playable before the
//! largest is done. What all queues hold together is bounded in bytes; the decoder waits when it is too much.

mod feed;
mod fan_out;
mod images;
mod rung;
mod sound;
mod steady;
mod picture_chain;
mod shared;
mod wish;
mod image_schedule;
mod timeline;
mod lag;
mod turn;
mod progress;

use std::{
    sync::mpsc::sync_channel,
    thread::{self, ScopedJoinHandle},
};

use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Done, Plan, WorkerOrder},
};

use self::{fan_out::FanOut, feed::Feed, rung::Rung, shared::Shared, wish::Wishes};
use crate::{failure::RunError, source::Source, wire::Outbox};

/// Makes everything in the plan; samples and images go to the packager as they become ready.
///
/// # Errors
/// The verdict, or a packager that is gone.
pub(crate) fn transcode(
    source: Source,
    order: &WorkerOrder,
    plan: &Plan,
    outbox: &Outbox,
) -> Result<Done, RunError> {
    let wishes = Wishes::of(plan, source.video.rate, order.threads)?;
    let displayed = source.video.displayed();
    let shared = Shared::new(order, &wishes, source.duration_ms, outbox);
    let shared = &shared;
    thread::scope(|scope| {
        let mut fan_out = FanOut::new(shared);
        let mut rungs = Vec::new();
        for (place, wish) in wishes.rungs.iter().enumerate() {
            let (queue, pictures) = sync_channel(PICTURES_WAITING_MAX);
            fan_out.add_rung(queue);
            let rung = Rung::new(place, wish, shared);
            let work = move || rung.run(pictures);
            rungs.push(spawn(format!("rung-{}", wish.settings.height), scope, work)?);
        }
        let mut images = None;
        if let Some(plan) = &wishes.images {
            let (queue, tasks) = sync_channel(PICTURES_WAITING_MAX);
            fan_out.add_images(queue, plan.schedule(source.video.rate));
            let work = move || images::run(plan, displayed, tasks, shared);
            images = Some(spawn("images".to_owned(), scope, work)?);
        }
        let fed = Feed::new(source, order, wishes.audio, fan_out, shared).run();
        for rung in rungs {
            joined(rung)?;
        }
        let sprite_pictures = images.map(joined).transpose()?.unwrap_or(0);
        fed.map(|fed| Done { sprite_pictures, ..fed })
    })
}

fn spawn<'scope, T: Send + 'scope>(
    name: String,
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, RunError> {
    thread::Builder::new().name(name).spawn_scoped(scope, work).map_err(|error| {
        RunError::new(FailureReason::Internal, format!("cannot start a thread: {error}"))
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, RunError>>) -> Result<T, RunError> {
    thread.join().expect("a panic ends the process before anyone can join")
}

/// The most pictures in one queue; usually the limit in bytes is reached first.
const PICTURES_WAITING_MAX: usize = 4096;
