//! The samples of one track become init segment and segments.
//!
//! The init segment is written at the first sample, when the reorder delay is known; each segment as soon as the
//! next one has begun. A track that ends without a sample is an error: an empty rendition plays nowhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::RenditionId,
    media_path::MediaObject,
    worker_frame::{Sample, TrackPlan, TrackStart},
};

use crate::{
    cmaf::{
        BoxError, EntryError, Expected, Group, NalError, SampleEntry, SegmentError, Segmenter,
        SegmenterLimits, Timing, check_nal_units, init_segment, segment,
    },
    media::{Rendition, RenditionKind, Segment},
    output::{Output, OutputError},
};

/// Section `[segment]`: how tracks are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length of a segment; a multiple of the GOP. Four seconds: half the requests of two, and a player that
    /// joins still waits little, since the first segment of the smallest rung is small.
    #[serde(with = "humantime_serde")]
    pub length: Duration,
    /// The most samples of one segment; 60 frames a second for 4 s are 240.
    pub samples_max: usize,
    /// The most bytes of one segment; also bounds the memory of one track to twice this.
    pub bytes_max: bytesize::ByteSize,
}

/// One track on its way.
#[derive(Debug)]
pub struct Track {
    id: RenditionId,
    kind: RenditionKind,
    entry: SampleEntry,
    timescale: u32,
    encoder: String,
    segmenter: Segmenter,
    has_init: bool,
    segments: Vec<Segment>,
}

/// Why a track is refused.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// Its init segment is not what was ordered.
    #[error("track {id}: {source}")]
    Entry {
        /// The rendition.
        id: RenditionId,
        /// Why.
        source: EntryError,
    },
    /// A number in its start that makes no sense.
    #[error("track {id}: {what}")]
    Start {
        /// The rendition.
        id: RenditionId,
        /// Which.
        what: &'static str,
    },
    /// A sample that is out of order or too much.
    #[error("track {id}: {source}")]
    Sample {
        /// The rendition.
        id: RenditionId,
        /// Why.
        source: SegmentError,
    },
    /// A sample that is no sequence of NAL units.
    #[error("track {id}: {source}")]
    Nal {
        /// The rendition.
        id: RenditionId,
        /// Why.
        source: NalError,
    },
    /// Ended without a sample.
    #[error("track {0} has no samples")]
    Empty(RenditionId),
    /// A box could not be written.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// An object could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(4),
            samples_max: 8192,
            bytes_max: bytesize::ByteSize::mib(64),
        }
    }
}

impl Config {
    /// Checks the length against the GOP, which players rely on.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self, gop_ms: u32) -> anyhow::Result<()> {
        let length = self.length.as_millis();
        anyhow::ensure!(
            (1000..=20_000).contains(&length) && length.is_multiple_of(gop_ms.into()),
            "segment.length is 1 s to 20 s and a multiple of ladder.gop_ms ({gop_ms}), not {length} ms"
        );
        Ok(())
    }
}

impl Track {
    /// Begins a track as the plan ordered it. `duration_max` bounds the number of its segments.
    ///
    /// # Errors
    /// [`TrackError`] when the worker's start does not fit the plan.
    pub fn begin(
        config: &Config,
        id: RenditionId,
        plan: &TrackPlan,
        start: TrackStart,
        duration_max: Duration,
    ) -> Result<Self, TrackError> {
        let bad = |what| TrackError::Start { id: id.clone(), what };
        if !(1..=TIMESCALE_MAX).contains(&start.timescale) {
            return Err(bad("a timescale out of range"));
        }
        if u64::from(start.priming) > u64::from(start.timescale) {
            return Err(bad("more than a second of priming"));
        }
        let init =
            hex::decode(&start.init_hex).map_err(|_| bad("an init segment that is no hex"))?;
        let expected = expected(plan);
        let entry = SampleEntry::from_minted(&init, expected)
            .map_err(|source| TrackError::Entry { id: id.clone(), source })?;
        let kind = match (expected, entry.audio(), start.fps) {
            (Expected::Video { width, height, .. }, _, Some(fps)) if fps.0 > 0 && fps.1 > 0 => {
                RenditionKind::Video { width, height, fps }
            }
            (Expected::Audio, Some((channels, sample_rate)), _) => {
                RenditionKind::Audio { channels, sample_rate: sample_rate.into() }
            }
            _ => return Err(bad("no frame rate")),
        };
        let timing = Timing {
            timescale: start.timescale,
            segment: ticks(config.length, start.timescale).max(1),
            priming: start.priming,
        };
        let segments = duration_max.as_millis() / config.length.as_millis().max(1) + SEGMENTS_SPARE;
        let limits = SegmenterLimits {
            samples_max: config.samples_max,
            bytes_max: usize::try_from(config.bytes_max.as_u64()).unwrap_or(usize::MAX),
            segments_max: u64::try_from(segments * 2).unwrap_or(u64::MAX),
        };
        let is_video = matches!(kind, RenditionKind::Video { .. });
        let encoder: String = start
            .encoder
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .take(ENCODER_CHARS_MAX)
            .collect();
        Ok(Self {
            id,
            kind,
            entry,
            timescale: start.timescale,
            encoder,
            segmenter: Segmenter::new(timing, is_video, limits),
            has_init: false,
            segments: Vec::new(),
        })
    }

