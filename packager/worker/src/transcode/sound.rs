//! The audio rendition: decode, resample, encode, send.
//!
//! Sound that fails does not fail the video: it ends where it failed and the packager is told why. What the source
//! has in gaps is silence in the rendition, so that sound and picture stay together.

use ffmpeg_next::{Error, Packet, frame};
use tidegate_contract::worker_frame::{Frame, TrackStart};

use super::{shared::Shared, timeline::Timeline, wish::AudioWish};
use crate::{
    codec::{AudioEncoder, Channels, SAMPLE_RATE, SoundGraph},
    failure::RunError,
    ffi::libav::{self, SoundFormat},
    fraction::{Fraction, rescale},
    source::AudioTrack,
    wire::WireError,
};

/// The audio track on its way.
pub(super) struct Sound<'a> {
    track: AudioTrack,
    timeline: Timeline,
    wish: AudioWish,
    shared: &'a Shared<'a>,
    end_max: i64,
    work: Option<Work>,
    is_started: bool,
    note: Option<String>,
}

struct Work {
    encoder: AudioEncoder,
    graph: Option<(SoundFormat, SoundGraph)>,
}

/// Why the sound ends early.
#[derive(Debug, thiserror::Error)]
enum SoundError {
    /// The packager is gone: this ends everything.
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("sound cannot be made: {0}")]
    Libav(#[from] Error),
    #[error("the sound has a gap of more than {GAP_SECONDS_MAX} s")]
    Gap,
    #[error("the sound is longer than allowed")]
    TooLong,
}

impl<'a> Sound<'a> {
    pub(super) fn new(
        track: AudioTrack,
        timeline: Timeline,
        wish: AudioWish,
        duration_ms_max: u64,
        shared: &'a Shared<'a>,
    ) -> Self {
        let end_ms = i64::try_from(duration_ms_max).unwrap_or(i64::MAX);
        let end_max = rescale(end_ms, Fraction::new(1, 1000), track.time_base);
        Self { track, timeline, wish, shared, end_max, work: None, is_started: false, note: None }
    }

    /// The index of its stream in the upload.
    pub(super) fn stream(&self) -> usize {
        self.track.index
    }

    /// Takes a packet of its stream; fails only when the packager is gone.
    pub(super) fn packet(&mut self, packet: &Packet) -> Result<(), RunError> {
        if self.note.is_some() {
            return Ok(());
        }
        // A packet that cannot be decoded is a gap, and becomes silence.
        let _ = self.track.decoder.send_packet(packet);
        let decoded = self.decoded();
        self.keep(decoded)
    }

    /// Ends the track; gives the note for people, empty when all is well.
    pub(super) fn finish(&mut self) -> Result<String, RunError> {
        if self.note.is_none() {
            let _ = self.track.decoder.send_eof();
            let flushed = self.decoded().and_then(|()| self.flush());
            self.keep(flushed)?;
        }
        if self.is_started {
            self.shared.send(&Frame::TrackEnd { track: self.wish.track })?;
        } else if self.note.is_none() {
            self.note = Some("no sound could be decoded".to_owned());
        }
        Ok(self.note.take().unwrap_or_default())
    }

    fn keep(&mut self, result: Result<(), SoundError>) -> Result<(), RunError> {
        match result {
            Ok(()) => Ok(()),
            Err(SoundError::Wire(error)) => Err(error.into()),
            Err(error) => {
                self.note = Some(error.to_string());
                Ok(())
            }
        }
    }

    fn decoded(&mut self) -> Result<(), SoundError> {
        let mut sound = frame::Audio::empty();
        while self.track.decoder.receive_frame(&mut sound).is_ok() {
            let ready = std::mem::replace(&mut sound, frame::Audio::empty());
            self.take(ready)?;
        }
        Ok(())
    }

    fn take(&mut self, mut sound: frame::Audio) -> Result<(), SoundError> {
        let format = libav::sound_format(&sound)?;
        let Some(sample) = Fraction::from_pair((1, format.sample_rate)) else {
            return Err(Error::InvalidData.into());
        };
        let samples = i64::try_from(sound.samples()).unwrap_or(0);
        let before = self.timeline.end();
        let length = rescale(samples, sample, self.track.time_base);
        let place = self.timeline.place(sound.timestamp(), length);
        let gap_max = rescale(GAP_SECONDS_MAX, Fraction::new(1, 1), self.track.time_base);
        if place.saturating_sub(before) > gap_max {
            return Err(SoundError::Gap);
        }
        if place > self.end_max {
            return Err(SoundError::TooLong);
        }
        sound.set_pts(Some(place));
        self.graph(format)?.push(sound)?;
        self.encode()
    }

    /// The graph for this format; a format that changes in the middle ends the graph before it.
    fn graph(&mut self, format: SoundFormat) -> Result<&mut SoundGraph, SoundError> {
        let channels = Channels::of(self.track.channels);
        if self.work.is_none() {
            let encoder = AudioEncoder::open(channels, self.wish.bitrate)?;
            self.work = Some(Work { encoder, graph: None });
        }
        let is_known = |work: &Work| work.graph.as_ref().is_some_and(|(known, _)| *known == format);
        if !self.work.as_ref().is_some_and(is_known) {
            self.close_graph()?;
            let work = self.work.as_mut().ok_or(Error::Bug)?;
            let chain = format!(
                "aresample={SAMPLE_RATE}:async=1:first_pts={},\
                 aformat=sample_fmts=fltp:channel_layouts={}",
                work.encoder.sent(),
                channels.name(),
            );
            let samples = work.encoder.frame_samples();
            let graph = SoundGraph::new(&format, self.track.time_base, &chain, samples)?;
            work.graph = Some((format, graph));
        }
        let graph = self.work.as_mut().and_then(|work| work.graph.as_mut());
        Ok(&mut graph.ok_or(Error::Bug)?.1)
    }

    fn close_graph(&mut self) -> Result<(), SoundError> {
        let end = self.timeline.end();
        if let Some((_, graph)) = self.work.as_mut().and_then(|work| work.graph.as_mut()) {
            graph.close(end)?;
        }
        self.encode()
    }

    fn flush(&mut self) -> Result<(), SoundError> {
        self.close_graph()?;
        if let Some(work) = &mut self.work {
            work.encoder.finish()?;
        }
        self.samples()
    }

    fn encode(&mut self) -> Result<(), SoundError> {
        let mut sound = frame::Audio::empty();
        while let Some(work) = &mut self.work
            && let Some((_, graph)) = &mut work.graph
            && graph.pull(&mut sound)?
        {
            work.encoder.send(&mut sound)?;
            self.samples()?;
        }
        Ok(())
    }

    fn samples(&mut self) -> Result<(), SoundError> {
        while let Some(work) = &mut self.work
            && let Some(sample) = work.encoder.receive()?
        {
            if !self.is_started {
                self.shared.send(&Frame::Track(start(self.wish.track, &work.encoder)))?;
                self.is_started = true;
            }
            self.shared.send_sample(self.wish.track, sample)?;
        }
        Ok(())
    }
}

fn start(track: u16, encoder: &AudioEncoder) -> TrackStart {
    TrackStart {
        track,
        timescale: SAMPLE_RATE,
        init_hex: hex::encode(encoder.init_segment()),
        priming: encoder.priming(),
        fps: None,
        encoder: "aac".to_owned(),
    }
}

/// A gap beyond this is a broken file; it would be filled with silence in memory.
const GAP_SECONDS_MAX: i64 = 60;
