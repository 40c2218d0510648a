//! DASH (ISO/IEC 23009-1): one static MPD with a `SegmentTimeline` for each representation.
//!
//! Representations of one codec family stand in one adaptation set, because a player may switch only among those.
//! Times are those of the presentation: edit lists are already taken off, as the live profile wants.

use std::time::Duration;

use dash_mpd_core::{
    AdaptationSet, AudioChannelConfiguration, MPD, Period, Representation, S, SegmentTemplate,
    SegmentTimeline,
};
use tidegate_contract::media_path::MediaObject;

use super::place::Place;
use crate::media::{Rendition, RenditionKind};

/// The MPD over these renditions.
pub(super) fn mpd(place: &Place, renditions: &[&Rendition]) -> String {
    let duration = renditions.iter().map(|rendition| rendition.duration()).max();
    let mpd = MPD {
        xmlns: Some("urn:mpeg:dash:schema:mpd:2011".into()),
        mpdtype: Some("static".into()),
        profiles: Some(PROFILES.into()),
        minBufferTime: Some(Duration::from_secs(4)),
        mediaPresentationDuration: duration,
        periods: vec![Period {
            id: Some("0".into()),
            start: Some(Duration::ZERO),
            adaptations: sets(place, renditions),
            ..Default::default()
        }],
        ..Default::default()
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{mpd}\n")
}

/// Video families in the order in which they appear, then audio.
fn sets(place: &Place, renditions: &[&Rendition]) -> Vec<AdaptationSet> {
    let mut families: Vec<(bool, &str)> = Vec::new();
    for rendition in renditions {
        let family = (!rendition.is_video(), rendition.family());
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families.sort_by_key(|&(is_audio, _)| is_audio);
    families
        .into_iter()
        .enumerate()
        .map(|(index, (is_audio, family))| {
            let members = renditions.iter().filter(|rendition| rendition.family() == family);
            let (content, mime) =
                if is_audio { ("audio", "audio/mp4") } else { ("video", "video/mp4") };
            AdaptationSet {
                id: Some(index.to_string()),
                contentType: Some(content.into()),
                mimeType: Some(mime.into()),
                segmentAlignment: Some(true),
                startWithSAP: Some(1),
                representations: members.map(|member| representation(place, member)).collect(),
                ..Default::default()
            }
        })
        .collect()
}

fn representation(place: &Place, rendition: &Rendition) -> Representation {
    let common = Representation {
        id: Some(rendition.id.to_string()),
        codecs: Some(rendition.codecs.clone()),
        bandwidth: Some(rendition.peak_bandwidth()),
        SegmentTemplate: Some(template(place, rendition)),
        ..Default::default()
    };
    match rendition.kind {
        RenditionKind::Video { width, height, fps } => Representation {
            width: Some(width.into()),
            height: Some(height.into()),
            frameRate: Some(frame_rate(fps)),
            sar: Some("1:1".into()),
            ..common
        },
        RenditionKind::Audio { channels, sample_rate } => Representation {
            audioSamplingRate: Some(sample_rate.to_string()),
            AudioChannelConfiguration: vec![AudioChannelConfiguration {
                schemeIdUri: CHANNELS_SCHEME.into(),
                value: Some(channels.to_string()),
                ..Default::default()
            }],
            ..common
        },
    }
}

fn template(place: &Place, rendition: &Rendition) -> SegmentTemplate {
    let mut runs: Vec<S> = Vec::new();
    for segment in &rendition.segments {
        match runs.last_mut() {
            Some(last) if last.d == segment.duration => last.r = Some(last.r.unwrap_or(0) + 1),
            last => {
                // Only the first run says when it begins: the others follow without a gap.
                let t = last.is_none().then_some(segment.start);
                runs.push(S { t, d: segment.duration, ..Default::default() });
            }
        }
    }
    SegmentTemplate {
        timescale: Some(rendition.timescale.into()),
        startNumber: Some(1),
        initialization: Some(place.reference(MediaObject::Init(rendition.id.clone()))),
        media: Some(place.template(&rendition.id)),
        SegmentTimeline: Some(SegmentTimeline { segments: runs }),
        ..Default::default()
    }
}

fn frame_rate((frames, seconds): (u32, u32)) -> String {
    if seconds == 1 { frames.to_string() } else { format!("{frames}/{seconds}") }
}

const PROFILES: &str = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019";
const CHANNELS_SCHEME: &str = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011";
