//! Everything a worker gave, and what must hold for any rendition.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Done, Frame, Image, ImageKind, Probe, Sample, TrackStart},
};

/// What came before, during and after the plan.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) probe: Option<Probe>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stderr: String,
}

/// One finished track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) start: TrackStart,
    pub(crate) samples: Vec<Sample>,
}

impl Outcome {
    pub(crate) fn probe(&self) -> &Probe {
        self.probe.as_ref().expect("a probe came")
    }

    /// The summary; the run must have ended well.
    pub(crate) fn done(&self) -> &Done {
        self.expect_clean_end();
        match self.frames.last() {
            Some(Frame::Done(done)) => done,
            other => panic!("the last frame is {other:?}, stderr: {}", self.stderr),
        }
    }

    /// The verdict; the run must have ended with one, and not by a signal.
    pub(crate) fn failure(&self) -> (FailureReason, &str) {
        self.expect_clean_end();
        match self.frames.last() {
            Some(Frame::Failed { reason, detail }) => (*reason, detail),
            other => panic!("the last frame is {other:?}, stderr: {}", self.stderr),
        }
    }

    /// A track that began, has sound samples and ended.
    pub(crate) fn track(&self, number: u16) -> Track {
        let place = |wanted: fn(&Frame) -> Option<u16>| {
            self.frames.iter().position(|frame| wanted(frame) == Some(number))
        };
        let begin = place(|frame| match frame {
            Frame::Track(start) => Some(start.track),
            _ => None,
        });
        let end = place(|frame| match frame {
            Frame::TrackEnd { track } => Some(*track),
            _ => None,
        });
        let (Some(begin), Some(end)) = (begin, end) else {
            panic!("track {number} began at {begin:?} and ended at {end:?}: {}", self.stderr);
        };
        let Frame::Track(start) = &self.frames[begin] else { unreachable!("found above") };
        let samples: Vec<_> = (begin..end)
            .filter_map(|place| self.sample(place))
            .filter(|sample| sample.track == number)
            .cloned()
            .collect();
        let all = (0..self.frames.len()).filter_map(|place| self.sample(place));
        let all = all.filter(|sample| sample.track == number).count();
        assert_eq!(samples.len(), all, "all samples of {number} lie between its begin and end");
        let track = Track { start: start.clone(), samples };
        track.expect_sound_times();
        track
    }

    /// Where a track ended, counted in frames of the wire.
    pub(crate) fn end_of(&self, number: u16) -> usize {
        let is_end = |frame: &Frame| matches!(frame, Frame::TrackEnd { track } if *track == number);
        self.frames.iter().position(is_end).expect("the track ended")
    }

    /// Where the last sample of a track came.
    pub(crate) fn last_sample_of(&self, number: u16) -> usize {
        let is_sample = |frame: &Frame| matches!(frame, Frame::Sample(it) if it.track == number);
        self.frames.iter().rposition(is_sample).expect("the track has samples")
    }

    /// Images of a kind, in the order they came.
    pub(crate) fn images(&self, kind: ImageKind) -> Vec<&Image> {
        let images = self.frames.iter().filter_map(image);
        images.filter(|image| image.kind == kind).collect()
    }

    /// Thousandths in the order they came.
    pub(crate) fn progress(&self) -> Vec<u16> {
        let permille = |frame: &Frame| match frame {
            Frame::Progress { permille } => Some(*permille),
            _ => None,
        };
        self.frames.iter().filter_map(permille).collect()
    }

    fn sample(&self, place: usize) -> Option<&Sample> {
        match &self.frames[place] {
            Frame::Sample(sample) => Some(sample),
            _ => None,
        }
    }

    fn expect_clean_end(&self) {
        let status = self.status.expect("the worker was waited for");
        assert_eq!(status.signal(), None, "ended by a signal: {}", self.stderr);
        assert_eq!(status.code(), Some(0), "stderr: {}", self.stderr);
    }
}

impl Track {
    /// Seconds at which decoding can start, from the first picture on.
    pub(crate) fn sync_ms(&self) -> Vec<u64> {
        let first = self.samples[0].presentation();
        let sync = self.samples.iter().filter(|sample| sample.is_sync);
        sync.map(|sample| self.ms(sample.presentation() - first)).collect()
    }

    /// Length of the presentation in milliseconds, priming left out.
    pub(crate) fn length_ms(&self) -> u64 {
        let ticks: i64 = self.samples.iter().map(|sample| i64::from(sample.duration)).sum();
        self.ms(ticks - i64::from(self.start.priming))
    }

    fn ms(&self, ticks: i64) -> u64 {
        u64::try_from(ticks).expect("not negative") * 1000 / u64::from(self.start.timescale)
    }

    /// Decode times without gaps from zero on, presentation times without gaps, a sync sample first.
    fn expect_sound_times(&self) {
        assert!(self.samples[0].is_sync, "decoding starts with the first sample");
        let mut due = 0;
        for sample in &self.samples {
            assert_eq!(sample.dts, due, "decode times have no gaps");
            assert!(sample.composition_offset >= 0);
            assert!(!sample.data.is_empty());
            due += i64::from(sample.duration);
        }
        let mut shown: Vec<i64> = self.samples.iter().map(Presentation::presentation).collect();
        shown.sort_unstable();
        assert_eq!(shown[0], self.samples[0].presentation(), "the first sample is shown first");
        let steps = shown.windows(2).map(|pair| pair[1] - pair[0]);
        let usual = i64::from(self.samples[0].duration);
        assert!(steps.into_iter().all(|step| step == usual), "presentation times have no gaps");
    }
}

trait Presentation {
    fn presentation(&self) -> i64;
}

impl Presentation for Sample {
    fn presentation(&self) -> i64 {
        self.dts + i64::from(self.composition_offset)
    }
}

fn image(frame: &Frame) -> Option<&Image> {
    match frame {
        Frame::Image(image) => Some(image),
        _ => None,
    }
}
