//! DASH: one MPD instead of playlists. Lists are made out of it for the time that is now; it is asked for again as often
//! as it says.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{
    super::{
        documents::{self, Media},
        retry,
        timeline::Timeline,
        track::Role,
        world::World,
    },
    state::Video,
};
use crate::{
    kind::{FailureClass, ObjectKind},
    manifest::Fault,
};

impl Video {
    /// Asks for the MPD again, if it is due.
    pub(super) fn ask_mpd(&mut self, world: &mut World<'_>) {
        let Some(show) = self.presentation.clone().filter(|_| self.mpd.is_some()) else { return };
        let document = &self.mpd_document;
        if document.pending.is_some() || document.due.is_none_or(|due| due > world.now) {
            return;
        }
        let Some(url) = show.variants.first().map(|variant| &variant.url) else { return };
        let timeout = world.behaviour.timeout_manifest;
        let id = self.ask_document(ObjectKind::Playlist, url, timeout, world);
        let document = &mut self.mpd_document;
        document.pending = Some(id);
        document.url = Some(url.clone());
        document.asked_at = world.now;
        document.due = None;
    }

    /// The MPD came again.
    pub(super) fn mpd_came(&mut self, url: &Url, text: &[u8], world: &mut World<'_>) {
        self.mpd_document.pending = None;
        let base = documents::base(url, self.mpd_document.url.as_ref().unwrap_or(url));
        let opened = match documents::open(text, &base) {
            Ok(opened) => opened,
            Err(error) => {
                self.reason = Some(error.to_string());
                return self.mpd_failed(FailureClass::Manifest, world);
            }
        };
        self.mpd_document.failures = 0;
        self.mpd_document.loaded_at = world.now;
        self.mpd = opened.mpd;
        self.renumber(opened.presentation);
        self.build_ladder(world.behaviour);
        for role in [Role::Main, Role::Audio] {
            if let Some(track) = self.track_mut(role) {
                track.document.due = Some(world.now);
            }
        }
    }

    pub(super) fn mpd_failed(&mut self, class: FailureClass, world: &mut World<'_>) {
        self.mpd_document.pending = None;
        self.mpd_document.failures += 1;
        let failures = self.mpd_document.failures;
        match retry::wait(world.behaviour, ObjectKind::Playlist, class, failures) {
            Some(wait) => self.mpd_document.due = Some(world.now + wait),
            None => self.break_off(class, None),
        }
    }

    /// Makes the track's list for now, or asks for the index that is missing for it.
    pub(super) fn make_list(&mut self, role: Role, world: &mut World<'_>) {
        let (Some(show), Some(mpd)) = (self.presentation.clone(), self.mpd.clone()) else { return };
        let Some(track) = self.track_mut(role) else { return };
        track.document.due = None;
        track.document.asked_at = world.now;
        let source = track.source;
        let named = match role {
            Role::Main => show.variants.get(source).map(|v| (&v.representation, &v.pathway)),
            Role::Audio => show.audio.get(source).map(|a| (&a.representation, &a.pathway)),
        };
        let Some((Some(representation), pathway)) = named else {
            return self.break_off(FailureClass::Manifest, Some("it has no representation".into()));
        };
        let pathway = pathway.as_deref();
        match mpd.segments_on(representation, pathway, world.wall_ms()) {
            Ok(list) => {
                let timeline = Arc::new(Timeline::of(&list));
                self.list_read(role, Media { timeline, whole: None }, world);
            }
            Err(error) if error.what == Fault::NeedsIndex => {
                match mpd.index(representation, pathway) {
                    Ok(Some(index)) => self.ask_index(role, index, world),
                    Ok(None) => self.break_off(FailureClass::Manifest, Some(error.to_string())),
                    Err(error) => self.break_off(FailureClass::Manifest, Some(error.to_string())),
                }
            }
            Err(error) => self.break_off(FailureClass::Manifest, Some(error.to_string())),
        }
    }

    /// The segment index of a track's representation came.
    pub(super) fn index_came(&mut self, role: Role, bytes: &[u8], world: &mut World<'_>) {
        let Some(track) = self.track_mut(role) else { return };
        track.document.pending = None;
        let Some(index) = track.document.index.take() else { return };
        let learned = self.mpd.as_mut().map(|mpd| Arc::make_mut(mpd).learn(index, bytes));
        if let Some(Err(error)) = learned {
            return self.break_off(FailureClass::Manifest, Some(error.to_string()));
        }
        if let Some(track) = self.track_mut(role) {
            track.document.failures = 0;
            track.document.due = Some(world.now);
        }
    }

    /// When a list out of an MPD is made again; the MPD itself may be due before.
    pub(super) fn list_due(&mut self, timeline: &Timeline, world: &World<'_>) -> Option<Duration> {
        if timeline.is_ended {
            return None;
        }
        let document = &mut self.mpd_document;
        if let Some(every) = timeline.minimum_update.filter(|_| document.pending.is_none()) {
            document.due = Some(document.loaded_at.saturating_add(every.max(UPDATE_MIN)));
        }
        let ahead = timeline.next_unix_ms?.saturating_sub(world.wall_ms());
        let wait = Duration::from_millis(u64::try_from(ahead).unwrap_or(0));
        Some(world.now.saturating_add(wait.max(REMAKE_MIN)))
    }

    fn ask_index(&mut self, role: Role, index: crate::manifest::Object, world: &mut World<'_>) {
        let timeout = world.behaviour.timeout_manifest;
        let id = self.ask_part_of(ObjectKind::Playlist, &index.url, index.range, timeout, world);
        if let Some(track) = self.track_mut(role) {
            track.document.pending = Some(id);
            track.document.index = Some(index);
        }
    }
}

/// No MPD is asked for more often.
const UPDATE_MIN: Duration = Duration::from_secs(1);
/// No list is made more often.
const REMAKE_MIN: Duration = Duration::from_millis(50);
