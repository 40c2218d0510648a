//! What a packager and its sandboxed worker say to each other.
//!
//! Both directions carry frames on one socket: a kind byte, the payload's length as a big-endian `u32`, the
//! payload. Control messages are JSON; samples have a fixed binary head, because there are many. The packager
//! treats everything from a worker as hostile: every length has a limit and nothing is trusted to be in order.
//!
//! ```text
//! packager → worker   WorkerOrder
//! worker   → packager Probe
//! packager → worker   Plan
//! worker   → packager Track*, (Sample | Image | Progress | TrackEnd)*, then Done or Failed
//! ```

use serde::{Deserialize, Serialize};

use crate::package_job::FailureReason;

/// Bytes before a payload: kind and length.
pub const HEAD_BYTES: usize = 5;
/// The largest JSON payload.
pub const JSON_BYTES_MAX: usize = 256 * 1024;
/// The largest sample, with its head: an intra frame of 8K at a very high rate stays below.
pub const SAMPLE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The largest image, with its head.
pub const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most tracks of one plan.
pub const TRACKS_MAX: usize = 16;

const SAMPLE_HEAD_BYTES: usize = 2 + 1 + 8 + 4 + 4;
const IMAGE_HEAD_BYTES: usize = 1 + 4 + 8;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A kind byte that no version of this protocol has.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// A payload above the limit of its kind.
    #[error("a frame of kind {kind} has at most {limit} bytes, this one has {bytes}")]
    Size {
        /// The kind byte.
        kind: u8,
        /// The announced length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A payload shorter than its fixed head.
    #[error("a frame of kind {0} ends inside its head")]
    Short(u8),
    /// Not the JSON of this kind.
    #[error("frame of kind {kind}: {source}")]
    Json {
        /// The kind byte.
        kind: u8,
        /// What the reader says.
        source: serde_json::Error,
    },
}

/// One message, either way.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// What the worker is to do; the first frame it gets.
    Order(WorkerOrder),
    /// What the upload holds.
    Probe(Probe),
    /// Which tracks to make.
    Plan(Plan),
    /// A track begins; comes before its first sample.
    Track(TrackStart),
    /// One encoded sample.
    Sample(Sample),
    /// A track has no more samples.
    TrackEnd {
        /// Its number in the plan.
        track: u16,
    },
    /// A picture.
    Image(Image),
    /// How far the plan is, in thousandths.
    Progress {
        /// 0 to 1000.
        permille: u16,
    },
    /// Everything in the plan was made.
    Done(Done),
    /// It cannot be made.
    Failed {
        /// For programs.
        reason: FailureReason,
        /// For people.
        detail: String,
    },
}

/// Limits and wishes for one worker run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerOrder {
    /// The longest upload, in milliseconds of presentation.
    pub duration_ms_max: u64,
    /// The most pixels of a source frame.
    pub pixels_max: u64,
    /// The most tracks of the upload.
    pub tracks_max: u32,
    /// The highest frame rate that is kept; faster sources are thinned out.
    pub fps_max: u32,
    /// How much decoded picture may wait for a slower encoder, in bytes.
    pub lag_bytes_max: u64,
    /// Threads for decoder and encoders together.
    pub threads: u32,
}

/// What an upload holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Container format, as libav names it.
    pub container: String,
    /// Length in milliseconds; 0 when the container does not say.
    pub duration_ms: u64,
    /// Width as displayed: rotation and sample aspect ratio applied.
    pub width: u32,
    /// Height as displayed.
    pub height: u32,
    /// Frames per second, as a fraction.
    pub fps: (u32, u32),
    /// Video codec, as libav names it.
    pub video_codec: String,
    /// Whether there is audio that can be decoded.
    pub has_audio: bool,
    /// Names of the video encoders that opened with one frame, best first (`h264_nvenc`, `libx264`, `libx265`).
    pub encoders: Vec<String>,
}

