//! One session: the videos that a viewer watches one after the other, and those that are prepared meanwhile.
//!
//! Invariant: the same plan, seed and events give the same actions; after `End` there are none; and a session of
//! finite videos ends when time passes.

use std::{collections::VecDeque, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution as _, LogNormal};
use url::Url;

use super::{
    abr::Estimate,
    behaviour::{Behaviour, Watch},
    event::{Action, Event, FetchId, Status, View, ViewEnd},
    plan::Plan,
    video::Video,
    world::{Outbox, Session, World},
};

/// A viewer with a player: events in, actions out.
#[derive(Debug)]
pub struct Player {
    /// What comes after those below, the next one last.
    videos: Vec<Url>,
    current: Option<Box<Video>>,
    prepared: VecDeque<Box<Video>>,
    outside: Outside,
    /// How much media the session still wants to see; `None` for all.
    budget: Option<Duration>,
    has_begun: bool,
    is_over: bool,
    wake: Option<Duration>,
}

/// What all videos of the session share.
#[derive(Debug)]
struct Outside {
    now: Duration,
    behaviour: Behaviour,
    session: Session,
    estimate: Estimate,
    link_rate: Option<u64>,
    rng: Xoshiro256PlusPlus,
    outbox: Outbox,
}

impl Player {
    /// A player that has not begun. Numbers of the behaviour that are out of range are taken at their limits.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Self {
        let behaviour = plan.behaviour.within_limits();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let budget = budget(&behaviour, &mut rng);
        let mut videos = plan.videos;
        videos.reverse();
        let outside = Outside {
            now: Duration::ZERO,
            session: Session {
                id: plan.session_id,
                token: plan.session_token,
                wall_at_start_ms: plan.wall_clock_at_start_unix_ms,
            },
            estimate: Estimate::new(&behaviour),
            link_rate: (behaviour.link_rate > 0).then_some(behaviour.link_rate),
            behaviour,
            rng,
            outbox: Outbox::default(),
        };
        Self {
            videos,
            current: None,
            prepared: VecDeque::new(),
            outside,
            budget,
            has_begun: false,
            is_over: false,
            wake: Some(Duration::ZERO),
        }
    }

    /// Something has happened. Times that are earlier than the last one count as that.
    pub fn handle(&mut self, now: Duration, event: Event) {
        if self.is_over {
            return;
        }
        self.outside.now = self.outside.now.max(now);
        if !self.has_begun {
            self.has_begun = true;
            // However late the driver is: the viewer asked for it at the scheduled time.
            self.watch_next(Duration::ZERO);
        }
        self.settle();
        self.dispatch(event);
        self.pump();
        self.wake = self.next_wake();
    }

    /// The next thing to do; ask until there is none.
    pub fn next_action(&mut self, now: Duration) -> Option<Action> {
        if self.outside.outbox.actions.is_empty() && now > self.outside.now {
            self.handle(now, Event::Wake);
        }
        self.outside.outbox.actions.pop_front()
    }

    /// When it wants `Event::Wake`, if nothing happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        self.wake
    }

    /// How it is, as of the last event.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.current.as_ref().map_or_else(Status::default, |video| video.status());
        let prepared = self.prepared.iter().map(|video| video.fetches().count()).sum::<usize>();
        Status { is_over: self.is_over, fetches: status.fetches + prepared, ..status }
    }

    /// The run is over: the view ends as it is. The remaining actions come from [`Self::next_action`].
    pub fn cut(&mut self, now: Duration) {
        if self.is_over {
            return;
        }
        self.outside.now = self.outside.now.max(now);
        self.settle();
        if let Some(video) = self.current.take() {
            let view = video.finish(ViewEnd::Cut, &mut self.outside.world());
            self.end(Some(view));
        } else if !self.is_over {
            self.end(None);
        }
    }

    /// The link's bits per second, for the rule that knows them; from now on.
    pub fn set_link_rate(&mut self, bits_per_second: u64) {
        self.outside.link_rate = Some(bits_per_second);
    }

    /// Plays up to now; views that end meanwhile give way to the next.
    fn settle(&mut self) {
        while let Some(video) = &mut self.current {
            let Some(end) = video.advance(&mut self.outside.world()) else { return };
            let at = video.ended_at().unwrap_or(self.outside.now);
            let played = video.played();
            let Some(video) = self.current.take() else { return };
            let view = video.finish(end, &mut self.outside.world());
            self.budget = self.budget.map(|budget| budget.saturating_sub(played));
            let is_enough = self.budget.is_some_and(|budget| budget.is_zero());
            // A viewer who lost patience, or had enough, does not go on.
            let has_left = matches!(end, ViewEnd::LeftBeforeStart | ViewEnd::LeftInStall);
            let has_more = !self.prepared.is_empty() || !self.videos.is_empty();
            if is_enough || has_left || !has_more {
                return self.end(Some(view));
            }
            self.outside.outbox.actions.push_back(Action::View(view));
            self.watch_next(at);
        }
    }

    /// The next video is asked for at this time.
    fn watch_next(&mut self, at: Duration) {
        let next = self.prepared.pop_front().or_else(|| self.new_video());
        let Some(mut video) = next else { return self.end(None) };
        video.activate(at, self.budget, &mut self.outside.world());
        self.current = Some(video);
    }

    fn new_video(&mut self) -> Option<Box<Video>> {
        let address = self.videos.pop()?;
        let [from, to] = self.outside.behaviour.share_watched;
        let share = from + (to - from) * self.outside.rng.random_range(0.0..=1.0);
        Some(Box::new(Video::new(address, share, self.outside.now)))
    }

    fn dispatch(&mut self, event: Event) {
        let fetch: FetchId = match &event {
            Event::Wake => return,
            Event::Progress { fetch, .. }
            | Event::Answered { fetch, .. }
            | Event::Failed { fetch, .. } => *fetch,
        };
        let mut videos = self.current.iter_mut().chain(&mut self.prepared);
        // A fetch that nobody knows was given up.
        if let Some(video) = videos.find(|video| video.has(fetch)) {
            video.handle(event, &mut self.outside.world());
        }
    }

    /// Asks for what is due, in all videos; prepares others when the current one has enough.
    fn pump(&mut self) {
        // Each round but the last ends a view.
        while let Some(video) = &mut self.current {
            video.pump(&mut self.outside.world());
            if video.verdict().is_none() {
                break;
            }
            self.settle();
        }
        let is_healthy =
            self.current.as_ref().is_some_and(|video| video.is_healthy(&self.outside.world()));
        let wanted = usize::from(self.outside.behaviour.prefetch);
        while is_healthy && self.prepared.len() < wanted {
            let Some(video) = self.new_video() else { break };
            self.prepared.push_back(video);
        }
        for video in &mut self.prepared {
            video.pump(&mut self.outside.world());
        }
    }

    fn end(&mut self, view: Option<View>) {
        // What was prepared for nothing counts to the last view.
        let mut wasted = 0;
        for video in std::mem::take(&mut self.prepared) {
            wasted += video.finish(ViewEnd::Cut, &mut self.outside.world()).wasted_bytes;
        }
        let actions = &mut self.outside.outbox.actions;
        actions.extend(view.map(|mut view| {
            view.wasted_bytes += wasted;
            Action::View(view)
        }));
        actions.push_back(Action::End);
        self.current = None;
        self.is_over = true;
        self.wake = None;
    }

    fn next_wake(&mut self) -> Option<Duration> {
        let world = self.outside.world();
        let videos = self.current.iter_mut().chain(&mut self.prepared);
        let wake = videos.filter_map(|video| video.wake_at(&world)).min()?;
        // Time passes between two wakes, whatever is due.
        Some(wake.max(world.now + WAKE_MIN))
    }
}

