//! The play head: moves with the time that is handed in, stops exactly where the media ends, and counts what a viewer
//! sees.
//!
//! Invariant: every moment between the request to play and the end is starting, playing, stalled or seeking, and one
//! of them only. A stall begins when the media ran out, however late that was noticed.

use std::time::Duration;

use super::{
    buffer::Buffer,
    event::{Stall, View, ViewEnd},
};

/// One view, from the request to play on.
#[derive(Debug)]
pub(super) struct Playhead {
    state: State,
    /// On the media's time axis.
    position: Duration,
    /// Everything is accounted until then.
    at: Duration,
    begun: Duration,
    startup: Option<Duration>,
    played: Duration,
    stalls: Vec<Stall>,
    seeking: Duration,
    seeks: u32,
    jumps: u32,
    switches_up: u32,
    switches_down: u32,
    bitrate: Option<u64>,
    /// Bits per second times seconds, and the seconds for which they are known.
    bits: f64,
    bits_time: f64,
    /// Microseconds of latency times microseconds of playing, and those.
    latency: f64,
    latency_time: f64,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Playing,
    Stalled { since: Duration },
    Seeking { since: Duration },
}

/// The media ahead.
pub(super) struct Media<'a> {
    pub(super) main: &'a mut Buffer,
    pub(super) audio: Option<&'a mut Buffer>,
    /// Nothing comes after what is in the buffer.
    pub(super) is_main_complete: bool,
    pub(super) is_audio_complete: bool,
}

/// Up to what the play head goes by itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    /// How much media the viewer wants to see in this view.
    pub(super) wanted: Option<Duration>,
    /// After how much of it the viewer seeks.
    pub(super) seek_after: Option<Duration>,
    pub(super) patience_start: Option<Duration>,
    pub(super) patience_stall: Option<Duration>,
    /// Live: microseconds that the wall clock is ahead of the session's time and the media's axis; the latency is
    /// this, plus the time, minus the position.
    pub(super) live_shift_us: Option<i64>,
    /// Speed, and until when; then it is 1 again.
    pub(super) rate: Option<(f64, Duration)>,
}

/// What the play head came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The media ran out; a stall has begun.
    Dry,
    /// All of the content was played.
    Ended,
    /// As much was played as the viewer wanted.
    Enough,
    SeekDue,
    OutOfPatience,
}

impl Playhead {
    /// The viewer asks for the video now.
    pub(super) fn new(now: Duration, position: Duration) -> Self {
        Self {
            state: State::Starting,
            position,
            at: now,
            begun: now,
            startup: None,
            played: Duration::ZERO,
            stalls: Vec::new(),
            seeking: Duration::ZERO,
            seeks: 0,
            jumps: 0,
            switches_up: 0,
            switches_down: 0,
            bitrate: None,
            bits: 0.0,
            bits_time: 0.0,
            latency: 0.0,
            latency_time: 0.0,
        }
    }

    /// Goes on to `to`, or to the first moment before at which something is to be decided; the rest is then still to
    /// come. Times before the last one change nothing.
    pub(super) fn advance(
        &mut self,
        to: Duration,
        media: &mut Media<'_>,
        limits: &Limits,
    ) -> Option<Moment> {
        // Each round ends a chunk, a gap or the walk: there are as many rounds as chunks.
        while self.state == State::Playing {
            if let Some(moment) = self.decide(media, limits) {
                return Some(moment);
            }
            if self.at >= to {
                return None;
            }
            self.play(to, media, limits);
        }
        let patience_ends = self.patience_ends(limits);
        if patience_ends.is_some_and(|end| end <= to) {
            self.at = patience_ends.unwrap_or(to).max(self.at);
            return Some(Moment::OutOfPatience);
        }
        self.at = self.at.max(to);
        None
    }

    /// When it comes to something by itself, if nothing happens before; for waking up.
    pub(super) fn next_moment(&self, media: &Media<'_>, limits: &Limits) -> Option<Duration> {
        if self.state != State::Playing {
            return self.patience_ends(limits);
        }
        let (rate, until) = limits.rate.filter(|(_, until)| *until > self.at).unzip();
        let mut media_left = self.ahead(media);
        for limit in [limits.wanted, limits.seek_after].into_iter().flatten() {
            media_left = media_left.min(limit.saturating_sub(self.played));
        }
        let moment = self.at + rate.map_or(media_left, |rate| media_left.div_f64(rate));
        Some(until.map_or(moment, |until| moment.min(until)))
    }

