//! The words that packaging shares: a rendition, its segments, and the rates that follow from them.
//!
//! Times are ticks of the rendition's timescale and count from the beginning of the presentation, so audio
//! priming and the reorder delay of video are already taken off.

use std::time::Duration;

use tidegate_contract::id::RenditionId;

/// One quality of the ladder, packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Its id in URLs: `360p`, `hevc-1080p`, `audio`.
    pub id: RenditionId,
    /// Picture or sound.
    pub kind: RenditionKind,
    /// Codec string (RFC 6381).
    pub codecs: String,
    /// Ticks per second.
    pub timescale: u32,
    /// The encoder that made it.
    pub encoder: String,
    /// Its segments, numbered from 1 in this order.
    pub segments: Vec<Segment>,
}

/// What a rendition shows or plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenditionKind {
    /// Picture.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames per second, as a fraction.
        fps: (u32, u32),
    },
    /// Sound.
    Audio {
        /// Channels: 1 or 2.
        channels: u16,
        /// Samples per second.
        sample_rate: u32,
    },
}

/// One segment as manifests name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// When it begins, in ticks.
    pub start: u64,
    /// How long it lasts, in ticks.
    pub duration: u64,
    /// The length of its object.
    pub bytes: u64,
}

impl Rendition {
    /// Whether it is picture.
    #[must_use]
    pub fn is_video(&self) -> bool {
        matches!(self.kind, RenditionKind::Video { .. })
    }

    /// The first word of the codec string: renditions of one family can replace one another while playing.
    #[must_use]
    pub fn family(&self) -> &str {
        self.codecs.split('.').next().unwrap_or_default()
    }

    /// Ticks from the first segment's beginning to the last one's end.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    /// Length of the presentation.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let nanos = u128::from(self.ticks()) * 1_000_000_000 / u128::from(self.timescale.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Bits per second of the heaviest segment. A short last segment does not count: its rate says nothing about
    /// what a player must sustain (RFC 8216 4.3.4.2 looks at half a target duration and more).
    #[must_use]
    pub fn peak_bandwidth(&self) -> u64 {
        let longest = self.segments.iter().map(|segment| segment.duration).max().unwrap_or(0);
        self.segments
            .iter()
            .filter(|segment| segment.duration.saturating_mul(2) >= longest)
            .map(|segment| rate(segment.bytes, segment.duration, self.timescale))
            .max()
            .unwrap_or(0)
    }

    /// Bits per second over the whole length.
    #[must_use]
    pub fn average_bandwidth(&self) -> u64 {
        let bytes = self.segments.iter().map(|segment| segment.bytes).sum();
        rate(bytes, self.ticks(), self.timescale)
    }
}

/// Rounded up, because a player that is told less than it needs stalls.
fn rate(bytes: u64, ticks: u64, timescale: u32) -> u64 {
    if ticks == 0 {
        return 0;
    }
    let bits = u128::from(bytes) * 8 * u128::from(timescale);
    u64::try_from(bits.div_ceil(u128::from(ticks))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendition(segments: &[(u64, u64)]) -> Rendition {
        let mut start = 0;
        let segments = segments
            .iter()
            .map(|&(duration, bytes)| {
                let segment = Segment { start, duration, bytes };
                start += duration;
                segment
            })
            .collect();
        Rendition {
            id: RenditionId::parse("audio").expect("a plain id"),
            kind: RenditionKind::Audio { channels: 2, sample_rate: 1000 },
            codecs: "mp4a.40.2".into(),
            timescale: 1000,
            encoder: "aac".into(),
            segments,
        }
    }

    #[test]
    fn the_peak_ignores_a_short_tail_and_the_average_does_not() {
        let rendition = rendition(&[(4000, 4000), (4000, 6000), (500, 5000)]);
        assert_eq!(rendition.peak_bandwidth(), 12_000);
        assert_eq!(rendition.average_bandwidth(), 14_118);
        assert_eq!(rendition.duration(), Duration::from_millis(8500));
    }

    #[test]
    fn nothing_has_no_rate() {
        assert_eq!((rendition(&[]).peak_bandwidth(), rendition(&[]).average_bandwidth()), (0, 0));
    }
}
