//! What of one track is there and not played yet.
//!
//! Invariant: chunks stand in order and touch; a gap is a chunk without media. A byte that came is either played or
//! wasted in the end, by the share of its chunk's time that was played.

use std::{collections::VecDeque, time::Duration};

/// A segment, a part, or a gap, on the media's time axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chunk {
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) bytes: u64,
    /// Declared bits per second of its rendition; 0 when nothing is declared.
    pub(super) bitrate: u64,
    pub(super) is_gap: bool,
    /// How much of it was played.
    pub(super) played: Duration,
}

/// The chunks ahead of the play head.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    chunks: VecDeque<Chunk>,
    gaps: usize,
    wasted_bytes: u64,
}

impl Buffer {
    /// Adds what comes next. A hole before it becomes a gap; what it has in common with the last chunk is left out.
    pub(super) fn push(&mut self, mut chunk: Chunk) {
        if let Some(end) = self.end() {
            if chunk.end <= end {
                self.wasted_bytes += chunk.bytes;
                return;
            }
            if chunk.start > end {
                self.add(Chunk::gap(end, chunk.start));
            }
            chunk.start = chunk.start.max(end);
        }
        self.add(chunk);
    }

    /// Where the media that is there ends; `None` when nothing is there.
    pub(super) fn end(&self) -> Option<Duration> {
        self.chunks.back().map(|chunk| chunk.end)
    }

    /// Media that can be played from there on without a pause.
    pub(super) fn ahead(&self, position: Duration) -> Duration {
        let Some(first) = self.chunks.front() else { return Duration::ZERO };
        if first.start > position {
            return Duration::ZERO;
        }
        if self.gaps == 0 {
            return self.end().unwrap_or_default().saturating_sub(position);
        }
        let media = self.chunks.iter().filter(|chunk| !chunk.is_gap);
        media.map(|chunk| chunk.end.saturating_sub(chunk.start.max(position))).sum()
    }

    /// The chunk that is played at this position.
    pub(super) fn at(&self, position: Duration) -> Option<&Chunk> {
        self.chunks.iter().find(|chunk| chunk.start <= position && position < chunk.end)
    }

    /// Where playing goes on when there is a gap at this position and media behind it.
    pub(super) fn past_gap(&self, position: Duration) -> Option<Duration> {
        let mut chunks = self.chunks.iter().skip_while(|chunk| chunk.end <= position);
        let mut after = None;
        for chunk in &mut chunks {
            if chunk.start > position && after.is_none() {
                return None;
            }
            if !chunk.is_gap {
                return after;
            }
            after = Some(chunk.end);
        }
        None
    }

    /// Marks as played, and forgets what lies behind.
    pub(super) fn play(&mut self, from: Duration, to: Duration) {
        for chunk in self.chunks.iter_mut().take_while(|chunk| chunk.start < to) {
            let played = to.min(chunk.end).saturating_sub(from.max(chunk.start));
            chunk.played += played;
        }
        self.forget_before(to);
    }

    /// Drops what ends at or before this position.
    pub(super) fn forget_before(&mut self, position: Duration) {
        while self.chunks.front().is_some_and(|chunk| chunk.end <= position) {
            self.drop_first();
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        while !self.chunks.is_empty() {
            self.drop_first();
        }
    }

    /// Bytes that came and were not played, of all that was dropped so far.
    pub(super) fn wasted_bytes(&self) -> u64 {
        self.wasted_bytes
    }

    fn add(&mut self, chunk: Chunk) {
        if chunk.end > chunk.start {
            self.gaps += usize::from(chunk.is_gap);
            self.chunks.push_back(chunk);
        }
    }

    fn drop_first(&mut self) {
        let Some(chunk) = self.chunks.pop_front() else { return };
        self.gaps -= usize::from(chunk.is_gap);
        let length = (chunk.end - chunk.start).as_secs_f64();
        let unplayed = (1.0 - chunk.played.as_secs_f64() / length).clamp(0.0, 1.0);
        self.wasted_bytes += (chunk.bytes as f64 * unplayed).round() as u64;
    }
}

impl Chunk {
    /// A stretch in which there is nothing to play.
    pub(super) fn gap(start: Duration, end: Duration) -> Self {
        Self { start, end, bytes: 0, bitrate: 0, is_gap: true, played: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_no_media_and_is_passed() {
        let mut buffer = Buffer::default();
        buffer.push(chunk(0, 2));
        buffer.push(Chunk::gap(secs(2), secs(4)));
        assert_eq!(buffer.past_gap(secs(2)), None, "nothing is behind it yet");
        assert_eq!(buffer.ahead(secs(2)), Duration::ZERO);
        buffer.push(chunk(5, 6)); // and a hole from 4 to 5
        assert_eq!(buffer.ahead(secs(1)), secs(2));
        assert_eq!(buffer.past_gap(secs(2)), Some(secs(5)));
        assert_eq!(buffer.past_gap(secs(1)), None);
        assert_eq!(buffer.at(secs(5)), Some(&chunk(5, 6)));
        assert!(buffer.at(secs(3)).unwrap().is_gap);
        assert_eq!(buffer.at(secs(6)), None);
    }

    #[test]
    fn bytes_are_played_or_wasted() {
        let mut buffer = Buffer::default();
        buffer.push(chunk(0, 2));
        buffer.push(chunk(2, 4));
        buffer.push(chunk(4, 6));
        buffer.push(chunk(1, 3)); // came again: of no use
        buffer.play(secs(0), secs(3));
        assert_eq!(buffer.wasted_bytes(), 100);
        assert_eq!(buffer.ahead(secs(3)), secs(3));
        buffer.clear();
        assert_eq!(buffer.wasted_bytes(), 100 + 50 + 100);
        assert_eq!(buffer.end(), None);
        assert_eq!(buffer.ahead(secs(3)), Duration::ZERO);
    }

    #[test]
    fn nothing_is_ahead_of_a_position_before_the_first_chunk() {
        let mut buffer = Buffer::default();
        buffer.push(chunk(4, 6));
        assert_eq!(buffer.ahead(secs(3)), Duration::ZERO);
        assert_eq!(buffer.past_gap(secs(3)), None);
        assert_eq!(buffer.ahead(secs(5)), secs(1));
        buffer.forget_before(secs(6));
        assert_eq!((buffer.end(), buffer.wasted_bytes()), (None, 100));
    }

    fn chunk(start: u64, end: u64) -> Chunk {
        let (start, end) = (secs(start), secs(end));
        Chunk { start, end, bytes: 100, bitrate: 0, is_gap: false, played: Duration::ZERO }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
}
