//! The requests of a video: what each is for says how urgent it is and what is said with it.

use std::time::Duration;

use url::Url;

use super::{
    super::{
        cmcd::{Cmcd, ObjectType},
        event::FetchId,
        track::{Role, What},
        world::{Ask, World},
    },
    state::Video,
};
use crate::{kind::ObjectKind, manifest::Object};

impl Video {
    /// Asks for a manifest.
    pub(super) fn ask_document(
        &self,
        kind: ObjectKind,
        url: &Url,
        timeout: Duration,
        world: &mut World<'_>,
    ) -> FetchId {
        self.ask_part_of(kind, url, None, timeout, world)
    }

    /// Asks for a manifest, or for some bytes of a file that say as much.
    pub(super) fn ask_part_of(
        &self,
        kind: ObjectKind,
        url: &Url,
        range: Option<(u64, Option<u64>)>,
        timeout: Duration,
        world: &mut World<'_>,
    ) -> FetchId {
        let is_steering = kind == ObjectKind::Steering;
        let object = if is_steering { ObjectType::Other } else { ObjectType::Manifest };
        let session = world.session.id;
        let cmcd = || Cmcd { is_startup: self.is_starting(), ..self.cmcd(session, object) };
        let urgency = match kind {
            _ if self.head.is_none() => URGENCY_PREFETCH,
            ObjectKind::Steering => URGENCY_STEERING,
            _ => URGENCY_MANIFEST,
        };
        world.ask(Ask { kind, url, range, media: None, urgency, timeout, cmcd: &cmcd })
    }

    /// Asks for an init segment, a segment or a part.
    pub(super) fn ask_media(
        &self,
        role: Role,
        what: &What,
        object: &Object,
        duration: Duration,
        world: &mut World<'_>,
    ) -> FetchId {
        let session = world.session.id;
        let throughput = world.estimate.bits_per_second() as u64;
        let (kind, media, own_urgency) = match (what, role) {
            (What::Init(_), _) => (ObjectKind::Init, None, URGENCY_MANIFEST),
            (What::Key(_), _) => (ObjectKind::Key, None, URGENCY_MANIFEST),
            (What::Segment, Role::Main) => (ObjectKind::Segment, Some(duration), URGENCY_VIDEO),
            (What::Segment, Role::Audio) => (ObjectKind::Segment, Some(duration), URGENCY_AUDIO),
            (_, Role::Main) => (ObjectKind::Part, Some(duration), URGENCY_VIDEO),
            (_, Role::Audio) => (ObjectKind::Part, Some(duration), URGENCY_AUDIO),
        };
        let urgency = if self.head.is_none() { URGENCY_PREFETCH } else { own_urgency };
        let is_init = matches!(what, What::Init(_) | What::Key(_));
        let cmcd = || {
            let type_of = match (is_init, role, &self.audio) {
                _ if matches!(what, What::Key(_)) => ObjectType::Key,
                (true, ..) => ObjectType::Init,
                (_, Role::Audio, _) => ObjectType::Audio,
                (_, Role::Main, Some(_)) => ObjectType::Video,
                (_, Role::Main, None) => ObjectType::Muxed,
            };
            let track = self.track(role);
            let position = self.position();
            Cmcd {
                is_startup: self.is_starting() || self.buffer_ahead().is_zero(),
                was_starved: track.is_some_and(|track| track.was_starved),
                bitrate: self.bitrate_of(role),
                top_bitrate: self.top_bitrate_of(role),
                duration: media,
                buffer: (!is_init)
                    .then(|| track.map_or(Duration::ZERO, |track| track.buffer.ahead(position))),
                throughput: Some(throughput),
                next: if is_init { None } else { self.following(role, object) },
                ..self.cmcd(session, type_of)
            }
        };
        world.ask(Ask {
            kind,
            url: &object.url,
            range: object.range,
            media,
            urgency,
            timeout: world.behaviour.timeout_segment,
            cmcd: &cmcd,
        })
    }

    /// What is said with every request.
    fn cmcd(&self, session: uuid::Uuid, object: ObjectType) -> Cmcd {
        // No query: it may carry a token. The standard has 64 characters at most.
        let content: String = self.address.path().chars().take(64).collect();
        Cmcd {
            session,
            content,
            object,
            is_live: self.is_live,
            is_dash: self.presentation.as_ref().is_some_and(|show| show.is_dash),
            is_startup: false,
            was_starved: false,
            bitrate: None,
            top_bitrate: None,
            duration: None,
            buffer: None,
            throughput: None,
            next: None,
        }
    }

    fn is_starting(&self) -> bool {
        self.head.as_ref().is_none_or(|head| !head.has_started())
    }

    fn bitrate_of(&self, role: Role) -> Option<u64> {
        let show = self.presentation.as_ref()?;
        let bitrate = match role {
            Role::Main => show.variants.get(self.main.source)?.bandwidth,
            Role::Audio => show.audio.get(self.audio.as_ref()?.source)?.bandwidth?,
        };
        (bitrate > 0).then_some(bitrate)
    }

    fn top_bitrate_of(&self, role: Role) -> Option<u64> {
        match role {
            Role::Main => self.ladder.last().map(|rung| rung.bandwidth).filter(|bits| *bits > 0),
            Role::Audio => self.bitrate_of(role),
        }
    }

    /// The object behind this one, relative to it.
    fn following(&self, role: Role, object: &Object) -> Option<String> {
        let list = self.track(role)?.list.as_ref()?;
        let at = self.track(role)?.next.checked_sub(list.origin)?;
        let own = list.timeline.item(list.timeline.find(at, false)?)?;
        let next = list.timeline.item(list.timeline.find(own.start + own.duration, false)?)?;
        object.url.make_relative(&next.object.url).filter(|relative| !relative.is_empty())
    }
}

/// RFC 9218: without manifests and init segments nothing goes on, and sound that stops is worse than a picture.
const URGENCY_MANIFEST: u8 = 1;
const URGENCY_AUDIO: u8 = 2;
const URGENCY_VIDEO: u8 = 3;
const URGENCY_STEERING: u8 = 4;
const URGENCY_PREFETCH: u8 = 6;
