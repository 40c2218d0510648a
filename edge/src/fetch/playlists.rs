//! What is remembered of playlists that passed: how far live ones have come, which origins are behind, and which
//! segment follows which.
//!
//! Invariant: bounded by the entries that section `[fetch]` allows; all of it may be forgotten at any time.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_chassis::Clock;

use super::{
    config::Config,
    live::{self, Progress},
    memory::Memory,
    playlist::{Playlist, Position, resolve},
    wanted::Route,
};
use crate::{
    cache::{
        key::{Key, counted_path},
        media_class::MediaClass,
    },
    upstream::Candidate,
};

/// The memory of playlists.
pub(super) struct Playlists {
    live: Memory<Followed>,
    successors: Memory<Arc<str>>,
    stalled_time: Duration,
    clock: Clock,
}

#[derive(Clone)]
struct Followed {
    progress: Progress,
    /// Whose copy stood still, and until when that is held against them.
    avoided: Vec<(Candidate, SystemTime)>,
}

impl Playlists {
    pub(super) fn new(config: &Config, clock: Clock) -> Self {
        Self {
            live: Memory::new(config.playlists_max, FOLLOWED_TIME),
            successors: Memory::new(config.successors_max, SUCCESSOR_TIME),
            stalled_time: config.stalled_time,
            clock,
        }
    }

    /// Takes note of a playlist that came from an upstream; true when that one's copy stands still.
    pub(super) fn saw(&self, route: &Route, playlist: &Playlist<'_>, from: Candidate) -> bool {
        if playlist.is_ended {
            return false;
        }
        let (name, now) = (name(route), self.clock.now());
        let known = self.live.get(&name);
        let mut progress = live::seen(known.as_ref().map(|known| &known.progress), playlist, now);
        let mut avoided = known.map(|known| known.avoided).unwrap_or_default();
        avoided.retain(|(_, until)| *until > now);
        let is_stalled = live::is_stalled(&progress, now);
        if is_stalled {
            avoided.retain(|(candidate, _)| *candidate != from);
            avoided.truncate(AVOIDED_MAX - 1);
            avoided.push((from, now + self.stalled_time));
            // The next one gets its own time to show that it moves.
            progress.since = now;
        }
        self.live.note(name, Followed { progress, avoided });
        is_stalled
    }

    /// A stored playlist was confirmed by an upstream; true when that one's copy stands still.
    pub(super) fn saw_again(&self, route: &Route, from: Candidate) -> bool {
        let Some(known) = self.known(route).filter(|known| !known.progress.is_ended) else {
            return false;
        };
        let playlist = Playlist {
            target: known.progress.target,
            position: known.progress.position,
            is_ended: false,
            segments: Vec::new(),
        };
        self.saw(route, &playlist, from)
    }

    /// Whether a playlist that does not move now stands still: then its next copy is looked at before anybody gets it.
    pub(super) fn is_due(&self, route: &Route) -> bool {
        let now = self.clock.now();
        self.known(route).is_some_and(|known| live::is_stalled(&known.progress, now))
    }

    /// How far a playlist was when it was last seen.
    pub(super) fn position(&self, route: &Route) -> Option<Position> {
        self.known(route).map(|known| known.progress.position)
    }

    /// Nobody has a better copy: whose copy stood still is asked in its turn again.
    pub(super) fn forgive(&self, route: &Route, from: Candidate) {
        if let Some(mut known) = self.known(route) {
            known.avoided.retain(|(candidate, _)| *candidate != from);
            self.live.note(name(route), known);
        }
    }

    /// Who is asked last for a playlist.
    pub(super) fn avoided(&self, route: &Route) -> Vec<Candidate> {
        let Some(known) = self.known(route) else { return Vec::new() };
        let now = self.clock.now();
        known.avoided.iter().filter(|(_, until)| *until > now).map(|(who, _)| *who).collect()
    }

    /// How long the origin may hold an answer back.
    pub(super) fn hold(&self, route: &Route, hold_max: Duration) -> Option<Duration> {
        if route.class != MediaClass::Manifest {
            return None;
        }
        let target = || self.known(route).map(|known| known.progress.target);
        live::hold(&route.path, None, hold_max)
            .and_then(|_| live::hold(&route.path, target(), hold_max))
    }

    /// Notes which segment follows which.
    pub(super) fn note_order(&self, route: &Route, playlist: &Playlist<'_>) {
        let mut before: Option<Key> = None;
        for uri in &playlist.segments {
            let Some(path) = resolve(&route.path, &route.host, uri) else {
                before = None;
                continue;
            };
            let (key, path) = segment(route, &path);
            if let Some(before) = before {
                self.successors.note(before, path);
            }
            before = Some(key);
        }
    }

    /// The path of the segment that follows.
    pub(super) fn after(&self, key: &Key) -> Option<Arc<str>> {
        self.successors.get(key)
    }

    fn known(&self, route: &Route) -> Option<Followed> {
        (route.class == MediaClass::Manifest).then(|| self.live.get(&name(route))).flatten()
    }
}

/// The key of a path as a property counts it, and that path.
pub(super) fn segment(route: &Route, path: &str) -> (Key, Arc<str>) {
    let property = route.property();
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let counted = counted_path(path, query, &property.cache.query);
    (Key::of(&property.id, &route.host, &counted), Arc::from(&*counted))
}

/// A playlist's name, whichever of its states is asked for.
fn name(route: &Route) -> Key {
    let path = route.path.split('?').next().unwrap_or_default();
    Key::of(&route.property().id, &route.host, path)
}

/// How long a playlist is followed that nobody asks for.
const FOLLOWED_TIME: Duration = Duration::from_secs(300);
/// How long the order of segments is known: a viewer who pauses longer can do without prefetching.
const SUCCESSOR_TIME: Duration = Duration::from_secs(1800);
/// Origins that may be held back for one playlist.
const AVOIDED_MAX: usize = 8;
