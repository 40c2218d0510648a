//! One video from its address to the end of the view: what to fetch, and what to do with what came.
//!
//! The state stands in `state`; the other files are what can be done with it: open it, fetch its lists, feed its
//! buffers, play it, and go on when something failed. Invariant: a video asks for nothing after it is over or broken.

mod play;
mod feed;
mod growth;
mod lists;
mod dash;
mod steer;
mod open;
mod failing;
mod asking;
mod state;

use std::time::Duration;

pub(super) use self::state::Video;
use super::{
    event::{Event, FetchId, Status, View, ViewEnd},
    track::Role,
    world::World,
};

impl Video {
    /// Something happened to one of its fetches.
    pub(super) fn handle(&mut self, event: Event, world: &mut World<'_>) {
        match event {
            Event::Wake => {}
            Event::Progress { fetch, bytes } => self.progressed(fetch, bytes, world),
            Event::Answered { fetch, url, bytes, first_byte, body } => {
                let text = body.unwrap_or_default();
                if self.entry.pending == Some(fetch) {
                    self.opened(&url, &text, world);
                } else if self.steering_is(fetch) {
                    self.steered(&url, &text, world);
                } else if self.mpd_document.pending == Some(fetch) {
                    self.mpd_came(&url, &text, world);
                } else if let Some(role) = self.index_role(fetch) {
                    self.index_came(role, &text, world);
                } else if let Some(role) = self.list_role(fetch) {
                    self.listed(role, &url, &text, first_byte, world);
                } else if let Some(role) = self.media_role(fetch) {
                    self.loaded(role, bytes, first_byte, world);
                }
            }
            Event::Failed { fetch, class, status, retry_after } => {
                if self.entry.pending == Some(fetch) {
                    self.entry_failed(class, world);
                } else if self.steering_is(fetch) {
                    self.steering_failed(status, retry_after, world);
                } else if self.mpd_document.pending == Some(fetch) {
                    self.mpd_failed(class, world);
                } else if let Some(role) = self.list_role(fetch) {
                    self.list_failed(role, class, world);
                } else if let Some(role) = self.media_role(fetch) {
                    self.media_failed(role, class, world);
                }
            }
        }
    }

    /// Asks for whatever is due, and plays if that is possible now.
    pub(super) fn pump(&mut self, world: &mut World<'_>) {
        self.check_downloads(world);
        if self.broken.is_none() {
            self.ask_entry(world);
            self.ask_steering(world);
        }
        if !self.is_waiting_for_steering() {
            if self.broken.is_none() {
                self.ask_mpd(world);
            }
            for role in [Role::Main, Role::Audio] {
                if self.broken.is_none() {
                    self.feed(role, world);
                    self.ask_list(role, world);
                    // A list out of an MPD is there at once.
                    self.feed(role, world);
                }
            }
        }
        self.start_playing(world);
    }

    /// When it wants to be woken, if nothing happens before.
    pub(super) fn wake_at(&mut self, world: &World<'_>) -> Option<Duration> {
        let mut next = self.next_moment(world);
        let mut add = |time: Option<Duration>| {
            next = match (next, time) {
                (Some(next), Some(time)) => Some(next.min(time)),
                (next, time) => next.or(time),
            };
        };
        if self.broken.is_some() {
            return next;
        }
        for document in [&self.entry, &self.mpd_document] {
            add(document.due.filter(|_| document.pending.is_none()));
        }
        let steering = self.steering.as_ref().filter(|steering| steering.pending.is_none());
        add(steering.and_then(|steering| steering.due));
        for role in [Role::Main, Role::Audio] {
            let Some(track) = self.track(role) else { continue };
            add(track.document.due.filter(|_| track.document.pending.is_none()));
            match &track.loading {
                Some(loading) => {
                    add(loading.check_at);
                    add(loading.abandon.map(|(at, _)| at));
                }
                None => {
                    add(track.retry_at);
                    add(self.room_at(role, world));
                }
            }
        }
        next
    }

    /// The fetches that are under way.
    pub(super) fn fetches(&self) -> impl Iterator<Item = FetchId> {
        let steering = self.steering.as_ref().and_then(|steering| steering.pending);
        let tracks = [Role::Main, Role::Audio].into_iter().filter_map(|role| self.track(role));
        let tracks = tracks.flat_map(|track| {
            [track.document.pending, track.loading.as_ref().map(|loading| loading.id)]
        });
        let documents = [self.entry.pending, self.mpd_document.pending, steering];
        documents.into_iter().chain(tracks).flatten()
    }

    /// Whether this fetch is one of its own.
    pub(super) fn has(&self, fetch: FetchId) -> bool {
        self.fetches().any(|own| own == fetch)
    }

    /// The view is over: gives up what is under way, and says what it was like.
    pub(super) fn finish(mut self, end: ViewEnd, world: &mut World<'_>) -> View {
        for fetch in self.fetches().collect::<Vec<_>>() {
            world.cancel(fetch);
        }
        let wasted = self.main.wasted_bytes();
        let wasted = wasted + self.audio.as_mut().map_or(0, |audio| audio.wasted_bytes());
        let mut view = self.head.take().map_or_else(View::default, |head| head.finish(end));
        view.end = end;
        view.wasted_bytes = wasted;
        view.pathway_switches = self.pathway_switches;
        view.reason = self.reason.take();
        view
    }

    /// How it is.
    pub(super) fn status(&self) -> Status {
        let Some(head) = &self.head else { return Status::default() };
        Status {
            is_playing: head.is_playing(),
            is_stalled: head.is_stalled(),
            is_starting: !head.has_started(),
            is_over: false,
            buffer: self.buffer_ahead(),
            bitrate: self.bitrate(),
            fetches: self.fetches().count(),
        }
    }
}
