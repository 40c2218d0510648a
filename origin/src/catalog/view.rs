//! A video as the API shows it: its state, and the paths of everything that can be fetched. Values in, values out.

use serde::Serialize;
use tidegate_contract::{
    id::MediaId,
    media_path::{ImageName, ManifestName, MediaObject, MediaPath},
    package_job::PublishedRendition,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use crate::catalog::model::{Media, MediaFailure, MediaState, Published, Video};

/// A video as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct VideoView {
    /// Id of the video.
    pub(super) id: String,
    /// Id of the media it shows; videos of the same content share it.
    pub(super) media: String,
    /// Title, or the file's name when no title was given.
    pub(super) title: String,
    /// Name of the uploaded file.
    pub(super) filename: String,
    /// When it was added (RFC 3339).
    pub(super) created: String,
    /// How far it is.
    pub(super) state: MediaState,
    /// Whether the state is final: nothing more will come.
    pub(super) is_final: bool,
    /// How far packaging is, in thousandths.
    pub(super) progress_permille: u16,
    /// Why it ended early. A video that is `playable` with a failure lacks some renditions.
    pub(super) failure: Option<FailureView>,
    /// Length of the presentation in milliseconds.
    pub(super) duration_ms: Option<u64>,
    /// What can be played now.
    pub(super) renditions: Vec<RenditionView>,
    /// Path of the HLS multivariant playlist, once it can be played.
    pub(super) hls: Option<String>,
    /// Path of the MPD, once it can be played.
    pub(super) dash: Option<String>,
    /// Path of the first thumbnail.
    pub(super) thumbnail: Option<String>,
    /// Paths of all thumbnails.
    pub(super) thumbnails: Vec<String>,
    /// Paths of the sprite sheets.
    pub(super) sprites: Vec<String>,
    /// Path of the WebVTT that maps times to places on the sprite sheets.
    pub(super) sprite_vtt: Option<String>,
    /// Path of the watch page.
    pub(super) watch: String,
    /// Grows with every change; the id of the matching event.
    pub(super) version: i64,
}

/// Why a video ended early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FailureView {
    /// A name from the documented list: `damaged`, `no_video`, `internal` …
    pub(super) reason: &'static str,
    /// For people.
    pub(super) detail: String,
}

/// One rendition of a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RenditionView {
    /// Its name: `720p`, `hevc-1080p`, `audio`.
    pub(super) id: String,
    /// Codec string (RFC 6381).
    pub(super) codecs: String,
    /// Width in pixels; 0 for audio.
    pub(super) width: u32,
    /// Height in pixels; 0 for audio.
    pub(super) height: u32,
    /// Peak bits per second.
    pub(super) bandwidth: u64,
    /// Number of segments.
    pub(super) segments: u64,
    /// The encoder that made it.
    pub(super) encoder: String,
    /// Path of its HLS media playlist.
    pub(super) playlist: String,
}

impl VideoView {
    /// A video with the media it shows.
    #[must_use]
    pub(super) fn new(video: &Video, media: &Media) -> Self {
        let published = media.published.as_ref();
        let manifest = |name| MediaPath::Manifest { video: video.id.clone(), name }.to_string();
        let playable = |name| published.map(|_| manifest(name));
        let images = published.map_or_else(Vec::new, |p| image_paths(&media.id, p));
        let named = |prefix: &str, is_vtt: bool| {
            images
                .iter()
                .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(".vtt") == is_vtt)
                .map(|(_, path)| path.clone())
                .collect::<Vec<_>>()
        };
        let thumbnails = named("thumb", false);
        Self {
            id: video.id.to_string(),
            media: media.id.to_string(),
            title: if video.title.is_empty() { &video.filename } else { &video.title }.clone(),
            filename: video.filename.clone(),
            created: rfc3339(video.created_ms),
            state: media.state,
            is_final: media.is_final(),
            progress_permille: media.progress_permille,
            failure: media.failure.as_ref().map(FailureView::from),
            duration_ms: published.map(|p| p.duration_ms),
            renditions: published.map_or_else(Vec::new, |p| {
                p.renditions
                    .iter()
                    .map(|r| RenditionView::new(r, manifest(ManifestName::Media(r.id.clone()))))
                    .collect()
            }),
            hls: playable(ManifestName::Multivariant),
            dash: playable(ManifestName::Mpd),
            thumbnail: thumbnails.first().cloned(),
            thumbnails,
            sprites: named("sprite", false),
            sprite_vtt: named("sprite", true).into_iter().next(),
            watch: format!("/watch/{}", video.id),
            version: media.version,
        }
    }
}

impl RenditionView {
    fn new(rendition: &PublishedRendition, playlist: String) -> Self {
        Self {
            id: rendition.id.to_string(),
            codecs: rendition.codecs.clone(),
            width: rendition.width,
            height: rendition.height,
            bandwidth: rendition.bandwidth,
            segments: rendition.segments,
            encoder: rendition.encoder.clone(),
            playlist,
        }
    }
}

impl From<&MediaFailure> for FailureView {
    fn from(failure: &MediaFailure) -> Self {
        Self { reason: failure.reason.as_str(), detail: failure.detail.clone() }
    }
}

fn image_paths(media: &MediaId, published: &Published) -> Vec<(String, String)> {
    let path = |name: &String| {
        let object = MediaObject::Image(ImageName::parse(name).ok()?);
        let path = MediaPath::Object { media: media.clone(), epoch: published.epoch, object };
        Some((name.clone(), path.to_string()))
    };
    published.images.iter().filter_map(path).collect()
}

fn rfc3339(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::VideoId;

    use super::*;
    use crate::catalog::model::tests::publication;

    #[test]
    fn a_view_has_paths_once_there_is_something_to_play() {
        let video = Video {
            id: VideoId::parse("v1").unwrap(),
            media: MediaId::parse("m1").unwrap(),
            client: "demo".into(),
            filename: "cat.mp4".into(),
            title: String::new(),
            created_ms: 0,
        };
        let id = MediaId::parse("m1").unwrap();
        let mut media = Media::new(id, String::new(), String::new(), 10);
        let before = VideoView::new(&video, &media);
        assert_eq!((before.hls, before.title.as_str()), (None, "cat.mp4"));
        assert_eq!(before.created, "1970-01-01T00:00:00Z");

        media.publish(&publication(false), "p".into());
        let view = VideoView::new(&video, &media);
        assert_eq!(view.hls.as_deref(), Some("/v/v1/main.m3u8"));
        assert_eq!(view.dash.as_deref(), Some("/v/v1/manifest.mpd"));
        assert_eq!(view.renditions[0].playlist, "/v/v1/360p.m3u8");
        assert_eq!(view.thumbnail.as_deref(), Some("/m/m1/2/image/thumb-1.jpg"));
        assert_eq!(view.thumbnails.len(), 2);
        assert_eq!(view.sprites, ["/m/m1/2/image/sprite-1.jpg"]);
        assert_eq!(view.sprite_vtt.as_deref(), Some("/m/m1/2/image/sprite.vtt"));
    }
}
