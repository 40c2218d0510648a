//! The state of a video, and small questions about it.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::super::{
    abr::Rung,
    behaviour::Behaviour,
    event::FetchId,
    playhead::Playhead,
    steering::Steering,
    track::{Document, Role, Track},
};
use crate::{
    kind::FailureClass,
    manifest::{Presentation, dash::Mpd},
};

/// One video of a session.
#[derive(Debug)]
pub(in super::super) struct Video {
    pub(super) address: Url,
    pub(super) entry: Document,
    pub(super) presentation: Option<Arc<Presentation>>,
    /// DASH, and the fetches of it after the first.
    pub(super) mpd: Option<Arc<Mpd>>,
    pub(super) mpd_document: Document,
    /// Ascending; empty until the presentation is there.
    pub(super) ladder: Vec<Rung>,
    pub(super) first_bandwidth: Option<u64>,
    /// Variants that failed.
    pub(super) refused: Vec<usize>,
    pub(super) pathway: Option<String>,
    pub(super) pathway_switches: u32,
    pub(super) steering: Option<Steering>,
    pub(super) main: Track,
    pub(super) audio: Option<Track>,
    /// There as soon as the viewer asked for it; before, the video is only prepared.
    pub(super) head: Option<Playhead>,
    /// Where playing begins, once that is known.
    pub(super) start: Option<Duration>,
    pub(super) is_live: bool,
    /// Live: the latency that the player tries to keep.
    pub(super) live_target: Duration,
    /// The variant of the next segment, whatever the rule says: after a download that was given up.
    pub(super) forced: Option<usize>,
    /// Variant and length of the segment that came last.
    pub(super) last: Option<(usize, Duration)>,
    pub(super) playlist_took: Duration,
    /// Nothing more can be fetched.
    pub(super) broken: Option<FailureClass>,
    /// Why, for people.
    pub(super) reason: Option<String>,
    /// After how much media the viewer seeks.
    pub(super) next_seek: Option<Duration>,
    /// The share of it that the viewer wants to see.
    pub(super) share: f64,
    /// How much media the session still wants to see.
    pub(super) budget: Option<Duration>,
}

impl Video {
    /// A video of which only the address is known.
    pub(in super::super) fn new(address: Url, share: f64, now: Duration) -> Self {
        Self {
            address,
            entry: Document { due: Some(now), ..Document::default() },
            presentation: None,
            mpd: None,
            mpd_document: Document::default(),
            ladder: Vec::new(),
            first_bandwidth: None,
            refused: Vec::new(),
            pathway: None,
            pathway_switches: 0,
            steering: None,
            main: Track::default(),
            audio: None,
            head: None,
            start: None,
            is_live: false,
            live_target: Duration::ZERO,
            forced: None,
            last: None,
            playlist_took: Duration::ZERO,
            broken: None,
            reason: None,
            next_seek: None,
            share,
            budget: None,
        }
    }

    pub(super) fn track(&self, role: Role) -> Option<&Track> {
        match role {
            Role::Main => Some(&self.main),
            Role::Audio => self.audio.as_ref(),
        }
    }

    pub(super) fn track_mut(&mut self, role: Role) -> Option<&mut Track> {
        match role {
            Role::Main => Some(&mut self.main),
            Role::Audio => self.audio.as_mut(),
        }
    }

    /// Whose playlist this fetch is.
    pub(super) fn list_role(&self, fetch: FetchId) -> Option<Role> {
        [Role::Main, Role::Audio].into_iter().find(|role| {
            self.track(*role).is_some_and(|track| track.document.pending == Some(fetch))
        })
    }

    /// Whose segment index this fetch is.
    pub(super) fn index_role(&self, fetch: FetchId) -> Option<Role> {
        let role = self.list_role(fetch)?;
        self.track(role)?.document.index.as_ref().map(|_| role)
    }

    /// Whose media this fetch is.
    pub(super) fn media_role(&self, fetch: FetchId) -> Option<Role> {
        [Role::Main, Role::Audio].into_iter().find(|role| {
            let loading = self.track(*role).and_then(|track| track.loading.as_ref());
            loading.is_some_and(|loading| loading.id == fetch)
        })
    }

    pub(super) fn steering_is(&self, fetch: FetchId) -> bool {
        self.steering.as_ref().is_some_and(|steering| steering.pending == Some(fetch))
    }

    pub(super) fn is_waiting_for_steering(&self) -> bool {
        self.steering.as_ref().is_some_and(|steering| steering.is_awaited)
    }

    /// Where the play head is, or will begin.
    pub(super) fn position(&self) -> Duration {
        let begin = self.start.unwrap_or_default();
        self.head.as_ref().map_or(begin, Playhead::position)
    }

    /// Media that can be played without a pause.
    pub(super) fn buffer_ahead(&self) -> Duration {
        let position = self.position();
        let main = self.main.buffer.ahead(position);
        match &self.audio {
            Some(audio) if !audio.is_complete => main.min(audio.buffer.ahead(position)),
            _ => main,
        }
    }

    /// Declared bits per second of the variant that is fetched.
    pub(super) fn bitrate(&self) -> u64 {
        let show = self.presentation.as_ref();
        let variant = show.and_then(|show| show.variants.get(self.main.source));
        variant.map_or(0, |variant| variant.average_bandwidth.unwrap_or(variant.bandwidth))
    }

    /// The rung of a variant.
    pub(super) fn rung_of(&self, variant: usize) -> Option<usize> {
        self.ladder.iter().position(|rung| rung.variant == variant)
    }

    /// Whether LL-HLS parts are taken from the track's list.
    pub(super) fn takes_parts(&self, role: Role, behaviour: &Behaviour) -> bool {
        let list = self.track(role).and_then(|track| track.list.as_ref());
        behaviour.low_latency && list.is_some_and(|list| list.timeline.part_target.is_some())
    }
}
