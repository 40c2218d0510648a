//! A video is opened: its first document, and the ladder of a pathway.

use std::sync::Arc;

use url::Url;

use super::{
    super::{
        abr::{Rung, Situation},
        behaviour::Behaviour,
        documents,
        steering::Steering,
        track::{Document, Role, Track},
        world::World,
    },
    state::Video,
};
use crate::{
    kind::{FailureClass, ObjectKind},
    manifest::{self, Presentation, Variant},
};

impl Video {
    /// Asks for the first document, if it is due.
    pub(super) fn ask_entry(&mut self, world: &mut World<'_>) {
        if self.entry.pending.is_some() || self.entry.due.is_none_or(|due| due > world.now) {
            return;
        }
        let url = self.address.clone();
        let timeout = world.behaviour.timeout_manifest;
        let id = self.ask_document(ObjectKind::Multivariant, &url, timeout, world);
        self.entry.pending = Some(id);
        self.entry.asked_at = world.now;
        self.entry.due = None;
    }

    /// The first document came.
    pub(super) fn opened(&mut self, url: &Url, text: &[u8], world: &mut World<'_>) {
        self.entry.pending = None;
        let base = documents::base(url, &self.address);
        let opened = match documents::open(text, &base) {
            Ok(opened) => opened,
            Err(error) => return self.break_off(FailureClass::Manifest, Some(error.to_string())),
        };
        self.first_bandwidth = opened.first_bandwidth;
        if let Some(bandwidth) = opened.first_bandwidth {
            world.estimate.expect(bandwidth, world.behaviour);
        }
        let show = opened.presentation;
        self.pathway = first_pathway(&show);
        if let Some(steering) = show.steering.as_ref().filter(|_| world.behaviour.steering) {
            self.steering = Some(Steering::new(steering, world.now));
        } else if pathways(&show).len() > 1 {
            self.steering = Some(Steering::unsteered(&self.address));
        }
        self.presentation = Some(show);
        self.mpd = opened.mpd;
        self.mpd_document.loaded_at = world.now;
        self.build_ladder(world.behaviour);
        let first = self.choose(world);
        self.main.source = first;
        self.main.document.due = Some(world.now);
        self.match_audio(world);
        if let Some(list) = opened.list {
            // The first document was the media playlist: it is not asked for again.
            self.main.document.url = Some(base);
            self.main.document.asked_at = self.entry.asked_at;
            self.list_read(Role::Main, list, world);
        }
    }

    /// The variant that the rule wants next.
    pub(super) fn choose(&self, world: &World<'_>) -> usize {
        if let Some(forced) = self.forced.filter(|forced| self.rung_of(*forced).is_some()) {
            return forced;
        }
        let named = self.first_bandwidth;
        let first_named = self.ladder.iter().position(|rung| Some(rung.bandwidth) == named);
        let situation = Situation {
            behaviour: world.behaviour,
            rungs: &self.ladder,
            last: self.last.and_then(|(variant, _)| self.rung_of(variant)),
            first_named: first_named.unwrap_or(0),
            buffer: self.main.buffer.ahead(self.position()),
            segment: self.last.map(|(_, length)| length),
            is_live: self.is_live,
            estimate: world.estimate,
            playlist_took: self.playlist_took,
            link_rate: world.link_rate,
        };
        self.ladder[situation.choose()].variant
    }

    /// Makes the ladder of the present pathway, of codecs that the device plays, without what failed.
    pub(super) fn build_ladder(&mut self, behaviour: &Behaviour) {
        let Some(show) = self.presentation.clone() else { return };
        let before = std::mem::take(&mut self.ladder);
        let on_pathway = |variant: &Variant| {
            self.pathway.is_none() || variant.pathway.is_none() || variant.pathway == self.pathway
        };
        let family = codec_family(&show, behaviour);
        let is_playable = |variant: &Variant| match (&family, &variant.codecs) {
            (Some(family), Some(codecs)) => has_codec(codecs, family),
            _ => true,
        };
        // What failed is left out first, then what the device does not play; never everything.
        let filters: [&Filter<'_>; 4] = [
            &|index, variant| {
                on_pathway(variant) && is_playable(variant) && !self.refused.contains(&index)
            },
            &|index, variant| on_pathway(variant) && !self.refused.contains(&index),
            &|_, variant| on_pathway(variant),
            &|_, _| true,
        ];
        for filter in filters {
            let chosen = show.variants.iter().enumerate().filter(|(index, v)| filter(*index, v));
            let mut ladder: Vec<Rung> = chosen
                .map(|(index, variant)| Rung {
                    variant: index,
                    bandwidth: variant.bandwidth,
                    average: variant.average_bandwidth.unwrap_or(variant.bandwidth),
                    segment: before
                        .iter()
                        .find(|rung| rung.variant == index)
                        .and_then(|rung| rung.segment),
                })
                .collect();
            // The same bits per second again is a spare of the one before.
            ladder.dedup_by_key(|rung| rung.bandwidth);
            if !ladder.is_empty() {
                self.ladder = ladder;
                return;
            }
        }
    }

