//! What happens when something failed: again after a while, another pathway, another rendition, and at last the end.

use super::{
    super::{
        retry,
        track::{Role, What},
        world::World,
    },
    state::Video,
};
use crate::kind::{FailureClass, ObjectKind};

impl Video {
    /// The first document failed.
    pub(super) fn entry_failed(&mut self, class: FailureClass, world: &mut World<'_>) {
        self.entry.pending = None;
        self.entry.failures += 1;
        let failures = self.entry.failures;
        match retry::wait(world.behaviour, ObjectKind::Multivariant, class, failures) {
            Some(wait) => self.entry.due = Some(world.now + wait),
            None => self.break_off(class, None),
        }
    }

    /// A playlist failed, or could not be read.
    pub(super) fn list_failed(&mut self, role: Role, class: FailureClass, world: &mut World<'_>) {
        let Some(track) = self.track_mut(role) else { return };
        track.document.pending = None;
        track.document.failures += 1;
        if let Some(list) = &mut track.list {
            // The next one is asked for whole.
            list.whole = None;
        }
        let failures = track.document.failures;
        match retry::wait(world.behaviour, ObjectKind::Playlist, class, failures) {
            Some(wait) => track.document.due = Some(world.now + wait),
            None => self.fail_over(role, class, world),
        }
    }

    /// An init segment, a segment or a part failed.
    pub(super) fn media_failed(&mut self, role: Role, class: FailureClass, world: &mut World<'_>) {
        let Some(track) = self.track_mut(role) else { return };
        let Some(loading) = &mut track.loading else { return };
        if let What::Hint(object) = &loading.what {
            // A hint is no promise.
            track.refused_hint = Some(object.clone());
            track.give_up();
            return;
        }
        track.give_up();
        track.failures += 1;
        match retry::wait(world.behaviour, ObjectKind::Segment, class, track.failures) {
            Some(wait) => track.retry_at = Some(world.now + wait),
            None => self.fail_over(role, class, world),
        }
    }

    /// Nothing more can be fetched. What is buffered is still played.
    pub(super) fn break_off(&mut self, class: FailureClass, reason: Option<String>) {
        self.broken.get_or_insert(class);
        self.reason = reason.or_else(|| self.reason.take());
    }

    /// Takes another pathway, else another variant; breaks off when there is none.
    fn fail_over(&mut self, role: Role, class: FailureClass, world: &mut World<'_>) {
        if let (Some(steering), Some(pathway)) = (&mut self.steering, &self.pathway) {
            steering.penalize(pathway, world.now);
            if self.take_pathway(world) {
                return self.begin_anew();
            }
        }
        if role == Role::Audio {
            return self.break_off(class, None);
        }
        let failed = self.main.source;
        let bandwidth = self.rung_of(failed).map(|rung| self.ladder[rung].bandwidth);
        let bandwidth = bandwidth.unwrap_or_default();
        if !self.refused.contains(&failed) {
            self.refused.push(failed);
        }
        self.build_ladder(world.behaviour);
        let works = self.ladder.iter().filter(|rung| !self.refused.contains(&rung.variant));
        // The nearest one below, or the same bits per second from elsewhere; else the nearest above.
        let best = works
            .min_by_key(|rung| (rung.bandwidth > bandwidth, rung.bandwidth.abs_diff(bandwidth)));
        let Some(variant) = best.map(|rung| rung.variant) else {
            return self.break_off(class, None);
        };
        self.switch_main(variant, world);
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        for role in [Role::Main, Role::Audio] {
            if let Some(track) = self.track_mut(role) {
                track.failures = 0;
                track.document.failures = 0;
            }
        }
    }
}