    /// Begins or goes on, if it waits and enough is there. `needed` is media ahead; `is_all_there` says that no more
    /// can come for now, so that less is enough.
    pub(super) fn start(
        &mut self,
        media: &Media<'_>,
        needed: Duration,
        is_all_there: bool,
    ) -> bool {
        if self.state == State::Playing {
            return false;
        }
        while let Some(position) = past_gap(media, self.position) {
            self.position = position;
        }
        let ahead = self.ahead(media);
        let is_at_end = media.is_main_complete && self.is_past_main(media);
        if !is_at_end && (ahead.is_zero() || (ahead < needed && !is_all_there)) {
            return false;
        }
        self.leave_waiting();
        if self.startup.is_none() {
            self.startup = Some(self.at - self.begun);
        }
        self.state = State::Playing;
        self.note_bitrate(media);
        true
    }

    /// The viewer wants to see another place.
    pub(super) fn seek(&mut self, position: Duration) {
        self.leave_waiting();
        self.state = State::Seeking { since: self.at };
        self.position = position;
        self.seeks += 1;
    }

    /// The player leaves media out to be nearer to the live edge; not the viewer's wish.
    pub(super) fn jump(&mut self, position: Duration) {
        self.position = position;
        self.jumps += 1;
    }

    /// Before the first frame: where playing will begin.
    pub(super) fn place(&mut self, position: Duration) {
        if self.startup.is_none() {
            self.position = position;
        }
    }

    /// The view is over; what it was like. Bytes in the buffers are for the caller to count.
    pub(super) fn finish(mut self, end: ViewEnd) -> View {
        self.leave_waiting();
        View {
            startup: self.startup,
            end,
            played: self.played,
            stalls: self.stalls,
            seeking: self.seeking,
            mean_bitrate: (self.bits_time > 0.0).then(|| self.bits / self.bits_time),
            switches_up: self.switches_up,
            switches_down: self.switches_down,
            seeks: self.seeks,
            jumps: self.jumps,
            live_latency: (self.latency_time > 0.0).then(|| {
                Duration::from_secs_f64((self.latency / self.latency_time).max(0.0) / 1e6)
            }),
            pathway_switches: 0,
            wasted_bytes: 0,
            reason: None,
        }
    }

    /// Media that can be played without a pause.
    pub(super) fn ahead(&self, media: &Media<'_>) -> Duration {
        let main = media.main.ahead(self.position);
        match &media.audio {
            // Sound that ends early does not end the picture.
            Some(audio) if !media.is_audio_complete => main.min(audio.ahead(self.position)),
            _ => main,
        }
    }

    /// Everything is accounted until then.
    pub(super) fn at(&self) -> Duration {
        self.at
    }

    pub(super) fn position(&self) -> Duration {
        self.position
    }

    pub(super) fn played(&self) -> Duration {
        self.played
    }

    pub(super) fn has_started(&self) -> bool {
        self.startup.is_some()
    }

    pub(super) fn is_playing(&self) -> bool {
        self.state == State::Playing
    }

    pub(super) fn is_stalled(&self) -> bool {
        matches!(self.state, State::Stalled { .. })
    }

    /// How far it is behind the wall clock.
    pub(super) fn latency(&self, live_shift_us: i64) -> Duration {
        Duration::from_micros(self.latency_us(live_shift_us).max(0) as u64)
    }

    /// What is to be decided right here. Gaps are passed; a run-out begins a stall.
    fn decide(&mut self, media: &mut Media<'_>, limits: &Limits) -> Option<Moment> {
        if let Some(position) = past_gap(media, self.position) {
            self.position = position;
        }
        if limits.wanted.is_some_and(|wanted| wanted <= self.played) {
            return Some(Moment::Enough);
        }
        if media.is_main_complete && self.is_past_main(media) {
            return Some(Moment::Ended);
        }
        if limits.seek_after.is_some_and(|after| after <= self.played) {
            return Some(Moment::SeekDue);
        }
        if self.ahead(media).is_zero() {
            self.state = State::Stalled { since: self.at };
            return Some(Moment::Dry);
        }
        self.note_bitrate(media);
        None
    }