    /// Takes the alternate audio that belongs to the main track's variant, if it has any.
    pub(super) fn match_audio(&mut self, world: &mut World<'_>) {
        let Some(show) = self.presentation.clone().filter(|_| world.behaviour.audio) else {
            return;
        };
        let group = show.variants.get(self.main.source).and_then(|v| v.audio_group.as_ref());
        let on_pathway = |audio: &manifest::Audio| {
            self.pathway.is_none() || audio.pathway.is_none() || audio.pathway == self.pathway
        };
        let of_group = |audio: &&manifest::Audio| Some(&audio.group) == group && on_pathway(audio);
        let all = show.audio.iter();
        let chosen = all.clone().find(|audio| of_group(audio) && audio.is_default);
        let Some(chosen) = chosen.or_else(|| all.clone().find(of_group)) else { return };
        let index = show.audio.iter().position(|audio| std::ptr::eq(audio, chosen));
        let Some(index) = index else { return };
        match &mut self.audio {
            None => {
                let document = Document { due: Some(world.now), ..Document::default() };
                let next = self.start.unwrap_or_default();
                self.audio = Some(Track { source: index, document, next, ..Track::default() });
            }
            Some(audio) if audio.source != index => {
                if let Some(pending) = audio.switch(index, world.now) {
                    world.cancel(pending);
                }
            }
            Some(_) => {}
        }
    }

    /// The main track takes another variant from the next segment on, with the audio that belongs to it.
    pub(super) fn switch_main(&mut self, variant: usize, world: &mut World<'_>) {
        if variant != self.main.source {
            if let Some(pending) = self.main.switch(variant, world.now) {
                world.cancel(pending);
            }
            self.match_audio(world);
        }
    }

    /// The presentation got variants: all that is known by place finds its new one.
    pub(super) fn renumber(&mut self, show: Arc<Presentation>) {
        let Some(before) = self.presentation.clone() else { return };
        let variant = |index: usize| {
            let old = before.variants.get(index)?;
            show.variants.iter().position(|new| is_same(new, old))
        };
        let audio = |index: usize| {
            let old = before.audio.get(index)?;
            show.audio.iter().position(|new| {
                (&new.url, &new.pathway, &new.group) == (&old.url, &old.pathway, &old.group)
            })
        };
        renumber_track(&mut self.main, &variant);
        if let Some(track) = &mut self.audio {
            renumber_track(track, &audio);
        }
        self.refused = self.refused.iter().filter_map(|index| variant(*index)).collect();
        self.last = self.last.and_then(|(index, length)| Some((variant(index)?, length)));
        self.forced = self.forced.and_then(variant);
        for rung in &mut self.ladder {
            rung.variant = variant(rung.variant).unwrap_or(rung.variant);
        }
        self.presentation = Some(show);
    }
}

/// Which variants stay.
type Filter<'a> = dyn Fn(usize, &Variant) -> bool + 'a;

fn renumber_track(track: &mut Track, place: &dyn Fn(usize) -> Option<usize>) {
    track.source = place(track.source).unwrap_or(track.source);
    track.others.retain_mut(|(source, _)| place(*source).map(|new| *source = new).is_some());
    if let Some(loading) = &mut track.loading {
        loading.source = place(loading.source).unwrap_or(loading.source);
        loading.abandon = loading.abandon.and_then(|(at, to)| Some((at, place(to)?)));
    }
}

fn is_same(one: &Variant, other: &Variant) -> bool {
    one.url == other.url
        && one.pathway == other.pathway
        && one.bandwidth == other.bandwidth
        && one.representation == other.representation
}

/// The pathway that a manifest begins with: the one it names, else that of its first variant.
fn first_pathway(show: &Presentation) -> Option<String> {
    let named = show.steering.as_ref().and_then(|steering| steering.pathway.clone());
    let all = pathways(show);
    named.filter(|named| all.contains(&named.as_str())).or_else(|| all.first().map(|p| (*p).into()))
}

/// All pathways, each once.
pub(super) fn pathways(show: &Presentation) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for pathway in show.variants.iter().filter_map(|variant| variant.pathway.as_deref()) {
        if !all.contains(&pathway) {
            all.push(pathway);
        }
    }
    all
}

/// The best codec of the device that any variant has; `None` when there is none.
fn codec_family(show: &Presentation, behaviour: &Behaviour) -> Option<String> {
    let is_offered = |codec: &&String| {
        show.variants.iter().filter_map(|v| v.codecs.as_deref()).any(|all| has_codec(all, codec))
    };
    behaviour.codecs.iter().find(is_offered).cloned()
}

fn has_codec(codecs: &str, family: &str) -> bool {
    codecs.split(',').any(|codec| codec.trim().split('.').next() == Some(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_known_by_what_stands_before_the_dot() {
        for (codecs, has) in [
            ("avc1.64001f,mp4a.40.2", true),
            ("mp4a.40.2, avc1.4d401e", true),
            ("hvc1.1.6.L93.B0", false),
            ("avc11", false),
            ("", false),
        ] {
            assert_eq!(has_codec(codecs, "avc1"), has, "{codecs}");
        }
    }
}
