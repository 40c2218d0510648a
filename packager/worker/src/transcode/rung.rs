//! One video rendition: scale, encode, send.
//!
//! Larger rungs run at lower priority, so that where processors are short the smallest is done first; where they are
//! not, nobody waits. A rung is flushed only after all smaller ones ended.

use std::sync::mpsc::Receiver;

use ffmpeg_next::{Error, frame};
use tidegate_contract::worker_frame::{Frame, TrackStart};

use super::{lag::SharedPicture, shared::Shared, turn::Place, wish::RungWish};
use crate::{
    codec::{PictureGraph, VideoEncoder},
    failure::RunError,
    ffi::{kernel, libav},
    fraction::Fraction,
};

/// A rung of the ladder.
pub(super) struct Rung<'a> {
    place: usize,
    wish: &'a RungWish,
    shared: &'a Shared<'a>,
    turn: Place<'a>,
}

struct Work {
    graph: PictureGraph,
    encoder: VideoEncoder,
    is_started: bool,
}

impl<'a> Rung<'a> {
    /// `place` 0 is the smallest.
    pub(super) fn new(place: usize, wish: &'a RungWish, shared: &'a Shared<'a>) -> Self {
        Self { place, wish, shared, turn: shared.turn.take(place) }
    }

    /// Encodes all pictures of the queue; a rung that gets none sends nothing.
    pub(super) fn run(self, pictures: Receiver<SharedPicture<'_>>) -> Result<(), RunError> {
        let step = i32::try_from(self.place).unwrap_or(NICE_MAX) * NICE_STEP;
        kernel::lower_thread_priority(step.min(NICE_MAX));
        let mut work = None;
        while let Ok(picture) = pictures.recv() {
            let work = match &mut work {
                Some(work) => work,
                none => none.insert(self.open(&picture.picture)?),
            };
            self.take(work, &picture.picture)?;
        }
        let Some(mut work) = work.filter(|_| !self.shared.is_stopped()) else { return Ok(()) };
        self.turn.wait();
        work.encoder.finish().map_err(|error| self.failed("flush", error))?;
        self.samples(&mut work)?;
        Ok(self.shared.send(&Frame::TrackEnd { track: self.wish.track })?)
    }

    fn open(&self, picture: &frame::Video) -> Result<Work, RunError> {
        let settings = &self.wish.settings;
        let (width, height) = (settings.width, settings.height);
        let chain = format!("scale={width}:{height}:flags=bicubic,format=yuv420p,setsar=1");
        let format = libav::picture_format(picture);
        let graph = PictureGraph::new(format, Fraction::new(1, 1), &chain, 1)
            .map_err(|error| self.failed("scale", error))?;
        let encoder = VideoEncoder::open(settings).map_err(|error| self.failed("open", error))?;
        Ok(Work { graph, encoder, is_started: false })
    }

    fn take(&self, work: &mut Work, picture: &frame::Video) -> Result<(), RunError> {
        let failed = |error| self.failed("encode", error);
        let mut own = libav::share(picture).map_err(failed)?;
        libav::forget_side_data(&mut own);
        work.graph.push(own).map_err(failed)?;
        let mut scaled = frame::Video::empty();
        while work.graph.pull(&mut scaled).map_err(failed)? {
            work.encoder.send(&mut scaled).map_err(failed)?;
            self.samples(work)?;
        }
        Ok(())
    }

    fn samples(&self, work: &mut Work) -> Result<(), RunError> {
        while let Some(sample) =
            work.encoder.receive().map_err(|error| self.failed("encode", error))?
        {
            if !work.is_started {
                self.shared.send(&Frame::Track(self.start(&work.encoder)))?;
                work.is_started = true;
            }
            self.shared.send_sample(self.wish.track, sample)?;
            self.shared.count(self.wish.pixels())?;
        }
        Ok(())
    }

    fn start(&self, encoder: &VideoEncoder) -> TrackStart {
        let settings = &self.wish.settings;
        TrackStart {
            track: self.wish.track,
            timescale: encoder.timescale(),
            init_hex: hex::encode(encoder.init_segment()),
            priming: 0,
            fps: Some((settings.rate.num, settings.rate.den)),
            encoder: settings.kind.name().to_owned(),
        }
    }

    fn failed(&self, what: &str, error: Error) -> RunError {
        let settings = &self.wish.settings;
        let (name, width, height) = (settings.kind.name(), settings.width, settings.height);
        RunError::internal(&format!("{what} {name} {width}x{height}"), error)
    }
}

/// How much further back each larger rung stands.
const NICE_STEP: i32 = 5;
const NICE_MAX: i32 = 19;