    /// Takes the next sample; writes what became certain by it.
    ///
    /// # Errors
    /// [`TrackError`]; the track is unusable then.
    pub async fn push(&mut self, sample: Sample, output: &mut Output) -> Result<(), TrackError> {
        self.check(&sample)?;
        let ready = self
            .segmenter
            .push(sample)
            .map_err(|source| TrackError::Sample { id: self.id.clone(), source })?;
        if !self.has_init {
            self.has_init = true;
            let media_time = self.segmenter.media_time().unwrap_or(0);
            let init = init_segment(&self.entry, self.timescale, media_time)?;
            output.put(MediaObject::Init(self.id.clone()), init.into()).await?;
        }
        match ready {
            Some(group) => self.write(group, output).await,
            None => Ok(()),
        }
    }

    /// Ends the track: writes its last segments.
    ///
    /// # Errors
    /// [`TrackError`].
    pub async fn finish(mut self, output: &mut Output) -> Result<Rendition, TrackError> {
        let empty = Segmenter::new(NO_TIMING, false, NO_LIMITS);
        for group in std::mem::replace(&mut self.segmenter, empty).finish() {
            self.write(group, output).await?;
        }
        if self.segments.is_empty() {
            return Err(TrackError::Empty(self.id));
        }
        Ok(Rendition {
            id: self.id,
            kind: self.kind,
            codecs: self.entry.codecs().to_owned(),
            timescale: self.timescale,
            encoder: self.encoder,
            segments: self.segments,
        })
    }

    async fn write(&mut self, group: Group, output: &mut Output) -> Result<(), TrackError> {
        let number = self.segments.len() as u64 + 1;
        let is_video = matches!(self.kind, RenditionKind::Video { .. });
        let bytes = segment(number, group.decode_time, &group.samples, is_video)?;
        let length = bytes.len() as u64;
        output.put(MediaObject::Segment(self.id.clone(), number), bytes.into()).await?;
        self.segments.push(Segment { start: group.start, duration: group.duration, bytes: length });
        Ok(())
    }

    fn check(&self, sample: &Sample) -> Result<(), TrackError> {
        if matches!(self.kind, RenditionKind::Audio { .. }) {
            return Ok(());
        }
        check_nal_units(&sample.data)
            .map_err(|source| TrackError::Nal { id: self.id.clone(), source })
    }
}

fn expected(plan: &TrackPlan) -> Expected {
    match plan {
        TrackPlan::Video { encoder, width, height, .. } => Expected::Video {
            width: *width,
            height: *height,
            is_hevc: encoder.contains("265") || encoder.contains("hevc"),
        },
        TrackPlan::Audio { .. } => Expected::Audio,
    }
}

fn ticks(length: Duration, timescale: u32) -> u64 {
    u64::try_from(length.as_millis() * u128::from(timescale) / 1000).unwrap_or(u64::MAX)
}

const TIMESCALE_MAX: u32 = 10_000_000;
const ENCODER_CHARS_MAX: usize = 32;
/// Segments beyond what the longest upload needs: the grid of frames is not exact.
const SEGMENTS_SPARE: u128 = 8;
const NO_TIMING: Timing = Timing { timescale: 1, segment: 1, priming: 0 };
const NO_LIMITS: SegmenterLimits =
    SegmenterLimits { samples_max: 0, bytes_max: 0, segments_max: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_a_multiple_of_the_gop() {
        let config = |ms| Config { length: Duration::from_millis(ms), ..Config::default() };
        assert!(config(4000).check(2000).is_ok());
        for (length, gop) in [(3000, 2000), (500, 500), (40_000, 2000), (0, 2000)] {
            assert!(config(length).check(gop).is_err(), "{length} {gop}");
        }
    }
}
