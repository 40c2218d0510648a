//! Where segments begin.
//!
//! Samples come in decode order. A video segment ends before the first sync sample that stands about a target
//! duration after its own beginning, so all renditions with the same IDR times get the same boundaries; an audio
//! segment ends on the grid of the target duration. A short tail is appended to the segment before it, because a
//! player gains nothing from a request for 21 ms of sound. Pure: samples in, groups of samples out.
//!
//! **Invariant.** What is held in memory is bounded: two segments, each with a limit of samples and bytes.

use tidegate_contract::worker_frame::Sample;

/// What one segment may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmenterLimits {
    /// Samples.
    pub samples_max: usize,
    /// Bytes.
    pub bytes_max: usize,
    /// Segments of one track.
    pub segments_max: u64,
}

/// The times of one track, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Ticks per second.
    pub timescale: u32,
    /// How long a segment should be.
    pub segment: u64,
    /// Ticks of the first sample that stand before the presentation (audio priming).
    pub priming: u32,
}

/// The samples of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// When the first sample is decoded, in ticks from the track's first sample.
    pub decode_time: u64,
    /// When it is presented, in ticks from the beginning of the presentation.
    pub start: u64,
    /// How long it is presented, in ticks.
    pub duration: u64,
    /// In decode order.
    pub samples: Vec<Sample>,
}

/// Cuts the samples of one track into segments.
#[derive(Debug)]
pub struct Segmenter {
    timing: Timing,
    is_video: bool,
    limits: SegmenterLimits,
    /// Decode time of the first sample as the worker counts, and ticks before the presentation.
    origin: Option<Origin>,
    open: Vec<Sample>,
    open_bytes: usize,
    open_start: u64,
    /// Finished but for a tail that may follow.
    held: Option<Group>,
    segments: u64,
}

#[derive(Debug, Clone, Copy)]
struct Origin {
    dts: i64,
    media_time: u64,
}

