//! Media playlists: asked for, read, and put at their place on the media's axis.
//!
//! The axis of recorded media begins at 0. That of live media is the wall clock (time since 1970), by the dates in the
//! list, or as if its end were now; so a position says how far behind the present it is.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{
    super::{
        documents::{self, Media},
        reload,
        timeline::Timeline,
        track::{List, Role, What},
        world::World,
    },
    state::Video,
};
use crate::{
    kind::{FailureClass, ObjectKind},
    manifest::Start,
};

impl Video {
    /// Asks for the track's playlist, if it is due.
    pub(super) fn ask_list(&mut self, role: Role, world: &mut World<'_>) {
        let Some(show) = self.presentation.clone() else { return };
        let Some(track) = self.track(role) else { return };
        let document = &track.document;
        if document.pending.is_some() || document.due.is_none_or(|due| due > world.now) {
            return;
        }
        if self.mpd.is_some() {
            return self.make_list(role, world);
        }
        let url = match role {
            Role::Main => show.variants.get(track.source).map(|variant| &variant.url),
            Role::Audio => show.audio.get(track.source).map(|audio| &audio.url),
        };
        let Some(url) = url else { return };
        let mut timeout = world.behaviour.timeout_manifest;
        let mut asked = url.clone();
        if let Some(list) = &track.list {
            let timeline = &list.timeline;
            let is_young = reload::is_delta(timeline, document.loaded_at, world.now);
            let is_delta = world.behaviour.low_latency && list.whole.is_some() && is_young;
            let is_blocking = reload::is_blocking(timeline, world.behaviour.low_latency);
            asked = reload::url(url, timeline, is_blocking, is_delta);
            if is_blocking {
                // A server may hold the answer back for three target durations.
                timeout = timeout.saturating_add(timeline.target_duration.saturating_mul(3));
            }
        }
        let id = self.ask_document(ObjectKind::Playlist, &asked, timeout, world);
        let url = url.clone();
        if let Some(track) = self.track_mut(role) {
            let document = &mut track.document;
            document.pending = Some(id);
            document.url = Some(url);
            document.asked_at = world.now;
            document.due = None;
        }
    }

    /// A playlist came.
    pub(super) fn listed(
        &mut self,
        role: Role,
        url: &Url,
        text: &[u8],
        first_byte: Duration,
        world: &mut World<'_>,
    ) {
        let (Some(show), Some(track)) = (self.presentation.clone(), self.track_mut(role)) else {
            return;
        };
        let document = &mut track.document;
        let took = world.now.saturating_sub(document.asked_at + first_byte);
        let base = documents::base(url, document.url.as_ref().unwrap_or(url));
        let whole = track.list.as_ref().and_then(|list| list.whole.clone());
        match documents::media(text, &base, &show, whole.as_deref()) {
            Ok(media) => {
                self.playlist_took = took;
                self.list_read(role, media, world);
            }
            Err(error) => {
                self.reason = Some(error.to_string());
                self.list_failed(role, FailureClass::Manifest, world);
            }
        }
    }

    /// A playlist is read: it takes the place of the one before.
    pub(super) fn list_read(&mut self, role: Role, media: Media, world: &mut World<'_>) {
        let Some(track) = self.track_mut(role) else { return };
        let timeline = Arc::clone(&media.timeline);
        let document = &mut track.document;
        document.pending = None;
        document.failures = 0;
        let asked_at = document.asked_at;
        let is_blocking = reload::is_blocking(&timeline, world.behaviour.low_latency);
        let before = track.list.as_ref().map(|list| &list.timeline);
        let has_changed = before.is_none_or(|before| !before.ends_like(&timeline));
        document.loaded_at = world.now;
        let due = match self.mpd {
            None => reload::due(&timeline, has_changed, is_blocking, asked_at, world.now),
            Some(_) => self.list_due(&timeline, world),
        };
        if let Some(track) = self.track_mut(role) {
            track.document.due = due;
        }
        if timeline.is_empty() {
            if timeline.is_ended {
                let reason = Some("the playlist has no segments".to_owned());
                self.break_off(FailureClass::Manifest, reason);
            }
            return; // A live one may get some.
        }
        let Some(origin) = self.origin_of(role, &timeline, world) else {
            if let Some(track) = self.track_mut(role) {
                track.unplaced = Some(media);
            }
            return;
        };
        let Some(track) = self.track_mut(role) else { return };
        track.before = None;
        track.list = Some(List { timeline: Arc::clone(&timeline), origin, whole: media.whole });
        if role == Role::Main {
            if let Some(rung) = self.rung_of(self.main.source) {
                self.ladder[rung].segment = timeline.mean_segment();
            }
            if self.start.is_none() {
                self.is_live = !timeline.is_ended;
                self.place_start(world);
                let unplaced = self.audio.as_mut().and_then(|audio| audio.unplaced.take());
                if let Some(media) = unplaced {
                    self.list_read(Role::Audio, media, world);
                }
            }
        }
        self.place_hint(role, world);
    }

