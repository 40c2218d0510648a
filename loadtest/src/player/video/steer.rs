//! Content steering of a video: the server is asked when that is due, and the pathway that is to be taken is taken.
//!
//! Invariant: a server that says nothing useful keeps nobody from playing.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{super::world::World, open::pathways, state::Video};
use crate::{
    kind::ObjectKind,
    manifest::{self, Presentation},
};

impl Video {
    /// Asks the steering server, if it is due.
    pub(super) fn ask_steering(&mut self, world: &mut World<'_>) {
        let Some(steering) = self.steering.as_ref() else { return };
        if steering.pending.is_some() || steering.due.is_none_or(|due| due > world.now) {
            return;
        }
        if let Some(text) = manifest::steering::inline(steering.server()) {
            let server = steering.server().clone();
            return self.steered(&server, &text, world);
        }
        let is_dash = self.is_dash();
        let measured = world.estimate.has_measured().then(|| world.estimate.bits_per_second());
        let url = steering.url(self.pathway.as_deref(), measured.map(|bits| bits as u64), is_dash);
        let timeout = world.behaviour.timeout_manifest;
        let id = self.ask_document(ObjectKind::Steering, &url, timeout, world);
        if let Some(steering) = &mut self.steering {
            steering.pending = Some(id);
            steering.due = None;
        }
    }

    /// The steering manifest came.
    pub(super) fn steered(&mut self, url: &Url, text: &[u8], world: &mut World<'_>) {
        let is_dash = self.is_dash();
        let Some(steering) = &mut self.steering else { return };
        let manifest = match manifest::steering::parse(text) {
            Ok(manifest) => manifest,
            Err(error) if is_dash && manifest::steering::is_of_another_version(&error) => {
                return steering.end();
            }
            Err(_) => return steering.failed(None, None, world.now),
        };
        steering.answered(&manifest, url, world.now);
        if let Some(show) = self.presentation.as_ref().filter(|_| !manifest.clones.is_empty()) {
            let mut cloned = Presentation::clone(show);
            // Clones that cannot be made are as if they had not been named.
            if manifest.extend(&mut cloned).is_ok() {
                self.renumber(Arc::new(cloned));
                self.build_ladder(world.behaviour);
            }
        }
        self.take_pathway(world);
    }

    pub(super) fn steering_failed(
        &mut self,
        status: Option<u16>,
        retry_after: Option<Duration>,
        world: &mut World<'_>,
    ) {
        if let Some(steering) = &mut self.steering {
            steering.failed(status, retry_after, world.now);
        }
    }

    fn is_dash(&self) -> bool {
        self.presentation.as_ref().is_some_and(|show| show.is_dash)
    }

    /// Changes to the pathway that is to be taken now. What is under way still comes from the old one.
    pub(super) fn take_pathway(&mut self, world: &mut World<'_>) -> bool {
        let (Some(steering), Some(show)) = (&self.steering, self.presentation.clone()) else {
            return false;
        };
        let pathways = pathways(&show);
        let chosen = steering.choose(self.pathway.as_deref(), &pathways, world.now);
        let Some(chosen) = chosen.filter(|chosen| self.pathway.as_deref() != Some(chosen)) else {
            return false;
        };
        let has_begun = self.pathway.is_some() && self.main.fetched > 0;
        self.pathway_switches += u32::from(has_begun);
        self.pathway = Some(chosen.to_owned());
        let bandwidth = show.variants.get(self.main.source).map_or(0, |v| v.bandwidth);
        self.build_ladder(world.behaviour);
        let nearest = self.ladder.iter().min_by_key(|rung| rung.bandwidth.abs_diff(bandwidth));
        let Some(variant) = nearest.map(|rung| rung.variant) else { return false };
        // Where the rendition stays the same, so does what is known of it.
        self.last = self.last.map(|(_, length)| (variant, length));
        self.forced = None;
        self.switch_main(variant, world);
        true
    }
}