/// What to make of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tracks; their place in the list is their number.
    pub tracks: Vec<TrackPlan>,
    /// Pictures; absent when another run makes them.
    pub images: Option<ImagePlan>,
    /// The distance of IDR frames, in milliseconds; counted in frames so that it is equal in all renditions.
    pub gop_ms: u32,
}

/// One track to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrackPlan {
    /// A video rendition.
    Video {
        /// Encoder name, one of the probe's.
        encoder: String,
        /// Width in pixels, even.
        width: u32,
        /// Height in pixels, even.
        height: u32,
        /// Encoder preset.
        preset: String,
        /// Constant quality.
        crf: u8,
        /// Peak bits per second.
        maxrate: u64,
        /// Rate control buffer in bits.
        bufsize: u64,
    },
    /// The audio rendition: AAC-LC, stereo or mono, 48 kHz.
    Audio {
        /// Bits per second.
        bitrate: u64,
    },
}

/// Pictures to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlan {
    /// Times of the thumbnails, in milliseconds.
    pub thumbnail_ms: Vec<u64>,
    /// Short side of a thumbnail.
    pub thumbnail_short_side: u32,
    /// Distance of the sprite's pictures, in milliseconds.
    pub sprite_ms: u64,
    /// Width of one picture of the sprite.
    pub sprite_width: u32,
    /// Height of one picture of the sprite.
    pub sprite_height: u32,
    /// Pictures in a row.
    pub sprite_columns: u32,
    /// Rows of a sheet; more pictures begin a new sheet.
    pub sprite_rows: u32,
    /// Short side of the stills that are kept for feature extraction, one a second.
    pub still_short_side: u32,
}

/// A track begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackStart {
    /// Its number in the plan.
    pub track: u16,
    /// Ticks per second of its times.
    pub timescale: u32,
    /// An init segment as libavformat writes it, in hex; only its sample entry is used.
    pub init_hex: String,
    /// Ticks by which the first sample's presentation time stands before the presentation begins (audio priming).
    pub priming: u32,
    /// Frames per second of a video track, as a fraction.
    pub fps: Option<(u32, u32)>,
    /// The encoder that was opened.
    pub encoder: String,
}

/// One encoded sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its track's number in the plan.
    pub track: u16,
    /// Whether decoding can start here.
    pub is_sync: bool,
    /// Decode time in ticks.
    pub dts: i64,
    /// Presentation time minus decode time, in ticks.
    pub composition_offset: i32,
    /// Length in ticks.
    pub duration: u32,
    /// The coded bytes as an `mdat` holds them: NAL units behind four-byte lengths, raw AAC frames.
    pub data: Vec<u8>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Which one.
    pub kind: ImageKind,
    /// Its number in its kind, from 1.
    pub number: u32,
    /// When it is shown, in milliseconds.
    pub at_ms: u64,
    /// The coded bytes.
    pub data: Vec<u8>,
}

/// The kinds of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ImageKind {
    /// A thumbnail as JPEG.
    ThumbnailJpeg = 1,
    /// The same thumbnail as WebP.
    ThumbnailWebp = 2,
    /// A whole sprite sheet as JPEG.
    Sprite = 3,
    /// A still for feature extraction as JPEG.
    Still = 4,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Frames decoded.
    pub frames: u64,
    /// Length of the presentation in milliseconds.
    pub duration_ms: u64,
    /// Pictures on the last sprite sheet and before it, together.
    pub sprite_pictures: u32,
    /// Why there is no audio although the upload has some; empty otherwise.
    pub audio_note: String,
}

#[derive(Serialize, Deserialize)]
struct TrackEndBody {
    track: u16,
}

#[derive(Serialize, Deserialize)]
struct ProgressBody {
    permille: u16,
}

#[derive(Serialize, Deserialize)]
struct FailedBody {
    reason: FailureReason,
    detail: String,
}

