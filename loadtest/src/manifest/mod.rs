//! HLS (RFC 8216bis) and DASH (ISO/IEC 23009-1) in one model: renditions, and what to fetch of them. Pure.
//!
//! Invariant: whatever a server sends, parsing takes time and memory in proportion to its size, within limits, and ends
//! in a model or in an error that names the line.

pub mod hls;
pub mod dash;
pub mod steering;
mod reference; // URLs out of references
mod text; // documents as lines
mod time; // dates and durations
mod error;
mod work; // how much parsing does, for tests
pub mod limit;

use std::time::Duration;

use url::Url;

pub use self::error::{Fault, ManifestError};

/// A whole presentation: what the first document says.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// Choices of the main content, ascending by bandwidth; never empty.
    pub variants: Vec<Variant>,
    /// Alternate audio, by group.
    pub audio: Vec<Audio>,
    pub steering: Option<Steering>,
    pub is_dash: bool,
    /// Variables that media playlists may import ([`hls::media_importing`]); empty in DASH.
    pub variables: hls::Variables,
}

/// One choice of the main content.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The media playlist; for DASH the MPD itself.
    pub url: Url,
    /// DASH: the representation's id.
    pub representation: Option<String>,
    /// Peak bits per second (BANDWIDTH).
    pub bandwidth: u64,
    pub average_bandwidth: Option<u64>,
    pub resolution: Option<(u32, u32)>,
    pub codecs: Option<String>,
    pub audio_group: Option<String>,
    pub pathway: Option<String>,
    /// STABLE-VARIANT-ID, which pathway clones refer to.
    pub stable_id: Option<String>,
}

impl Variant {
    /// One of which nothing is known but where it is.
    #[must_use]
    pub fn at(url: Url) -> Self {
        Self {
            url,
            representation: None,
            bandwidth: 0,
            average_bandwidth: None,
            resolution: None,
            codecs: None,
            audio_group: None,
            pathway: None,
            stable_id: None,
        }
    }
}

/// One alternate audio rendition.
#[derive(Debug, Clone)]
pub struct Audio {
    pub url: Url,
    pub representation: Option<String>,
    pub group: String,
    pub is_default: bool,
    pub bandwidth: Option<u64>,
    pub pathway: Option<String>,
    /// STABLE-RENDITION-ID, which pathway clones refer to.
    pub stable_id: Option<String>,
}

/// Where content steering is asked (EXT-X-CONTENT-STEERING, ContentSteering).
#[derive(Debug, Clone)]
pub struct Steering {
    pub server: Url,
    pub pathway: Option<String>,
    /// DASH `queryBeforeStart`.
    pub is_before_start: bool,
}

/// What one rendition holds now: a media playlist, or what an MPD says of a representation at a time.
#[derive(Debug, Clone, Default)]
pub struct SegmentList {
    pub segments: Vec<Segment>,
    /// No segments will be added.
    pub is_ended: bool,
    /// EXT-X-TARGETDURATION, or the longest segment.
    pub target_duration: Duration,
    /// LL-HLS.
    pub part_target: Option<Duration>,
    pub server_control: ServerControl,
    pub preload_hint: Option<Part>,
    /// LL-HLS: how far the other renditions are.
    pub rendition_reports: Vec<RenditionReport>,
    /// EXT-X-START: where the one who made it wants viewers to begin.
    pub start: Option<Start>,
    /// EXT-X-MEDIA-SEQUENCE: the number of the first segment, also when there is none yet.
    pub media_sequence: u64,
    /// Segments left out at the front by a delta update; they are those of the list before.
    pub skipped: u64,
    /// DASH: how long an MPD serves before it is asked for again; `None` when it says all there will be.
    pub minimum_update: Option<Duration>,
    /// DASH: when the next segment of a template comes, which the same MPD tells when it is asked then.
    pub next_unix_ms: Option<i64>,
}

/// EXT-X-RENDITION-REPORT: the newest segment and part of another rendition.
#[derive(Debug, Clone)]
pub struct RenditionReport {
    pub url: Url,
    pub last_number: u64,
    pub last_part: Option<u64>,
}

/// Where play begins when the viewer does not choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    FromBeginning(Duration),
    FromEnd(Duration),
}

/// EXT-X-SERVER-CONTROL, or DASH's service description.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServerControl {
    pub can_block_reload: bool,
    pub can_skip_until: Option<Duration>,
    pub hold_back: Option<Duration>,
    pub part_hold_back: Option<Duration>,
}

/// One media segment.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Media sequence number. DASH: counted in a static MPD; in a live one, whose numbers begin anew with periods and
    /// windows, the milliseconds of presentation time: they grow, but not by one.
    pub number: u64,
    pub discontinuity_sequence: u64,
    /// `None` for a segment that is still being made, of which only parts are there.
    pub object: Option<Object>,
    pub duration: Duration,
    pub init: Option<Object>,
    /// EXT-X-KEY of the format `identity`: where its key is, when that can be fetched.
    pub key: Option<Object>,
    pub parts: Vec<Part>,
    /// EXT-X-PROGRAM-DATE-TIME, or the availability start of DASH: milliseconds since 1970.
    pub program_date_time: Option<i64>,
    pub is_gap: bool,
}

/// One LL-HLS partial segment.
#[derive(Debug, Clone)]
pub struct Part {
    pub object: Object,
    pub duration: Duration,
    pub is_independent: bool,
    /// It is not there and must not be asked for.
    pub is_gap: bool,
}

/// Something that can be fetched: a URL, or some bytes of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object {
    pub url: Url,
    /// First byte, and the number of bytes when it is known.
    pub range: Option<(u64, Option<u64>)>,
}

/// The two languages of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Hls,
    Dash,
}

/// Tells by the content, since servers often name the wrong type.
pub fn sniff(text: &[u8]) -> Result<Format, ManifestError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    if text.starts_with(b"#EXTM3U") {
        return Ok(Format::Hls);
    }
    let head = &text[..text.len().min(SNIFFED_BYTES)];
    // The root may stand behind a declaration and comments, and may have a prefix.
    let is_mpd = |window: &[u8]| matches!(window, b"<MPD" | b":MPD");
    if text.starts_with(b"<") && head.windows(4).any(is_mpd) {
        return Ok(Format::Dash);
    }
    Err(Fault::NotAManifest.into())
}

/// How far into a document the root element of an MPD is looked for.
const SNIFFED_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_tells_the_format() {
        let table: [(&[u8], Option<Format>); 8] = [
            (b"#EXTM3U\n", Some(Format::Hls)),
            (b"\xef\xbb\xbf#EXTM3U", Some(Format::Hls)),
            (b"<MPD/>", Some(Format::Dash)),
            (
                b"\n<?xml version=\"1.0\"?>\n<!-- made -->\n<MPD type=\"static\">",
                Some(Format::Dash),
            ),
            (b"<dash:MPD xmlns:dash=\"urn:mpeg:dash:schema:mpd:2011\">", Some(Format::Dash)),
            (b"<!DOCTYPE html><title>404</title>", None),
            (b"{\"error\":1}", None),
            (b"", None),
        ];
        for (text, format) in table {
            assert_eq!(sniff(text).ok(), format, "{}", String::from_utf8_lossy(text));
        }
    }
}
