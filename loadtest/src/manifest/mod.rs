//! HLS (RFC 8216bis) and DASH (ISO/IEC 23009-1) in one model: renditions, and what to fetch of them. Pure.
//!
//! Invariant: whatever a server sends, parsing takes time and memory in proportion to its size, within limits, and ends
//! in a model or in an error that names the line.

use std::time::Duration;

use url::Url;

/// A whole presentation: what the first document says.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// Choices of the main content, ascending by bandwidth; never empty.
    pub variants: Vec<Variant>,
    /// Alternate audio, by group.
    pub audio: Vec<Audio>,
    pub steering: Option<Steering>,
    pub is_dash: bool,
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

/// One alternate audio rendition.
#[derive(Debug, Clone)]
pub struct Audio {
    pub url: Url,
    pub representation: Option<String>,
    pub group: String,
    pub is_default: bool,
    pub bandwidth: Option<u64>,
    pub pathway: Option<String>,
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
    /// Segments left out at the front by a delta update; they are those of the list before.
    pub skipped: u64,
    /// DASH: how often the MPD is asked for again, and when the live edge is.
    pub minimum_update: Option<Duration>,
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
    /// Media sequence number; DASH: the segment number.
    pub number: u64,
    pub discontinuity_sequence: u64,
    /// `None` for a segment that is still being made, of which only parts are there.
    pub object: Option<Object>,
    pub duration: Duration,
    pub init: Option<Object>,
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
}

/// Something that can be fetched: a URL, or some bytes of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object {
    pub url: Url,
    /// First byte, and the number of bytes when it is known.
    pub range: Option<(u64, Option<u64>)>,
}