/// Why a track's samples are refused: all of these are the worker's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The first sample cannot be decoded alone.
    #[error("the first sample is not a sync sample")]
    FirstSync,
    /// Decode times that do not grow, or leave a hole of more than ten seconds.
    #[error("decode time {found} follows {previous}")]
    Order {
        /// The time before.
        previous: i64,
        /// The time that does not follow.
        found: i64,
    },
    /// Presented before it is decoded, or far after.
    #[error("a composition offset of {0} ticks")]
    Offset(i32),
    /// A sample without bytes or without length.
    #[error("a sample of {bytes} bytes and {duration} ticks")]
    Sample {
        /// Its bytes.
        bytes: usize,
        /// Its ticks.
        duration: u32,
    },
    /// No boundary for too long.
    #[error("a segment of more than {limit} {what}")]
    TooLarge {
        /// Samples, bytes or segments.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl Segmenter {
    /// A segmenter for one track.
    #[must_use]
    pub fn new(timing: Timing, is_video: bool, limits: SegmenterLimits) -> Self {
        Self {
            timing,
            is_video,
            limits,
            origin: None,
            open: Vec::new(),
            open_bytes: 0,
            open_start: 0,
            held: None,
            segments: 0,
        }
    }

    /// Ticks before the presentation, for the init segment; known from the first sample on.
    #[must_use]
    pub fn media_time(&self) -> Option<u64> {
        self.origin.map(|origin| origin.media_time)
    }

    /// Takes the next sample; gives a segment when one is certain.
    ///
    /// # Errors
    /// [`SegmentError`] when the sample is out of order or above a limit; the track is unusable then.
    pub fn push(&mut self, sample: Sample) -> Result<Option<Group>, SegmentError> {
        self.check(&sample)?;
        let origin = *self.origin.get_or_insert(Origin {
            dts: sample.dts,
            media_time: u64::from(self.timing.priming)
                + u64::try_from(sample.composition_offset).unwrap_or(0),
        });
        self.stretch_previous(&sample);
        let start = presented(&sample, origin);
        let mut ready = None;
        if !self.open.is_empty() && self.begins_segment(&sample, start) {
            ready = self.close(start)?;
            self.open_start = start;
        }
        self.open_bytes += sample.data.len();
        self.open.push(sample);
        self.check_open()?;
        Ok(ready)
    }

    /// Ends the track; gives the last segments, none for a track without samples.
    #[must_use]
    pub fn finish(mut self) -> Vec<Group> {
        let Some(origin) = self.origin else { return Vec::new() };
        let end = self
            .open
            .iter()
            .map(|sample| presented(sample, origin) + u64::from(sample.duration))
            .max()
            .unwrap_or(self.open_start);
        let duration = end.saturating_sub(self.open_start);
        let tail = u64::from(self.timing.timescale) * TAIL_MS / 1000;
        match self.held.take() {
            Some(mut held) if duration < tail => {
                held.duration += duration;
                held.samples.append(&mut self.open);
                vec![held]
            }
            held => {
                let last = group(std::mem::take(&mut self.open), origin, self.open_start, duration);
                held.into_iter().chain(last).collect()
            }
        }
    }

    fn begins_segment(&self, sample: &Sample, start: u64) -> bool {
        if self.is_video {
            // A grid of frames never hits the target exactly; an eighth is far below a GOP.
            let enough = self.timing.segment - self.timing.segment / 8;
            sample.is_sync && start.saturating_sub(self.open_start) >= enough
        } else {
            start >= (self.open_start / self.timing.segment + 1) * self.timing.segment
        }
    }

    /// The open samples become the held segment; the one held before is certain.
    fn close(&mut self, end: u64) -> Result<Option<Group>, SegmentError> {
        self.segments += 1;
        if self.segments > self.limits.segments_max {
            return Err(SegmentError::TooLarge {
                what: "segments",
                limit: self.limits.segments_max,
            });
        }
        self.open_bytes = 0;
        let samples = std::mem::take(&mut self.open);
        let duration = end.saturating_sub(self.open_start);
        let closed =
            self.origin.and_then(|origin| group(samples, origin, self.open_start, duration));
        Ok(std::mem::replace(&mut self.held, closed))
    }

    /// A sample lasts until the next one, whatever its own length says: so nothing overlaps and nothing is lost.
    fn stretch_previous(&mut self, next: &Sample) {
        if let Some(previous) = self.open.last_mut() {
            let lasts = next.dts.saturating_sub(previous.dts);
            previous.duration = u32::try_from(lasts).unwrap_or(previous.duration);
        }
    }

    fn check(&self, sample: &Sample) -> Result<(), SegmentError> {
        let (bytes, duration) = (sample.data.len(), sample.duration);
        let gap_max = i64::from(self.timing.timescale) * GAP_SECONDS_MAX;
        if bytes == 0 || duration == 0 || i64::from(duration) > gap_max {
            return Err(SegmentError::Sample { bytes, duration });
        }
        if sample.composition_offset < 0 || i64::from(sample.composition_offset) > gap_max {
            return Err(SegmentError::Offset(sample.composition_offset));
        }
        match self.open.last() {
            None if self.is_video && self.origin.is_none() && !sample.is_sync => {
                Err(SegmentError::FirstSync)
            }
            None if sample.dts.unsigned_abs() > u64::from(u32::MAX) => {
                Err(SegmentError::Order { previous: 0, found: sample.dts })
            }
            Some(previous)
                if sample.dts <= previous.dts
                    || sample.dts.saturating_sub(previous.dts) > gap_max =>
            {
                Err(SegmentError::Order { previous: previous.dts, found: sample.dts })
            }
            _ => Ok(()),
        }
    }

    fn check_open(&self) -> Result<(), SegmentError> {
        let limits = self.limits;
        if self.open.len() > limits.samples_max {
            return Err(SegmentError::TooLarge {
                what: "samples",
                limit: limits.samples_max as u64,
            });
        }
        if self.open_bytes > limits.bytes_max {
            return Err(SegmentError::TooLarge { what: "bytes", limit: limits.bytes_max as u64 });
        }
        Ok(())
    }
}

/// When a sample is shown, from the beginning of the presentation; priming is shown at no time, so it is 0.
fn presented(sample: &Sample, origin: Origin) -> u64 {
    let ticks = sample.dts.saturating_sub(origin.dts) + i64::from(sample.composition_offset);
    u64::try_from(ticks).unwrap_or(0).saturating_sub(origin.media_time)
}

fn group(samples: Vec<Sample>, origin: Origin, start: u64, duration: u64) -> Option<Group> {
    let first = samples.first()?;
    let decode_time = u64::try_from(first.dts.saturating_sub(origin.dts)).unwrap_or(0);
    Some(Group { decode_time, start, duration, samples })
}

