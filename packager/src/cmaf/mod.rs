//! CMAF: sample entries, init segments, segment boundaries and the boxes of a segment.
//!
//! Nothing here decodes: coded samples are opaque bytes. libavformat "mints" an init segment in the worker; only
//! its sample entry is taken over, after a check against what was ordered, and everything else is written here.
//!
//! **Invariant.** A segment of a video rendition begins with a sample where decoding can start, and the segments
//! of a rendition follow one another without gap or overlap.

mod segmenter; // where segments begin
mod segment; // styp, moof, mdat
mod init; // ftyp, moov
mod sample_entry; // the worker's minted init segment, checked
mod minted; // the way to the sample entry, past everything that nobody needs
mod nal; // lengths before NAL units

pub use init::init_segment;
pub use nal::{NalError, check_nal_units};
pub use sample_entry::{EntryError, Expected, SampleEntry};
pub use segment::{BoxError, segment};
pub use segmenter::{Group, SegmentError, Segmenter, SegmenterLimits, Timing};
