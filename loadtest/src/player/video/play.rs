//! The video is played: the play head goes on, the viewer seeks or leaves, and a live player jumps to the edge.

use std::time::Duration;

use rand::RngExt as _;
use rand_distr::{Distribution as _, Exp};

use super::{
    super::{
        event::ViewEnd,
        playhead::{Limits, Media, Moment, Playhead},
        track::Role,
        world::World,
    },
    state::Video,
};

impl Video {
    /// The viewer asks for it at this time; the budget is how much media he still wants to see.
    pub(in super::super) fn activate(
        &mut self,
        at: Duration,
        budget: Option<Duration>,
        world: &mut World<'_>,
    ) {
        self.head = Some(Playhead::new(at, self.start.unwrap_or_default()));
        self.budget = budget;
        self.next_seek = pause_before_seek(world);
    }

    /// Plays up to now. Answers how the view ended, if it did; then [`Self::ended_at`] says when.
    pub(in super::super) fn advance(&mut self, world: &mut World<'_>) -> Option<ViewEnd> {
        loop {
            let limits = self.limits(world);
            let (head, mut media) = self.head_and_media()?;
            match head.advance(world.now, &mut media, &limits) {
                None => return self.verdict(),
                Some(Moment::Dry) => {
                    self.note_starvation();
                    if let Some(end) = self.verdict() {
                        return Some(end);
                    }
                }
                Some(Moment::Ended | Moment::Enough) => return Some(ViewEnd::Watched),
                Some(Moment::SeekDue) => self.seek(world),
                Some(Moment::OutOfPatience) if head.has_started() => {
                    return Some(ViewEnd::LeftInStall);
                }
                Some(Moment::OutOfPatience) => return Some(ViewEnd::LeftBeforeStart),
            }
        }
    }

    /// How the view ended, if nothing more can come and nothing plays.
    pub(in super::super) fn verdict(&self) -> Option<ViewEnd> {
        let (class, head) = (self.broken?, self.head.as_ref()?);
        if !head.has_started() {
            return Some(ViewEnd::FailedStart(class));
        }
        (!head.is_playing()).then_some(ViewEnd::FailedPlayback(class))
    }

    /// When the view ended.
    pub(in super::super) fn ended_at(&self) -> Option<Duration> {
        self.head.as_ref().map(Playhead::at)
    }

    /// Media played so far.
    pub(in super::super) fn played(&self) -> Duration {
        self.head.as_ref().map_or(Duration::ZERO, Playhead::played)
    }

    /// Whether there is enough ahead that others may be prepared.
    pub(in super::super) fn is_healthy(&self, world: &World<'_>) -> bool {
        let wanted = HEALTHY.min(world.behaviour.buffer_max / 2);
        let is_playing = self.head.as_ref().is_some_and(Playhead::is_playing);
        let is_complete =
            self.main.is_complete && self.audio.as_ref().is_none_or(|audio| audio.is_complete);
        is_playing && (is_complete || self.buffer_ahead() >= wanted)
    }

    /// Plays, if it waits and enough is there; a live player too far behind jumps first.
    pub(super) fn start_playing(&mut self, world: &mut World<'_>) {
        self.keep_up(world);
        if self.head.as_ref().is_none_or(Playhead::is_playing) {
            return;
        }
        let is_all_there =
            self.is_all_there(Role::Main, world) && self.is_all_there(Role::Audio, world);
        let behaviour = world.behaviour;
        let Some((head, media)) = self.head_and_media() else { return };
        let needed =
            if head.has_started() { behaviour.buffer_resume } else { behaviour.buffer_start };
        head.start(&media, needed, is_all_there);
    }

    /// When the play head comes to something by itself.
    pub(super) fn next_moment(&mut self, world: &World<'_>) -> Option<Duration> {
        let limits = self.limits(world);
        let (head, media) = self.head_and_media()?;
        head.next_moment(&media, &limits)
    }

    /// Leaves media out to be at the live edge again. Answers whether there is another place to be.
    pub(super) fn jump_to_edge(&mut self, world: &mut World<'_>) -> bool {
        let Some(edge) = self.edge(world).filter(|edge| *edge > self.position()) else {
            return false;
        };
        self.cancel_downloads(world);
        match &mut self.head {
            Some(head) if head.has_started() => head.jump(edge),
            Some(head) => head.place(edge),
            None => {}
        }
        if self.head.as_ref().is_none_or(|head| !head.has_started()) {
            self.start = Some(edge);
        }
        self.place_tracks(edge);
        true
    }

    /// The viewer wants to see another place.
    fn seek(&mut self, world: &mut World<'_>) {
        let played = self.played();
        self.next_seek = pause_before_seek(world).map(|pause| played + pause);
        let Some((from, to)) = self.seekable(world) else { return };
        let span = to.saturating_sub(from).as_secs_f64();
        let target = from + Duration::from_secs_f64(world.rng.random_range(0.0..1.0) * span);
        let position = self.position();
        if let Some(head) = &mut self.head {
            head.seek(target);
        }
        let ahead = self.buffer_ahead();
        let is_there = target >= position && target - position < ahead;
        if is_there {
            for role in [Role::Main, Role::Audio] {
                if let Some(track) = self.track_mut(role) {
                    track.buffer.forget_before(target);
                }
            }
        } else {
            self.cancel_downloads(world);
            self.main.move_to(target);
            if let Some(audio) = &mut self.audio {
                audio.move_to(target);
            }
        }
        self.start_playing(world);
    }

