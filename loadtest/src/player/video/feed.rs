//! Buffers are fed: the next object of each track is chosen, fetched, and given up when it comes too late.
//!
//! Invariant: nothing is asked for while more than the largest buffer is ahead, and what was pushed is not asked for
//! again unless the viewer went back.

use std::time::Duration;

use super::{
    super::{
        abr::{Abandon, Download, abandon, abandon_begins},
        behaviour::AbrRule,
        event::FetchId,
        timeline::Item,
        track::{Loading, Role, What},
        world::World,
    },
    state::Video,
};
use crate::manifest::Object;

impl Video {
    /// Asks for the next object of a track, if one is wanted.
    pub(super) fn feed(&mut self, role: Role, world: &mut World<'_>) {
        for _ in 0..ROUNDS_MAX {
            if !self.feed_once(role, world) {
                return;
            }
        }
    }

    /// Media of this length, and of these bytes, is there.
    pub(super) fn arrived(&mut self, role: Role, start: Duration, length: Duration, bytes: u64) {
        let bitrate = if role == Role::Main { self.bitrate() } else { 0 };
        self.arrived_from(role, self.main.source, bitrate, start, length, bytes);
    }

    /// Something that was fetched is there.
    pub(super) fn loaded(
        &mut self,
        role: Role,
        bytes: u64,
        first_byte: Duration,
        world: &mut World<'_>,
    ) {
        let takes_parts = self.takes_parts(role, world.behaviour);
        let Some(track) = self.track_mut(role) else { return };
        let Some(loading) = track.loading.take() else { return };
        track.failures = 0;
        let took = world.now.saturating_sub(loading.asked_at);
        // A hinted part waits at the server: its time says nothing of the link. Sound is too small to tell.
        let is_telling =
            role == Role::Main && !matches!(loading.what, What::Hint(_) | What::Key(_));
        if is_telling {
            world.estimate.answered(first_byte);
        }
        match loading.what {
            What::Init(object) => track.keep_init(object),
            What::Key(object) => track.keep_key(object),
            What::Segment | What::Part => {
                if is_telling && loading.growth.is_none() {
                    world.estimate.downloaded(bytes, took, first_byte);
                }
                if loading.what == What::Segment && !loading.duration.is_zero() {
                    let per_second = bytes as f64 / loading.duration.as_secs_f64();
                    track.bytes_per_second = Some((loading.source, per_second));
                }
                let bitrate = self.bitrate_of_source(role, loading.source);
                let (start, length) = (loading.start, loading.duration);
                let pushed = loading.growth.map_or(0, |growth| growth.pushed_bytes);
                let rest = bytes.saturating_sub(pushed);
                self.arrived_from(role, loading.source, bitrate, start, length, rest);
            }
            What::Hint(object) => {
                let item = track.next_item(takes_parts);
                match (item, track.list.as_ref().map(|list| list.origin)) {
                    (Some(item), Some(origin)) if item.object.url == object.url => {
                        self.arrived(role, origin + item.start, item.duration, bytes);
                    }
                    _ => track.hinted = Some((object, bytes)),
                }
            }
        }
    }

    /// Some bytes of a download came.
    pub(super) fn progressed(&mut self, fetch: FetchId, bytes: u64, world: &mut World<'_>) {
        let Some(role) = self.media_role(fetch) else { return };
        let loading = self.track_mut(role).and_then(|track| track.loading.as_mut());
        if let Some(loading) = loading {
            loading.bytes = bytes;
            let since = world.now.saturating_sub(loading.asked_at);
            loading.first_byte.get_or_insert(since);
            loading.check_at =
                loading.check_at.map(|at| at.min(world.now.max(self_begin(loading))));
        }
        self.grow(role, world);
    }

    /// Gives a download of the main track up that would come too late.
    pub(super) fn check_downloads(&mut self, world: &mut World<'_>) {
        let Some(loading) = &self.main.loading else { return };
        if let Some((at, to)) = loading.abandon {
            if at <= world.now {
                self.abandon(to, world);
            }
            return;
        }
        if loading.check_at.is_none_or(|at| at > world.now) {
            return;
        }
        let found = self.find_abandon(world);
        let Some(loading) = &mut self.main.loading else { return };
        loading.check_at = Some(world.now + CHECK_EVERY);
        let Some(Abandon { to, after }) = found else { return };
        let (elapsed, bytes) = (world.now.saturating_sub(loading.asked_at), loading.bytes);
        match loading.first_byte {
            Some(first_byte) if bytes > 0 => world.estimate.downloaded(bytes, elapsed, first_byte),
            _ => world.estimate.answered(elapsed),
        }
        let (variant, bandwidth) = (self.ladder[to].variant, self.ladder[to].bandwidth);
        let carried = world.estimate.bits_per_second() * world.behaviour.bandwidth_up_factor;
        if carried > bandwidth as f64 {
            world.estimate.begin_anew(bandwidth);
        }
        self.forced = Some(variant);
        if after.is_zero() {
            self.abandon(variant, world);
        } else {
            loading.abandon = Some((world.now + after, variant));
        }
    }

