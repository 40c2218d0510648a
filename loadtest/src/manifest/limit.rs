//! What a manifest may ask of the rig at most. Real ones stay far below; what is beyond is refused by name.

/// Bytes of one document.
pub const MAX_BYTES: usize = 8 << 20;
/// Lines of a playlist.
pub const MAX_LINES: u32 = 1_000_000;
/// Segments and parts of one rendition at one time.
pub const MAX_SEGMENTS: usize = 100_000;
/// Choices of the main content; and alternate renditions of each kind.
pub const MAX_VARIANTS: usize = 256;
/// Bytes of one URL, as written and after it was resolved.
pub const MAX_URL_BYTES: usize = 8 << 10;
/// Bytes of all URLs of one list: a long base and many short references make much out of little.
pub const MAX_LIST_URL_BYTES: usize = 32 << 20;
/// Bytes of a name or of another attribute that is kept.
pub const MAX_NAME_BYTES: usize = 1 << 10;
/// Variables of EXT-X-DEFINE.
pub const MAX_VARIABLES: usize = 256;
/// One segment, in seconds: a day.
pub const MAX_SEGMENT_SECONDS: u64 = 86_400;
/// A presentation, in seconds: a hundred years.
pub const MAX_PRESENTATION_SECONDS: u64 = 100 * 365 * 86_400;
/// Sequence numbers, as players in JavaScript count them.
pub const MAX_NUMBER: u64 = 1 << 53;
/// Elements of an MPD.
pub const MAX_ELEMENTS: u32 = 1_000_000;
/// Elements of an MPD within one another.
pub const MAX_DEPTH: u32 = 64;
/// Periods of an MPD.
pub const MAX_PERIODS: usize = 1_000;
/// Adaptation sets of a period.
pub const MAX_SETS: usize = 256;
/// Representations of an MPD, over all periods.
pub const MAX_REPRESENTATIONS: usize = 16_384;
/// Locations that an element of an MPD offers for the same bytes.
pub const MAX_LOCATIONS: usize = 16;
/// Segments of a live MPD that are listed: those nearest to the edge. A window without an end is a start in 1970.
pub const MAX_LIVE_SEGMENTS: usize = 1_000;
/// Bytes of a segment index (sidx).
pub const MAX_INDEX_BYTES: usize = 2 << 20;
/// Bytes of a steering manifest.
pub const MAX_STEERING_BYTES: usize = 256 << 10;
/// Pathways that a steering manifest names, and clones that it makes.
pub const MAX_PATHWAYS: usize = 64;
/// Query parameters that a clone sets, and URIs that it replaces.
pub const MAX_REPLACEMENTS: usize = 256;
