//! HLS (RFC 8216): the multivariant playlist and one VOD media playlist for each rendition.
//!
//! Sound is a rendition of its own in one group that all variants share, so it is stored and fetched once.

use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, Map, MasterPlaylist, MediaPlaylist, MediaPlaylistType,
    MediaSegment, Resolution, VariantStream,
};
use tidegate_contract::media_path::MediaObject;

use super::place::Place;
use crate::media::{Rendition, RenditionKind};

/// The playlist of one rendition.
pub(super) fn media_playlist(place: &Place, rendition: &Rendition) -> String {
    let seconds = |ticks: u64| ticks as f64 / f64::from(rendition.timescale.max(1));
    let target = rendition
        .segments
        .iter()
        .map(|segment| seconds(segment.duration).round() as u64)
        .max()
        .unwrap_or(1)
        .max(1);
    let segments = (1..)
        .zip(&rendition.segments)
        .map(|(number, segment)| MediaSegment {
            uri: place.reference(MediaObject::Segment(rendition.id.clone(), number)),
            duration: seconds(segment.duration) as f32,
            map: (number == 1).then(|| Map {
                uri: place.reference(MediaObject::Init(rendition.id.clone())),
                ..Default::default()
            }),
            ..Default::default()
        })
        .collect();
    let playlist = MediaPlaylist {
        version: Some(VERSION),
        independent_segments: true,
        target_duration: target,
        playlist_type: Some(MediaPlaylistType::Vod),
        end_list: true,
        segments,
        ..Default::default()
    };
    text(|out| playlist.write_to(out))
}

/// The playlist of all renditions.
pub(super) fn multivariant(renditions: &[&Rendition]) -> String {
    let audio = renditions.iter().copied().find(|rendition| !rendition.is_video());
    let playlist = MasterPlaylist {
        version: Some(VERSION),
        independent_segments: true,
        alternatives: audio.map(alternative).into_iter().collect(),
        variants: renditions.iter().filter_map(|rendition| variant(rendition, audio)).collect(),
        ..Default::default()
    };
    text(|out| playlist.write_to(out))
}

fn alternative(audio: &Rendition) -> AlternativeMedia {
    let channels = match audio.kind {
        RenditionKind::Audio { channels, .. } => Some(channels.to_string()),
        RenditionKind::Video { .. } => None,
    };
    AlternativeMedia {
        media_type: AlternativeMediaType::Audio,
        uri: Some(format!("{}.m3u8", audio.id)),
        group_id: GROUP.into(),
        name: "main".into(),
        default: true,
        autoselect: true,
        channels,
        ..Default::default()
    }
}

/// A variant needs the bandwidth of everything that plays with it.
fn variant(rendition: &Rendition, audio: Option<&Rendition>) -> Option<VariantStream> {
    let RenditionKind::Video { width, height, fps } = rendition.kind else { return None };
    let with_audio = |rate: fn(&Rendition) -> u64| rate(rendition) + audio.map_or(0, rate);
    let codecs = match audio {
        Some(audio) => format!("{},{}", rendition.codecs, audio.codecs),
        None => rendition.codecs.clone(),
    };
    let frame_rate = f64::from(fps.0) / f64::from(fps.1.max(1));
    Some(VariantStream {
        uri: format!("{}.m3u8", rendition.id),
        bandwidth: with_audio(Rendition::peak_bandwidth),
        average_bandwidth: Some(with_audio(Rendition::average_bandwidth)),
        codecs: Some(codecs),
        resolution: Some(Resolution { width: width.into(), height: height.into() }),
        frame_rate: Some((frame_rate * 1000.0).round() / 1000.0),
        audio: audio.map(|_| GROUP.into()),
        ..Default::default()
    })
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("writing into memory");
    String::from_utf8(out).expect("made of text")
}

/// What `EXT-X-MAP` in a playlist with fMP4 segments needs (6), and what players have long had.
const VERSION: usize = 7;
const GROUP: &str = "audio";
