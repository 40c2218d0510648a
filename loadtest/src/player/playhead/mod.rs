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
mod tests;