mod kind {
    pub(super) const ORDER: u8 = 1;
    pub(super) const PROBE: u8 = 2;
    pub(super) const PLAN: u8 = 3;
    pub(super) const TRACK: u8 = 4;
    pub(super) const SAMPLE: u8 = 5;
    pub(super) const TRACK_END: u8 = 6;
    pub(super) const IMAGE: u8 = 7;
    pub(super) const PROGRESS: u8 = 8;
    pub(super) const DONE: u8 = 9;
    pub(super) const FAILED: u8 = 10;
}

/// The kind and payload length that a head announces.
///
/// # Errors
/// An unknown kind, or a length above the limit of its kind.
pub fn parse_head(head: [u8; HEAD_BYTES]) -> Result<(u8, usize), FrameError> {
    let kind = head[0];
    let bytes = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let limit = match kind {
        kind::SAMPLE => SAMPLE_BYTES_MAX,
        kind::IMAGE => IMAGE_BYTES_MAX,
        kind::ORDER..=kind::FAILED => JSON_BYTES_MAX,
        _ => return Err(FrameError::Kind(kind)),
    };
    if bytes > limit { Err(FrameError::Size { kind, bytes, limit }) } else { Ok((kind, bytes)) }
}

impl Frame {
    /// The bytes of the frame, head included.
    ///
    /// # Errors
    /// [`FrameError::Size`] when the payload is above the limit of its kind.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FrameError> {
        let mut out = vec![0; HEAD_BYTES];
        let kind = match self {
            Self::Order(body) => json(&mut out, kind::ORDER, body),
            Self::Probe(body) => json(&mut out, kind::PROBE, body),
            Self::Plan(body) => json(&mut out, kind::PLAN, body),
            Self::Track(body) => json(&mut out, kind::TRACK, body),
            Self::Sample(sample) => sample.write(&mut out),
            Self::TrackEnd { track } => {
                json(&mut out, kind::TRACK_END, &TrackEndBody { track: *track })
            }
            Self::Image(image) => image.write(&mut out),
            Self::Progress { permille } => {
                json(&mut out, kind::PROGRESS, &ProgressBody { permille: *permille })
            }
            Self::Done(body) => json(&mut out, kind::DONE, body),
            Self::Failed { reason, detail } => json(
                &mut out,
                kind::FAILED,
                &FailedBody { reason: *reason, detail: detail.clone() },
            ),
        };
        let bytes = out.len() - HEAD_BYTES;
        let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
        out[0] = kind;
        out[1..HEAD_BYTES].copy_from_slice(&length);
        parse_head([kind, length[0], length[1], length[2], length[3]])?;
        Ok(out)
    }

    /// Reads a payload of a kind.
    ///
    /// # Errors
    /// [`FrameError`] says what is wrong with it.
    pub fn parse(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        Ok(match kind {
            kind::ORDER => Self::Order(parse_json(kind, payload)?),
            kind::PROBE => Self::Probe(parse_json(kind, payload)?),
            kind::PLAN => Self::Plan(parse_json(kind, payload)?),
            kind::TRACK => Self::Track(parse_json(kind, payload)?),
            kind::SAMPLE => Self::Sample(Sample::parse(payload)?),
            kind::TRACK_END => {
                Self::TrackEnd { track: parse_json::<TrackEndBody>(kind, payload)?.track }
            }
            kind::IMAGE => Self::Image(Image::parse(payload)?),
            kind::PROGRESS => {
                Self::Progress { permille: parse_json::<ProgressBody>(kind, payload)?.permille }
            }
            kind::DONE => Self::Done(parse_json(kind, payload)?),
            kind::FAILED => {
                let FailedBody { reason, detail } = parse_json(kind, payload)?;
                Self::Failed { reason, detail }
            }
            other => return Err(FrameError::Kind(other)),
        })
    }
}