    /// Plays up to the next boundary.
    fn play(&mut self, to: Duration, media: &mut Media<'_>, limits: &Limits) {
        let mut step = self.ahead(media);
        for limit in [limits.wanted, limits.seek_after].into_iter().flatten() {
            step = step.min(limit - self.played);
        }
        let buffers = [Some(&*media.main), media.audio.as_deref()];
        for chunk in buffers.into_iter().flatten().filter_map(|buffer| buffer.at(self.position)) {
            step = step.min(chunk.end - self.position);
        }
        let rate = limits.rate.filter(|(_, until)| *until > self.at);
        let (took, step) = match rate {
            None => {
                let took = step.min(to - self.at);
                (took, took)
            }
            Some((rate, until)) => {
                let most = to.min(until) - self.at;
                let took = step.div_f64(rate);
                if took <= most { (took, step) } else { (most, most.mul_f64(rate).min(step)) }
            }
        };
        self.count(step, took, media, limits);
        self.at += took;
        self.position += step;
        self.played += step;
    }

    fn count(&mut self, step: Duration, took: Duration, media: &mut Media<'_>, limits: &Limits) {
        if let Some(bitrate) = self.bitrate {
            self.bits += bitrate as f64 * step.as_secs_f64();
            self.bits_time += step.as_secs_f64();
        }
        if let Some(shift) = limits.live_shift_us {
            let before = self.latency_us(shift);
            // The latency changes evenly while the speed is not 1.
            let change = took.as_micros() as i64 - step.as_micros() as i64;
            let middle = before as f64 + change as f64 / 2.0;
            self.latency += middle.max(0.0) * took.as_micros() as f64;
            self.latency_time += took.as_micros() as f64;
        }
        let to = self.position + step;
        media.main.play(self.position, to);
        if let Some(audio) = &mut media.audio {
            audio.play(self.position, to);
        }
    }

    fn latency_us(&self, live_shift_us: i64) -> i64 {
        let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        us(self.at).saturating_add(live_shift_us).saturating_sub(us(self.position))
    }

    /// The chunk under the play head decides which rendition is seen.
    fn note_bitrate(&mut self, media: &Media<'_>) {
        let Some(chunk) = media.main.at(self.position).filter(|chunk| !chunk.is_gap) else {
            return;
        };
        let measured = || {
            let seconds = (chunk.end - chunk.start).as_secs_f64();
            (chunk.bytes as f64 * 8.0 / seconds).round() as u64
        };
        match self.bitrate {
            Some(before) if chunk.bitrate > before && chunk.bitrate > 0 => self.switches_up += 1,
            Some(before) if chunk.bitrate < before && chunk.bitrate > 0 => self.switches_down += 1,
            _ => {}
        }
        self.bitrate = Some(if chunk.bitrate > 0 { chunk.bitrate } else { measured() });
    }

    /// Accounts a wait that ends now.
    fn leave_waiting(&mut self) {
        match self.state {
            State::Stalled { since } if self.at > since => {
                let stall = Stall { at: since, duration: self.at - since };
                let is_full = self.stalls.len() >= STALLS_MAX;
                if is_full && let Some(last) = self.stalls.last_mut() {
                    last.duration += stall.duration;
                } else {
                    self.stalls.push(stall);
                }
            }
            State::Seeking { since } => self.seeking += self.at - since,
            _ => {}
        }
    }

    fn patience_ends(&self, limits: &Limits) -> Option<Duration> {
        match self.state {
            State::Starting => Some(self.begun + limits.patience_start?),
            State::Stalled { since } | State::Seeking { since } => {
                Some(since + limits.patience_stall?)
            }
            State::Playing => None,
        }
    }

    fn is_past_main(&self, media: &Media<'_>) -> bool {
        media.main.ahead(self.position).is_zero()
    }
}

/// Where playing goes on behind a gap in one of the tracks.
fn past_gap(media: &Media<'_>, position: Duration) -> Option<Duration> {
    let audio = media.audio.as_deref().and_then(|audio| audio.past_gap(position));
    media.main.past_gap(position).max(audio)
}

