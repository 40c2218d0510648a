//! What is published at each moment. Pure.
//!
//! A publication is the whole of what is ready, not what is new: origin replaces one by the next. The first one
//! comes with the smallest finished rendition and its sound, because a viewer who waits wants any picture; each
//! further rendition is added as it ends.

use std::time::Duration;

use tidegate_contract::package_job::{Publication, PublishedRendition};

use crate::{
    manifest::{self, Place},
    media::{Rendition, RenditionKind},
};

/// Everything that is stored.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    /// Finished renditions, in the order of the ladder.
    pub renditions: Vec<&'a Rendition>,
    /// Whether sound is still to come.
    pub awaits_audio: bool,
    /// File names below `image/`.
    pub images: &'a [String],
    /// Stills for feature extraction.
    pub stills: u32,
}

impl Stored<'_> {
    /// Whether this plays: at least one picture, and the sound if there is to be any.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        !self.awaits_audio && self.renditions.iter().any(|rendition| rendition.is_video())
    }

    /// What to publish.
    #[must_use]
    pub fn publication(&self, place: &Place, epoch: u64, complete: bool) -> Publication {
        let mut renditions = self.renditions.clone();
        renditions.sort_by_key(|rendition| !rendition.is_video());
        let duration = renditions.iter().map(|rendition| rendition.duration()).max();
        Publication {
            epoch,
            complete,
            duration: whole_millis(duration.unwrap_or_default()),
            renditions: renditions.iter().map(|rendition| published(rendition)).collect(),
            manifests: manifest::write(place, &renditions),
            images: self.images.to_vec(),
            stills: self.stills,
        }
    }
}

fn published(rendition: &Rendition) -> PublishedRendition {
    let (width, height) = match rendition.kind {
        RenditionKind::Video { width, height, .. } => (width, height),
        RenditionKind::Audio { .. } => (0, 0),
    };
    PublishedRendition {
        id: rendition.id.clone(),
        codecs: rendition.codecs.clone(),
        width,
        height,
        bandwidth: rendition.peak_bandwidth(),
        segments: rendition.segments.len() as u64,
        encoder: rendition.encoder.clone(),
    }
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::{MediaId, RenditionId};

    use super::*;
    use crate::media::Segment;

    fn rendition(id: &str, kind: RenditionKind) -> Rendition {
        Rendition {
            id: RenditionId::parse(id).expect("an id"),
            kind,
            codecs: if id == "audio" { "mp4a.40.2".into() } else { "avc1.64001e".into() },
            timescale: 1000,
            encoder: "libx264".into(),
            segments: vec![Segment { start: 0, duration: 4000, bytes: 1000 }],
        }
    }

    #[test]
    fn picture_waits_for_sound_and_sound_for_picture() {
        let picture =
            rendition("360p", RenditionKind::Video { width: 360, height: 640, fps: (30, 1) });
        let sound = rendition("audio", RenditionKind::Audio { channels: 2, sample_rate: 48_000 });
        let stored = |renditions: Vec<&'static Rendition>, awaits_audio| Stored {
            renditions,
            awaits_audio,
            images: &[],
            stills: 0,
        };
        let (picture, sound): (&Rendition, &Rendition) =
            (Box::leak(Box::new(picture)), Box::leak(Box::new(sound)));
        for (renditions, awaits_audio, playable) in [
            (vec![], false, false),
            (vec![sound], false, false),
            (vec![picture], true, false),
            (vec![picture], false, true),
            (vec![sound, picture], false, true),
        ] {
            let stored = stored(renditions, awaits_audio);
            assert_eq!(stored.is_playable(), playable, "{stored:?}");
        }
        let place = Place::new(MediaId::parse("m1").expect("an id"), 2);
        let publication = stored(vec![sound, picture], false).publication(&place, 2, false);
        let ids: Vec<_> = publication.renditions.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["360p", "audio"], "sound stands last");
        assert_eq!(publication.duration, Duration::from_secs(4));
        let names: Vec<_> = publication.manifests.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["360p.m3u8", "audio.m3u8", "main.m3u8", "manifest.mpd"]);
    }
}