    /// Where playing at the live edge begins now.
    pub(super) fn edge(&self, world: &World<'_>) -> Option<Duration> {
        let list = self.main.list.as_ref()?;
        let wanted = world.behaviour.live_delay;
        let hold_back = reload::hold_back(&list.timeline, world.behaviour.low_latency, wanted);
        // An MPD lists segments before they are made; its latency counts from the present.
        let now = self.mpd.as_ref().and_then(|_| self.axis_now(world));
        let end = list.end().min(now.unwrap_or(Duration::MAX));
        Some(end.saturating_sub(hold_back).max(list.origin))
    }

    /// Live: microseconds to add to the session's time to be on the media's axis.
    pub(super) fn live_shift_us(&self, world: &World<'_>) -> Option<i64> {
        let list = self.main.list.as_ref().filter(|_| self.is_live)?;
        let origin_us = list.origin.as_micros() as i64;
        let drift_us =
            list.timeline.clock.map_or(0, |ms| ms.saturating_mul(1_000).saturating_sub(origin_us));
        let wall_us = world.session.wall_at_start_ms.saturating_mul(1_000);
        Some(wall_us.saturating_sub(drift_us).clamp(-LATENCY_MAX_US, LATENCY_MAX_US))
    }

    /// Puts main track and sound at the beginning of what is played, from this position on.
    pub(super) fn place_tracks(&mut self, position: Duration) {
        let first = self.main.list.as_ref().and_then(|list| {
            let spot = list.timeline.find_start(position.checked_sub(list.origin)?)?;
            Some(list.origin + list.timeline.item(spot)?.start)
        });
        self.main.move_to(first.filter(|_| self.is_live).unwrap_or(position));
        if let Some(audio) = &mut self.audio {
            audio.move_to(position);
        }
    }

    /// Decides where playing begins.
    fn place_start(&mut self, world: &mut World<'_>) {
        let Some(list) = &self.main.list else { return };
        let begin = match list.timeline.begin {
            Some(Start::FromBeginning(after)) => {
                Some(list.origin + after.min(list.timeline.duration()))
            }
            Some(Start::FromEnd(before)) => {
                Some(list.end().saturating_sub(before).max(list.origin))
            }
            None => None,
        };
        let position = match (begin, self.is_live) {
            (Some(begin), _) => begin,
            (None, true) => self.edge(world).unwrap_or(list.origin),
            (None, false) => list.origin,
        };
        self.start = Some(position);
        self.place_tracks(position);
        if let Some(head) = &mut self.head {
            head.place(position);
        }
        if let Some(shift) = self.live_shift_us(world) {
            let now_us = (world.now.as_micros() as i64).saturating_add(shift);
            let us = now_us.saturating_sub(position.as_micros() as i64);
            self.live_target = Duration::from_micros(us.max(0) as u64);
        }
    }

    /// Where a new list begins on the axis; `None` as long as that cannot be told.
    fn origin_of(&self, role: Role, timeline: &Timeline, world: &World<'_>) -> Option<Duration> {
        let track = self.track(role)?;
        if let Some(list) = &track.list {
            return Some(list.place(timeline, true));
        }
        let is_first = role == Role::Main && self.start.is_none();
        if timeline.is_ended && (is_first || !self.is_live) {
            return Some(Duration::ZERO);
        }
        if is_first {
            let now = Duration::from_millis(world.wall_ms().max(0) as u64);
            let dated = timeline.clock.and_then(|ms| u64::try_from(ms).ok());
            let dated = dated.filter(|ms| *ms < CLOCK_MAX_MS).map(Duration::from_millis);
            return Some(dated.unwrap_or_else(|| now.saturating_sub(timeline.duration())));
        }
        let reference = match role {
            Role::Main => track.before.as_ref(),
            Role::Audio => track.before.as_ref().or(self.main.list.as_ref()),
        };
        Some(reference?.place(timeline, false))
    }

    /// The new list may say what a hinted part is.
    fn place_hint(&mut self, role: Role, world: &mut World<'_>) {
        let takes_parts = self.takes_parts(role, world.behaviour);
        let Some(track) = self.track_mut(role) else { return };
        let Some(item) = track.next_item(takes_parts) else { return };
        let Some(origin) = track.list.as_ref().map(|list| list.origin) else { return };
        let is_it = |object: &crate::manifest::Object| {
            let begin = |range: Option<(u64, Option<u64>)>| range.map_or(0, |range| range.0);
            item.part.is_some()
                && object.url == item.object.url
                && begin(object.range) == begin(item.object.range)
        };
        if let Some(loading) = &mut track.loading
            && let What::Hint(object) = &loading.what
        {
            if is_it(object) {
                loading.what = What::Part;
                loading.start = origin + item.start;
                loading.duration = item.duration;
            } else if let Some(id) = track.give_up() {
                world.cancel(id);
            }
            return;
        }
        if let Some((object, bytes)) = track.hinted.take() {
            if is_it(&object) {
                self.arrived(role, origin + item.start, item.duration, bytes);
            } else {
                track.lost_bytes += bytes;
            }
        }
    }
}

/// A wall clock farther from the media's axis is none.
const LATENCY_MAX_US: i64 = 1 << 60;
/// A date after the year 9999 is no date.
const CLOCK_MAX_MS: u64 = 253_402_300_800_000;