impl Sample {
    fn write(&self, out: &mut Vec<u8>) -> u8 {
        out.reserve(SAMPLE_HEAD_BYTES + self.data.len());
        out.extend_from_slice(&self.track.to_be_bytes());
        out.push(u8::from(self.is_sync));
        out.extend_from_slice(&self.dts.to_be_bytes());
        out.extend_from_slice(&self.composition_offset.to_be_bytes());
        out.extend_from_slice(&self.duration.to_be_bytes());
        out.extend_from_slice(&self.data);
        kind::SAMPLE
    }

    fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Cursor { rest: payload, kind: kind::SAMPLE };
        Ok(Self {
            track: u16::from_be_bytes(rest.take()?),
            is_sync: u8::from_be_bytes(rest.take()?) != 0,
            dts: i64::from_be_bytes(rest.take()?),
            composition_offset: i32::from_be_bytes(rest.take()?),
            duration: u32::from_be_bytes(rest.take()?),
            data: rest.rest.to_vec(),
        })
    }
}

impl Image {
    fn write(&self, out: &mut Vec<u8>) -> u8 {
        out.reserve(IMAGE_HEAD_BYTES + self.data.len());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.at_ms.to_be_bytes());
        out.extend_from_slice(&self.data);
        kind::IMAGE
    }

    fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Cursor { rest: payload, kind: kind::IMAGE };
        let kind = match u8::from_be_bytes(rest.take()?) {
            1 => ImageKind::ThumbnailJpeg,
            2 => ImageKind::ThumbnailWebp,
            3 => ImageKind::Sprite,
            4 => ImageKind::Still,
            other => return Err(FrameError::Kind(other)),
        };
        Ok(Self {
            kind,
            number: u32::from_be_bytes(rest.take()?),
            at_ms: u64::from_be_bytes(rest.take()?),
            data: rest.rest.to_vec(),
        })
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
    kind: u8,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(FrameError::Short(self.kind))?;
        self.rest = rest;
        Ok(*head)
    }
}

fn json<T: Serialize>(out: &mut Vec<u8>, kind: u8, body: &T) -> u8 {
    serde_json::to_writer(out, body).expect("plain data into memory");
    kind
}

fn parse_json<T: serde::de::DeserializeOwned>(kind: u8, payload: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload).map_err(|source| FrameError::Json { kind, source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Frame, FrameError> {
        let (head, payload) = bytes.split_first_chunk().expect("a whole head");
        let (kind, length) = parse_head(*head)?;
        assert_eq!(length, payload.len());
        Frame::parse(kind, payload)
    }

    proptest! {
        #[test]
        fn a_sample_reads_as_it_was_written(
            track: u16, is_sync: bool, dts: i64, composition_offset: i32, duration: u32, data: Vec<u8>,
        ) {
            let frame = Frame::Sample(Sample { track, is_sync, dts, composition_offset, duration, data });
            prop_assert_eq!(read(&frame.to_bytes().expect("small"))?, frame);
        }

        #[test]
        fn no_payload_panics(kind: u8, payload: Vec<u8>) {
            let _ = Frame::parse(kind, &payload);
        }
    }

    #[test]
    fn lengths_above_the_limit_of_a_kind_are_refused_before_they_are_read() {
        let head = |kind: u8, bytes: usize| {
            let length = u32::try_from(bytes).expect("small").to_be_bytes();
            [kind, length[0], length[1], length[2], length[3]]
        };
        assert!(parse_head(head(kind::PROBE, JSON_BYTES_MAX)).is_ok());
        assert!(parse_head(head(kind::PROBE, JSON_BYTES_MAX + 1)).is_err());
        assert!(parse_head(head(kind::SAMPLE, SAMPLE_BYTES_MAX + 1)).is_err());
        assert!(parse_head(head(0, 0)).is_err());
        assert!(parse_head(head(11, 0)).is_err());
    }

    #[test]
    fn a_failure_carries_its_reason() {
        let frame = Frame::Failed { reason: FailureReason::NoVideo, detail: "audio only".into() };
        assert_eq!(read(&frame.to_bytes().expect("small")).expect("its own bytes"), frame);
    }
}