/// Stalls that are listed one by one; in a view with more, the last takes the rest.
const STALLS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::{super::buffer::Chunk, *};

    #[test]
    fn startup_stalls_and_the_end_are_exact_however_late_they_are_noticed() {
        let mut rig = Rig::new(1_000);
        assert_eq!(rig.advance(3_000), None);
        rig.load(0, 2_000, 100);
        assert!(rig.start());
        // Ran out at 5 s; told at 9 s.
        assert_eq!(rig.advance(9_000), Some(Moment::Dry));
        assert_eq!(rig.advance(9_000), None);
        rig.load(2_000, 4_000, 100);
        rig.is_complete = true;
        assert!(rig.start());
        assert_eq!(rig.advance(60_000), Some(Moment::Ended));
        let at = rig.head.at;
        let view = rig.head.finish(ViewEnd::Watched);
        assert_eq!(at, ms(11_000));
        assert_eq!(view.startup, Some(ms(2_000)));
        assert_eq!(view.played, ms(4_000));
        assert_eq!(view.stalls, [Stall { at: ms(5_000), duration: ms(4_000) }]);
        assert_eq!(view.mean_bitrate, Some(100.0));
    }

    #[test]
    fn media_that_comes_the_moment_it_is_needed_makes_no_stall() {
        let mut rig = Rig::new(0);
        rig.load(0, 2_000, 100);
        rig.start();
        assert_eq!(rig.advance(2_000), Some(Moment::Dry));
        rig.load(2_000, 3_000, 100);
        assert!(rig.start());
        assert_eq!(rig.advance(2_500), None);
        assert_eq!(rig.head.finish(ViewEnd::Watched).stalls, []);
    }

    #[test]
    fn the_viewer_leaves_when_patience_ends_and_not_when_it_is_noticed() {
        for is_starting in [true, false] {
            let mut rig = Rig::new(0);
            rig.limits.patience_start = Some(ms(5_000));
            rig.limits.patience_stall = Some(ms(7_000));
            if !is_starting {
                rig.load(0, 1_000, 100);
                rig.start();
                assert_eq!(rig.advance(60_000), Some(Moment::Dry));
            }
            assert_eq!(rig.advance(60_000), Some(Moment::OutOfPatience));
            assert_eq!(rig.head.at, if is_starting { ms(5_000) } else { ms(8_000) });
            let view = rig.head.finish(ViewEnd::LeftInStall);
            let stalled = view.stalls.iter().map(|stall| stall.duration).sum::<Duration>();
            assert_eq!(stalled, if is_starting { ms(0) } else { ms(7_000) });
        }
    }

    #[test]
    fn a_seek_is_no_stall_and_switches_count_when_they_are_seen() {
        let mut rig = Rig::new(0);
        rig.load(0, 1_000, 100);
        rig.load(1_000, 2_000, 300);
        rig.load(2_000, 4_000, 200);
        rig.limits.seek_after = Some(ms(2_500));
        rig.start();
        assert_eq!(rig.advance(60_000), Some(Moment::SeekDue));
        assert_eq!(rig.head.at, ms(2_500));
        rig.limits.seek_after = None;
        rig.head.seek(ms(10_000));
        rig.main.clear();
        assert_eq!(rig.advance(3_500), None);
        rig.load(10_000, 11_000, 200);
        rig.start();
        assert_eq!(rig.advance(4_500), Some(Moment::Dry));
        assert_eq!(rig.advance(5_000), None);
        let view = rig.head.finish(ViewEnd::Cut);
        assert_eq!((view.switches_up, view.switches_down, view.seeks), (1, 1, 1));
        assert_eq!(view.seeking, ms(1_000));
        assert_eq!(view.played, ms(3_500));
        assert_eq!(view.stalls, [Stall { at: ms(4_500), duration: ms(500) }]);
        let bits = 100.0 + 300.0 + 200.0 * 1.5;
        assert_eq!(view.mean_bitrate, Some(bits / 3.5));
    }

    #[test]
    fn sound_that_is_missing_stops_the_picture_and_sound_that_ended_does_not() {
        let mut rig = Rig::new(0);
        rig.audio = Some(Buffer::default());
        rig.load(0, 4_000, 100);
        assert!(!rig.start(), "no sound yet");
        rig.audio.as_mut().unwrap().push(chunk(0, 1_500, 10));
        assert!(rig.start());
        assert_eq!(rig.advance(60_000), Some(Moment::Dry));
        assert_eq!(rig.head.at, ms(1_500));
        rig.is_audio_complete = true;
        rig.is_complete = true;
        assert!(rig.start());
        assert_eq!(rig.advance(60_000), Some(Moment::Ended));
        assert_eq!(rig.head.at, ms(4_000));
    }

    #[test]
    fn a_gap_is_passed_in_no_time() {
        let mut rig = Rig::new(0);
        rig.load(0, 1_000, 100);
        rig.main.push(Chunk::gap(ms(1_000), ms(3_000)));
        rig.load(3_000, 4_000, 100);
        rig.is_complete = true;
        rig.start();
        assert_eq!(rig.advance(60_000), Some(Moment::Ended));
        assert_eq!((rig.head.at, rig.head.played), (ms(2_000), ms(2_000)));
    }

    #[test]
    fn latency_is_weighted_by_playing_and_shrinks_while_catching_up() {
        let mut rig = Rig::new(0);
        rig.limits.live_shift_us = Some(10_000_000);
        rig.load(0, 20_000, 100);
        rig.start();
        assert_eq!(rig.advance(2_000), None); // 10 s behind
        rig.limits.rate = Some((1.5, ms(6_000)));
        assert_eq!(rig.next_moment(), Some(ms(6_000)));
        assert_eq!(rig.advance(8_000), None); // 4 s at 1.5: 2 s nearer, then 2 s at 1
        assert_eq!(rig.head.played, ms(2_000 + 6_000 + 2_000));
        assert_eq!(rig.head.latency(10_000_000), ms(8_000));
        let view = rig.head.finish(ViewEnd::Cut);
        let mean = (10.0 * 2.0 + 9.0 * 4.0 + 8.0 * 2.0) / 8.0;
        assert_eq!(view.live_latency, Some(Duration::from_secs_f64(mean)));
    }

    #[test]
    fn more_than_one_segment_can_be_asked_for() {
        let mut rig = Rig::new(0);
        rig.needed = ms(3_000);
        rig.load(0, 2_000, 100);
        assert!(!rig.start());
        rig.is_all_there = true;
        assert!(rig.start(), "no more can come now");
        let mut rig = Rig::new(0);
        rig.needed = ms(3_000);
        rig.load(0, 3_000, 100);
        assert!(rig.start());
    }

    struct Rig {
        head: Playhead,
        main: Buffer,
        audio: Option<Buffer>,
        limits: Limits,
        is_complete: bool,
        is_audio_complete: bool,
        needed: Duration,
        is_all_there: bool,
    }

    impl Rig {
        fn new(begun: u64) -> Self {
            Self {
                head: Playhead::new(ms(begun), ms(0)),
                main: Buffer::default(),
                audio: None,
                limits: Limits::default(),
                is_complete: false,
                is_audio_complete: false,
                needed: ms(0),
                is_all_there: false,
            }
        }

        fn load(&mut self, start: u64, end: u64, bitrate: u64) {
            self.main.push(chunk(start, end, bitrate));
        }

        fn next_moment(&mut self) -> Option<Duration> {
            let media = Media {
                main: &mut self.main,
                audio: None,
                is_main_complete: false,
                is_audio_complete: false,
            };
            self.head.next_moment(&media, &self.limits)
        }

        fn start(&mut self) -> bool {
            let media = Media {
                main: &mut self.main,
                audio: self.audio.as_mut(),
                is_main_complete: self.is_complete,
                is_audio_complete: self.is_audio_complete,
            };
            self.head.start(&media, self.needed, self.is_all_there)
        }

        fn advance(&mut self, to: u64) -> Option<Moment> {
            let mut media = Media {
                main: &mut self.main,
                audio: self.audio.as_mut(),
                is_main_complete: self.is_complete,
                is_audio_complete: self.is_audio_complete,
            };
            self.head.advance(ms(to), &mut media, &self.limits)
        }
    }

    fn chunk(start: u64, end: u64, bitrate: u64) -> Chunk {
        let (start, end) = (ms(start), ms(end));
        Chunk { start, end, bytes: 1_000, bitrate, is_gap: false, played: Duration::ZERO }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }
}