    /// When there is room in a track's buffer again, if it is full.
    pub(super) fn room_at(&self, role: Role, world: &World<'_>) -> Option<Duration> {
        let track = self.track(role)?;
        let head = self.head.as_ref().filter(|head| head.is_playing())?;
        if track.is_complete || track.list.is_none() {
            return None;
        }
        let ahead = track.next.saturating_sub(head.position());
        let over = ahead.checked_sub(self.room(world)).filter(|over| !over.is_zero())?;
        Some(head.at() + over.div_f64(world.behaviour.live_catch_up_rate))
    }

    /// Whether no more media can come for now: all is there, the list has no more, or the buffer is full.
    pub(super) fn is_all_there(&self, role: Role, world: &World<'_>) -> bool {
        let Some(track) = self.track(role) else { return true };
        if track.is_complete || self.broken.is_some() {
            return true;
        }
        let is_full = track.next.saturating_sub(self.position()) > self.room(world);
        let is_idle = track.loading.as_ref().is_none_or(|l| matches!(l.what, What::Hint(_)));
        let has_none = !track.has_next(self.takes_parts(role, world.behaviour));
        is_full || (track.list.is_some() && is_idle && has_none)
    }

    /// One step; answers whether another one may follow at once.
    fn feed_once(&mut self, role: Role, world: &mut World<'_>) -> bool {
        let takes_parts = self.takes_parts(role, world.behaviour);
        let Some(track) = self.track_mut(role) else { return false };
        if track.loading.is_some() || track.is_complete {
            return false;
        }
        if track.retry_at.is_some_and(|at| at > world.now) {
            return false;
        }
        track.retry_at = None;
        let Some(list) = track.list.clone() else { return false };
        let (next, fetched) = (track.next, track.fetched);
        if self.start.is_none() || self.is_prepared(fetched, world) {
            return false;
        }
        if next.saturating_sub(self.position()) > self.room(world) {
            return false;
        }
        if next < list.origin {
            // The media is gone. Live players go on at the edge.
            return self.is_live && self.jump_to_edge(world);
        }
        let Some(track) = self.track_mut(role) else { return false };
        let Some(item) = track.next_item(takes_parts) else {
            track.is_complete = list.timeline.is_ended;
            if takes_parts && !list.timeline.is_ended {
                self.ask_hint(role, list.timeline.hint.as_ref().map(|hint| &hint.object), world);
            }
            return false;
        };
        // A rendition is left at the beginning of a segment only.
        let is_boundary = item.part.is_none_or(|part| part == 0);
        if role == Role::Main && is_boundary && !track.is_chosen {
            let variant = self.choose(world);
            self.main.is_chosen = true;
            if variant != self.main.source {
                self.switch_main(variant, world);
                return self.main.list.is_some();
            }
        }
        self.take(role, &item, list.origin + item.start, world)
    }

    /// Fetches an item, or what it needs first; a gap is passed.
    fn take(&mut self, role: Role, item: &Item, start: Duration, world: &mut World<'_>) -> bool {
        let Some(track) = self.track_mut(role) else { return false };
        if item.is_gap {
            track.fill_to(start + item.duration);
            track.is_chosen = false;
            return true;
        }
        if world.behaviour.manifest_only {
            self.arrived(role, start, item.duration, 0);
            return true;
        }
        if let Some(key) = item.key.as_ref().filter(|key| track.needs_key(Some(key))) {
            let key = key.clone();
            self.fetch(role, What::Key(key.clone()), &key, start, Duration::ZERO, world);
            return false;
        }
        if let Some(init) = item.init.as_ref().filter(|init| track.needs(Some(init))) {
            let init = init.clone();
            self.fetch(role, What::Init(init.clone()), &init, start, Duration::ZERO, world);
            return false;
        }
        let what = if item.part.is_some() { What::Part } else { What::Segment };
        self.fetch(role, what, &item.object, start, item.duration, world);
        false
    }

    /// Asks for a part that is not there yet; the server answers when it is.
    fn ask_hint(&mut self, role: Role, hint: Option<&Object>, world: &mut World<'_>) {
        let (Some(hint), Some(track)) = (hint, self.track(role)) else { return };
        let Some(list) = &track.list else { return };
        let is_known = track.refused_hint.as_ref() == Some(hint) || track.hinted.is_some();
        let is_next = track.next >= list.end();
        if is_known || !is_next || world.behaviour.manifest_only {
            return;
        }
        let part = list.timeline.part_target.unwrap_or(list.timeline.target_duration);
        let next = track.next;
        self.fetch(role, What::Hint(hint.clone()), hint, next, part, world);
    }