    /// Where a viewer can seek to.
    fn seekable(&self, world: &World<'_>) -> Option<(Duration, Duration)> {
        let list = self.main.list.as_ref()?;
        let to = if self.is_live { self.edge(world)? } else { list.end() };
        (to > list.origin).then_some((list.origin, to))
    }

    /// A live player that is farther behind than it may be jumps to the edge.
    fn keep_up(&mut self, world: &mut World<'_>) {
        let most = world.behaviour.live_latency_max;
        let (false, Some(shift)) = (most.is_zero(), self.live_shift_us(world)) else { return };
        let (Some(head), Some(edge)) = (&self.head, self.edge(world)) else { return };
        let target = self.main.list.as_ref().map(|list| list.timeline.target_duration);
        let is_worth_it = edge > head.position() + target.unwrap_or_default();
        if head.has_started() && is_worth_it && head.latency(shift) > most {
            self.jump_to_edge(world);
        }
    }

    fn cancel_downloads(&mut self, world: &mut World<'_>) {
        for role in [Role::Main, Role::Audio] {
            if let Some(id) = self.track_mut(role).and_then(|track| track.give_up()) {
                world.cancel(id);
            }
        }
    }

    fn note_starvation(&mut self) {
        for role in [Role::Main, Role::Audio] {
            if let Some(track) = self.track_mut(role) {
                track.was_starved = true;
            }
        }
    }

    /// Up to what the play head goes by itself.
    fn limits(&self, world: &World<'_>) -> Limits {
        let patience = |patience: Duration| (!patience.is_zero()).then_some(patience);
        let live_shift_us = self.live_shift_us(world);
        Limits {
            wanted: self.wanted(),
            seek_after: self.next_seek,
            patience_start: patience(world.behaviour.patience_start),
            patience_stall: patience(world.behaviour.patience_stall),
            live_shift_us,
            rate: live_shift_us.and_then(|shift| self.catch_up(shift, world)),
        }
    }

    /// How much media is to be seen of this video.
    fn wanted(&self) -> Option<Duration> {
        let list = self.main.list.as_ref().filter(|_| !self.is_live && self.share < 1.0);
        let share = list.map(|list| list.timeline.duration().mul_f64(self.share.clamp(0.0, 1.0)));
        match (share, self.budget) {
            (Some(share), Some(budget)) => Some(share.min(budget)),
            (share, budget) => share.or(budget),
        }
    }

    /// The speed while the player is behind, and until when.
    fn catch_up(&self, shift: i64, world: &World<'_>) -> Option<(f64, Duration)> {
        let rate = world.behaviour.live_catch_up_rate;
        let head = self.head.as_ref().filter(|_| rate >= CATCH_UP_RATE_MIN)?;
        let behind = head.latency(shift).checked_sub(self.live_target)?;
        (behind > CATCH_UP_FROM)
            .then(|| (rate, head.at() + behind.min(CATCH_UP_MAX).div_f64(rate - 1.0)))
    }

    fn head_and_media(&mut self) -> Option<(&mut Playhead, Media<'_>)> {
        let head = self.head.as_mut()?;
        let is_audio_complete = self.audio.as_ref().is_some_and(|audio| audio.is_complete);
        let media = Media {
            main: &mut self.main.buffer,
            audio: self.audio.as_mut().map(|audio| &mut audio.buffer),
            is_main_complete: self.main.is_complete,
            is_audio_complete,
        };
        Some((head, media))
    }
}

/// Media until the viewer seeks: a Poisson process in played time.
fn pause_before_seek(world: &mut World<'_>) -> Option<Duration> {
    let a_minute = world.behaviour.seeks_per_minute;
    let pause = Exp::new(a_minute / 60.0).ok().filter(|_| a_minute > 0.0)?.sample(world.rng);
    Some(Duration::from_secs_f64(pause.clamp(SEEK_PAUSE_MIN, SEEK_PAUSE_MAX)))
}

/// With this much ahead, or half of a small buffer, the next videos may be prepared.
const HEALTHY: Duration = Duration::from_secs(10);
/// Nearer to the target than this nothing is caught up.
const CATCH_UP_FROM: Duration = Duration::from_millis(50);
/// A smaller difference is no speed of its own.
const CATCH_UP_RATE_MIN: f64 = 1.001;
/// Farther behind, it takes for ever anyway.
const CATCH_UP_MAX: Duration = Duration::from_secs(86_400);
/// Seconds. Between two seeks some media is played, or a session of seeks would never end.
const SEEK_PAUSE_MIN: f64 = 0.01;
const SEEK_PAUSE_MAX: f64 = 1e7;