/// The longest hole between two samples, in seconds.
const GAP_SECONDS_MAX: i64 = 10;
/// A last segment shorter than this is appended to the one before.
const TAIL_MS: u64 = 500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: SegmenterLimits =
        SegmenterLimits { samples_max: 1000, bytes_max: 100_000, segments_max: 100 };

    fn sample(dts: i64, offset: i32, is_sync: bool) -> Sample {
        let (duration, data) = (1, vec![1; 10]);
        Sample { track: 0, is_sync, dts, composition_offset: offset, duration, data }
    }

    /// Video at 10 frames a second, a GOP of 20 and a reorder delay of two frames.
    fn video(frames: i64, shift: i64) -> Result<(u64, Vec<Group>), SegmentError> {
        let timing = Timing { timescale: 10, segment: 40, priming: 0 };
        let mut segmenter = Segmenter::new(timing, true, LIMITS);
        let mut groups = Vec::new();
        for n in 0..frames {
            groups.extend(segmenter.push(sample(n + shift, 2, n % 20 == 0))?);
        }
        let media_time = segmenter.media_time().unwrap_or(0);
        groups.extend(segmenter.finish());
        Ok((media_time, groups))
    }

    fn spans(groups: &[Group]) -> Vec<(u64, u64, usize)> {
        groups.iter().map(|group| (group.start, group.duration, group.samples.len())).collect()
    }

    #[test]
    fn video_is_cut_at_sync_samples_wherever_its_clock_begins() {
        for shift in [0, -2, 7] {
            let (media_time, groups) = video(100, shift).expect("good samples");
            assert_eq!(media_time, 2);
            assert_eq!(spans(&groups), [(0, 40, 40), (40, 40, 40), (80, 20, 20)]);
            assert_eq!(groups[1].decode_time, 40);
            assert!(groups.iter().all(|group| group.samples[0].is_sync));
        }
    }

    #[test]
    fn a_short_tail_joins_the_segment_before() {
        let (_, groups) = video(84, 0).expect("good samples");
        assert_eq!(spans(&groups), [(0, 40, 40), (40, 44, 44)]);
        let (_, groups) = video(3, 0).expect("good samples");
        assert_eq!(spans(&groups), [(0, 3, 3)], "a short video is one segment");
    }

    #[test]
    fn priming_is_no_part_of_the_presentation() {
        let timing = Timing { timescale: 48_000, segment: 48_000, priming: 1024 };
        let mut segmenter = Segmenter::new(timing, false, LIMITS);
        let mut groups = Vec::new();
        for n in 0..96 {
            let sample = Sample { duration: 1024, ..sample(n * 1024 - 1024, 0, true) };
            groups.extend(segmenter.push(sample).expect("good samples"));
        }
        assert_eq!(segmenter.media_time(), Some(1024));
        groups.extend(segmenter.finish());
        // 48 frames reach 48128 ticks past the priming's end; the second segment gets the rest, tail included.
        assert_eq!(spans(&groups), [(0, 47 * 1024, 48), (47 * 1024, 48 * 1024, 48)]);
        assert_eq!(groups[1].decode_time, 48 * 1024);
    }

    #[test]
    fn bad_samples_are_refused() {
        let timing = Timing { timescale: 10, segment: 40, priming: 0 };
        let check = |samples: &[Sample]| {
            let mut segmenter = Segmenter::new(timing, true, LIMITS);
            samples.iter().cloned().try_for_each(|sample| segmenter.push(sample).map(drop))
        };
        let first = sample(0, 0, true);
        assert_eq!(check(&[sample(0, 0, false)]), Err(SegmentError::FirstSync));
        for next in [0, -1, 1000, i64::MAX, i64::MIN] {
            let order = SegmentError::Order { previous: 0, found: next };
            assert_eq!(check(&[first.clone(), sample(next, 0, false)]), Err(order));
        }
        assert!(check(&[sample(i64::MIN, 0, true)]).is_err());
        assert!(check(&[sample(0, -1, true)]).is_err());
        assert!(check(&[sample(0, i32::MAX, true)]).is_err());
        assert!(check(&[Sample { data: vec![], ..first.clone() }]).is_err());
        assert!(check(&[Sample { duration: 0, ..first.clone() }]).is_err());
        assert!(check(&[Sample { duration: u32::MAX, ..first.clone() }]).is_err());
        assert!(check(&[Sample { data: vec![0; 100_001], ..first }]).is_err());
    }

    #[test]
    fn a_track_without_boundaries_ends_at_the_limit() {
        let timing = Timing { timescale: 10, segment: 40, priming: 0 };
        let mut segmenter = Segmenter::new(timing, true, LIMITS);
        let refused = (0..2000).find(|&n| segmenter.push(sample(n, 0, n == 0)).is_err());
        assert_eq!(refused, Some(1000));
    }

    proptest! {
        #[test]
        fn no_sample_is_lost_and_segments_touch(frames in 1_i64..700, delay in 0_i32..5, gop in 1_i64..50) {
            let timing = Timing { timescale: 10, segment: 40, priming: 0 };
            let mut segmenter = Segmenter::new(timing, true, LIMITS);
            let mut groups = Vec::new();
            for n in 0..frames {
                groups.extend(segmenter.push(sample(n, delay, n % gop == 0)).expect("good samples"));
            }
            groups.extend(segmenter.finish());
            let dts: Vec<i64> = groups.iter().flat_map(|g| &g.samples).map(|s| s.dts).collect();
            prop_assert_eq!(dts, (0..frames).collect::<Vec<_>>());
            let mut end = 0;
            for group in &groups {
                prop_assert_eq!(group.start, end);
                prop_assert!(group.duration > 0);
                end += group.duration;
            }
            prop_assert_eq!(end, u64::try_from(frames).expect("positive"));
        }
    }
}