impl Outside {
    fn world(&mut self) -> World<'_> {
        World {
            now: self.now,
            behaviour: &self.behaviour,
            session: &self.session,
            estimate: &mut self.estimate,
            link_rate: self.link_rate,
            rng: &mut self.rng,
            outbox: &mut self.outbox,
        }
    }
}

/// How much media a session watches.
fn budget(behaviour: &Behaviour, rng: &mut Xoshiro256PlusPlus) -> Option<Duration> {
    match behaviour.watch {
        Watch::Whole => None,
        Watch::Fixed => Some(behaviour.watch_time),
        Watch::LogNormal => {
            let median = behaviour.watch_time.as_secs_f64();
            let seconds = LogNormal::new(median.ln(), behaviour.watch_sigma)
                .map_or(median, |distribution| distribution.sample(rng));
            Some(Duration::from_secs_f64(seconds.clamp(0.1, WATCH_MAX)))
        }
    }
}

/// A wake that is due at once comes after this.
const WAKE_MIN: Duration = Duration::from_millis(1);
/// Seconds: a year.
const WATCH_MAX: f64 = 31_536_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_small_beside_what_it_holds() {
        // Beside lists, addresses and buffered chunks, which its tests bound: a few kilobytes.
        assert!(size_of::<Player>() <= 2_048, "{}", size_of::<Player>());
        assert!(size_of::<Video>() <= 4_096, "{}", size_of::<Video>());
    }

    #[test]
    fn how_much_is_watched_follows_the_seed() {
        let behaviour = Behaviour { watch: Watch::LogNormal, ..Behaviour::default() };
        let sample = |seed| budget(&behaviour, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
        assert_eq!(sample(7), sample(7));
        let mut seconds: Vec<f64> =
            (0..1_001).map(|seed| sample(seed).unwrap().as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        // The median is the setting; two thirds lie within e of it.
        assert!((250.0..360.0).contains(&seconds[500]), "{}", seconds[500]);
        let within = seconds.iter().filter(|s| (300.0 / 2.72..300.0 * 2.72).contains(*s)).count();
        assert!((620..740).contains(&within), "{within}");
        let fixed = Behaviour { watch: Watch::Fixed, ..Behaviour::default() };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        assert_eq!(budget(&fixed, &mut rng), Some(fixed.watch_time));
        assert_eq!(budget(&Behaviour::default(), &mut rng), None);
    }
}
