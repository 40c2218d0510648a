//! Manifests: an HLS multivariant playlist, one media playlist for each rendition, and one DASH MPD, all over the
//! same segments; and the WebVTT index of the sprite sheets. Pure: renditions in, texts out.
//!
//! Segments are named relative to the manifest (`../../m/…`), so a whole tree can be served below a prefix.
//!
//! **Invariant.** A manifest names only renditions that it is given, and those are given only once every one of
//! their segments is stored.

mod hls; // multivariant and media playlists
mod dash; // MPD
mod vtt; // sprite sheets
mod place; // where the objects of one attempt are, seen from a manifest

use tidegate_contract::{
    media_path::{MPD, MULTIVARIANT},
    package_job::PublishedManifest,
};

pub use place::Place;
pub use vtt::{SpriteGrid, sprite_vtt};

use crate::media::Rendition;

/// Every manifest over these renditions, which are in the order of the ladder.
#[must_use]
pub fn write(place: &Place, renditions: &[&Rendition]) -> Vec<PublishedManifest> {
    let mut manifests: Vec<PublishedManifest> = renditions
        .iter()
        .map(|rendition| PublishedManifest {
            name: format!("{}.m3u8", rendition.id),
            body: hls::media_playlist(place, rendition),
        })
        .collect();
    let body = hls::multivariant(renditions);
    manifests.push(PublishedManifest { name: MULTIVARIANT.to_owned(), body });
    let body = dash::mpd(place, renditions);
    manifests.push(PublishedManifest { name: MPD.to_owned(), body });
    manifests
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_contract::id::{MediaId, RenditionId};

    use super::*;
    use crate::media::{RenditionKind, Segment};

    fn place() -> Place {
        Place::new(MediaId::parse("m1").expect("an id"), 3)
    }

    fn rendition(id: &str, kind: RenditionKind, codecs: &str, timescale: u32) -> Rendition {
        let second = u64::from(timescale);
        let segments = vec![
            Segment { start: 0, duration: 4 * second, bytes: 200_000 },
            Segment { start: 4 * second, duration: 4 * second, bytes: 250_000 },
            Segment { start: 8 * second, duration: second / 2, bytes: 40_000 },
        ];
        Rendition {
            id: RenditionId::parse(id).expect("an id"),
            kind,
            codecs: codecs.into(),
            timescale,
            encoder: "libx264".into(),
            segments,
        }
    }

    fn video(id: &str, width: u32, height: u32, codecs: &str) -> Rendition {
        let kind = RenditionKind::Video { width, height, fps: (30_000, 1001) };
        rendition(id, kind, codecs, 30_000)
    }

    fn audio() -> Rendition {
        let kind = RenditionKind::Audio { channels: 2, sample_rate: 48_000 };
        rendition("audio", kind, "mp4a.40.2", 48_000)
    }

    fn body(manifests: &[PublishedManifest], name: &str) -> String {
        manifests.iter().find(|manifest| manifest.name == name).expect(name).body.clone()
    }

    #[test]
    fn hls_names_what_is_there() {
        let (small, hevc, audio) = (
            video("360p", 360, 640, "avc1.64001e"),
            video("hevc-720p", 720, 1280, "hvc1.1.6.L93.90"),
            audio(),
        );
        let manifests = write(&place(), &[&small, &audio, &hevc]);
        assert_eq!(
            body(&manifests, "main.m3u8"),
            "#EXTM3U\n\
             #EXT-X-VERSION:7\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\",GROUP-ID=\"audio\",NAME=\"main\",\
             DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=922354,\
             CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=360x640,FRAME-RATE=29.97,AUDIO=\"audio\"\n\
             360p.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=922354,\
             CODECS=\"hvc1.1.6.L93.90,mp4a.40.2\",RESOLUTION=720x1280,FRAME-RATE=29.97,AUDIO=\"audio\"\n\
             hevc-720p.m3u8\n"
        );
        assert_eq!(
            body(&manifests, "360p.m3u8"),
            "#EXTM3U\n\
             #EXT-X-VERSION:7\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-TARGETDURATION:4\n\
             #EXT-X-PLAYLIST-TYPE:VOD\n\
             #EXT-X-MAP:URI=\"../../m/m1/3/360p/init.mp4\"\n\
             #EXTINF:4,\n\
             ../../m/m1/3/360p/1.m4s\n\
             #EXTINF:4,\n\
             ../../m/m1/3/360p/2.m4s\n\
             #EXTINF:0.5,\n\
             ../../m/m1/3/360p/3.m4s\n\
             #EXT-X-ENDLIST\n"
        );
        assert_eq!(manifests.len(), 5);
    }

    #[test]
    fn a_video_without_sound_names_no_group() {
        let small = video("360p", 360, 640, "avc1.64001e");
        let text = body(&write(&place(), &[&small]), "main.m3u8");
        assert!(!text.contains("AUDIO") && text.contains("CODECS=\"avc1.64001e\""), "{text}");
        let mpd = body(&write(&place(), &[&small]), "manifest.mpd");
        assert!(!mpd.contains("audio"), "{mpd}");
    }

    #[test]
    fn the_mpd_reads_as_what_it_was_written_from() {
        let (small, hevc, audio) = (
            video("360p", 360, 640, "avc1.64001e"),
            video("hevc-720p", 720, 1280, "hvc1.1.6.L93.90"),
            audio(),
        );
        let text = body(&write(&place(), &[&small, &audio, &hevc]), "manifest.mpd");
        let mpd = dash_mpd_core::parse(&text).expect("an MPD");
        assert_eq!(mpd.mpdtype.as_deref(), Some("static"));
        assert_eq!(mpd.mediaPresentationDuration, Some(Duration::from_millis(8500)));
        let sets = &mpd.periods[0].adaptations;
        let ids: Vec<Vec<_>> = sets
            .iter()
            .map(|set| set.representations.iter().filter_map(|r| r.id.as_deref()).collect())
            .collect();
        assert_eq!(ids, [vec!["360p"], vec!["hevc-720p"], vec!["audio"]], "a set per codec family");
        let representation = &sets[0].representations[0];
        assert_eq!(representation.frameRate.as_deref(), Some("30000/1001"));
        assert_eq!(representation.bandwidth, Some(500_000));
        let template = representation.SegmentTemplate.as_ref().expect("a template");
        assert_eq!(template.media.as_deref(), Some("../../m/m1/3/360p/$Number$.m4s"));
        assert_eq!(template.startNumber, Some(1));
        let timeline = template.SegmentTimeline.as_ref().expect("a timeline");
        let runs: Vec<_> = timeline.segments.iter().map(|s| (s.t, s.d, s.r)).collect();
        assert_eq!(runs, [(Some(0), 120_000, Some(1)), (None, 15_000, None)]);
    }
}
