//! What the threads of one run share.
//!
//! The way to the packager, the bound on waiting pictures, the order of flushing, the progress and whether the run
//! was given up.

use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_contract::worker_frame::{Frame, Sample, WorkerOrder};

use super::{lag::Lag, progress::Progress, turn::Turn, wish::Wishes};
use crate::{
    codec::CodedSample,
    failure::RunError,
    fraction::Fraction,
    wire::{Outbox, WireError},
};

/// Shared by decoder, rungs and images.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) lag: Lag,
    pub(super) turn: Turn,
    outbox: &'a Outbox,
    progress: Progress,
    stopped: AtomicBool,
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        order: &WorkerOrder,
        wishes: &Wishes,
        duration_ms: u64,
        outbox: &'a Outbox,
    ) -> Self {
        let pixels: u64 = wishes.rungs.iter().map(|rung| rung.pixels()).sum();
        let frames =
            wishes.rungs.first().map_or(0, |rung| frames_in(duration_ms, rung.settings.rate));
        Self {
            lag: Lag::new(order.lag_bytes_max),
            turn: Turn::new(wishes.rungs.len()),
            outbox,
            progress: Progress::new(pixels.saturating_mul(frames)),
            stopped: AtomicBool::new(false),
        }
    }

    /// Sends a frame to the packager.
    pub(super) fn send(&self, frame: &Frame) -> Result<(), WireError> {
        self.outbox.send(frame)
    }

    /// Sends a coded sample of a track to the packager.
    pub(super) fn send_sample(&self, track: u16, sample: CodedSample) -> Result<(), WireError> {
        let CodedSample { is_sync, dts, composition_offset, duration, data } = sample;
        let sample = Sample { track, is_sync, dts, composition_offset, duration, data };
        self.send(&Frame::Sample(sample))
    }

    /// Counts encoded pixels and tells the packager now and then.
    pub(super) fn count(&self, pixels: u64) -> Result<(), RunError> {
        Ok(self.progress.add(pixels, |permille| self.send(&Frame::Progress { permille }))?)
    }

    /// Gives the run up: nothing is flushed any more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

fn frames_in(duration_ms: u64, rate: Fraction) -> u64 {
    duration_ms.saturating_mul(rate.num.into()) / (1000 * u64::from(rate.den))
}