    fn fetch(
        &mut self,
        role: Role,
        what: What,
        object: &Object,
        start: Duration,
        duration: Duration,
        world: &mut World<'_>,
    ) {
        let id = self.ask_media(role, &what, object, duration, world);
        let growth = self.growth(role, &what, start, duration, world);
        // What is made while it comes is no slower on another rendition.
        let is_steady = growth.is_some() || self.is_steady(role, &what, world);
        let now = world.now;
        let Some(track) = self.track_mut(role) else { return };
        track.was_starved = false;
        let source = track.source;
        let mut loading = Loading {
            id,
            what,
            source,
            start,
            duration,
            asked_at: now,
            bytes: 0,
            first_byte: None,
            check_at: None,
            abandon: None,
            growth,
        };
        if !is_steady {
            let begins = abandon_begins(duration, world.estimate);
            loading.check_at = Some(now + begins + Duration::from_millis(1));
        }
        track.loading = Some(loading);
    }

    /// Whether this download is never given up.
    fn is_steady(&self, role: Role, what: &What, world: &World<'_>) -> bool {
        let is_free = matches!(world.behaviour.abr, AbrRule::Throughput | AbrRule::Bola);
        let is_lowest = self.rung_of(self.main.source).is_none_or(|rung| rung == 0);
        let is_media = matches!(what, What::Segment | What::Part);
        !(is_free && world.behaviour.abandon && role == Role::Main && is_media) || is_lowest
    }

    fn find_abandon(&self, world: &World<'_>) -> Option<Abandon> {
        // Before the first frame there is no buffer that could run out.
        let head = self.head.as_ref().filter(|head| head.has_started())?;
        let loading = self.main.loading.as_ref()?;
        let download = Download {
            rung: self.rung_of(loading.source)?,
            media: loading.duration,
            bytes: loading.bytes,
            elapsed: world.now.saturating_sub(loading.asked_at),
            first_byte: loading.first_byte,
        };
        let buffer = self.main.buffer.ahead(head.position());
        let (estimate, behaviour) = (&*world.estimate, world.behaviour);
        abandon(&download, &self.ladder, buffer, estimate, behaviour, self.is_live)
    }

    fn abandon(&mut self, variant: usize, world: &mut World<'_>) {
        if let Some(id) = self.main.give_up() {
            world.cancel(id);
        }
        self.forced = Some(variant);
    }

    fn arrived_from(
        &mut self,
        role: Role,
        source: usize,
        bitrate: u64,
        start: Duration,
        length: Duration,
        bytes: u64,
    ) {
        if role == Role::Main {
            self.last = Some((source, length));
            self.forced = self.forced.filter(|forced| *forced != source);
        }
        if let Some(track) = self.track_mut(role) {
            track.push(start, length, bytes, bitrate);
            track.fetched += 1;
            track.is_chosen = false;
        }
    }

    pub(super) fn bitrate_of_source(&self, role: Role, source: usize) -> u64 {
        let show = self.presentation.as_ref().filter(|_| role == Role::Main);
        let variant = show.and_then(|show| show.variants.get(source));
        variant.map_or(0, |variant| variant.average_bandwidth.unwrap_or(variant.bandwidth))
    }

    /// Media ahead with which nothing more is fetched.
    fn room(&self, world: &World<'_>) -> Duration {
        let behaviour = world.behaviour;
        let bitrate = self.bitrate();
        if behaviour.buffer_bytes == 0 || bitrate == 0 {
            return behaviour.buffer_max;
        }
        let by_bytes = behaviour.buffer_bytes as f64 * 8.0 / bitrate as f64;
        let by_bytes = Duration::from_secs_f64(by_bytes.min(BUFFER_BY_BYTES_MAX.as_secs_f64()));
        behaviour.buffer_max.max(by_bytes)
    }

    /// A video that nobody watches yet has as much as it should.
    fn is_prepared(&self, fetched: u32, world: &World<'_>) -> bool {
        let enough = u32::from(world.behaviour.prefetch_segments);
        self.head.is_none() && (fetched >= enough || world.behaviour.manifest_only)
    }
}

/// From when on a download may be given up.
fn self_begin(loading: &Loading) -> Duration {
    loading.asked_at + loading.duration / 2
}

/// How often a slow download is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// Objects that are passed in one go: gaps, and all of them when no media is fetched.
const ROUNDS_MAX: usize = 100_000;
/// No buffer by bytes is longer, as in hls.js.
const BUFFER_BY_BYTES_MAX: Duration = Duration::from_secs(600);
