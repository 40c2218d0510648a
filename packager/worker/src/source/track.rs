//! The two tracks of an upload that are used, and what their headers say.
//!
//! The first video track that is no cover picture, and the first sound that can be decoded.

use ffmpeg_next::{Stream, decoder, format::stream::Disposition, media};
use tidegate_contract::{package_job::FailureReason, worker_frame::WorkerOrder};

use super::{
    decoder::{self as listed, DecoderError},
    orientation::Orientation,
    rate,
};
use crate::{
    failure::RunError,
    ffi::libav::{self, StreamFacts},
    fraction::Fraction,
};

/// The video track.
pub(crate) struct VideoTrack {
    pub(crate) index: usize,
    pub(crate) time_base: Fraction,
    pub(crate) decoder: decoder::Video,
    pub(crate) codec: String,
    pub(crate) facts: StreamFacts,
    /// The constant rate of all renditions.
    pub(crate) rate: Fraction,
    orientation: Orientation,
}

/// The audio track.
pub(crate) struct AudioTrack {
    pub(crate) index: usize,
    pub(crate) time_base: Fraction,
    pub(crate) decoder: decoder::Audio,
    pub(crate) channels: i32,
}

impl VideoTrack {
    /// Checks a video stream's headers and opens its decoder.
    pub(super) fn open(stream: &Stream<'_>, order: &WorkerOrder) -> Result<Self, RunError> {
        let facts = libav::stream_facts(stream);
        require_clear(&facts)?;
        let parameters = stream.parameters();
        listed::find(&parameters).map_err(|error| refused(&error))?;
        let orientation =
            facts.display_matrix.as_ref().map(Orientation::from_matrix).unwrap_or_default();
        require_size(&facts, orientation, order.pixels_max)?;
        let time_base = time_base(stream)?;
        let codec = listed::name(&parameters);
        let decoder = listed::open(parameters, time_base, order.threads, order.pixels_max)
            .and_then(|opened| opened.video().map_err(DecoderError::Refused))
            .map_err(|error| refused(&error))?;
        let average = Fraction::from_pair(pair(stream.avg_frame_rate()));
        let nominal = Fraction::from_pair(pair(stream.rate()));
        Ok(Self {
            index: stream.index(),
            time_base,
            decoder,
            codec,
            rate: rate::constant(average, nominal, order.fps_max),
            facts,
            orientation,
        })
    }

    /// Width and height as a person sees them: rotation and sample aspect ratio applied.
    pub(crate) fn displayed(&self) -> (u32, u32) {
        displayed(&self.facts, self.orientation)
    }

    /// Filters that turn a decoded picture upright.
    pub(crate) fn upright_chain(&self) -> Option<&'static str> {
        self.orientation.chain()
    }
}

impl AudioTrack {
    /// Opens the decoder of a sound stream; nothing when it cannot be decoded.
    pub(super) fn open(stream: &Stream<'_>) -> Option<Self> {
        let facts = libav::stream_facts(stream);
        let is_sane = (1..=CHANNELS_MAX).contains(&facts.channels) && facts.sample_rate > 0;
        if !is_sane || require_clear(&facts).is_err() {
            return None;
        }
        let time_base = time_base(stream).ok()?;
        let decoder = listed::open(stream.parameters(), time_base, 1, u64::from(u16::MAX)).ok()?;
        Some(Self {
            index: stream.index(),
            time_base,
            decoder: decoder.audio().ok()?,
            channels: facts.channels,
        })
    }
}

/// Whether a stream is a video and no cover picture.
pub(super) fn is_video(stream: &Stream<'_>) -> bool {
    is(stream, media::Type::Video) && !stream.disposition().contains(Disposition::ATTACHED_PIC)
}

/// Whether a stream is sound.
pub(super) fn is_audio(stream: &Stream<'_>) -> bool {
    is(stream, media::Type::Audio)
}

fn is(stream: &Stream<'_>, kind: media::Type) -> bool {
    stream.parameters().medium() == kind
}

fn displayed(facts: &StreamFacts, orientation: Orientation) -> (u32, u32) {
    let aspect = Fraction::from_pair(facts.sample_aspect)
        .map(Fraction::as_f64)
        .filter(|aspect| (1.0 / ASPECT_MAX..=ASPECT_MAX).contains(aspect))
        .unwrap_or(1.0);
    let wide = (f64::from(facts.width) * aspect).round() as u32;
    orientation.apply((wide, facts.height))
}

fn require_size(
    facts: &StreamFacts,
    orientation: Orientation,
    pixels_max: u64,
) -> Result<(), RunError> {
    let StreamFacts { width, height, .. } = *facts;
    if width == 0 || height == 0 {
        return Err(RunError::damaged("no picture of the video track could be read"));
    }
    if u64::from(width) * u64::from(height) > pixels_max {
        let detail = format!("{width}x{height} is above the limit of {pixels_max} pixels");
        return Err(RunError::new(FailureReason::TooLarge, detail));
    }
    let (wide, high) = displayed(facts, orientation);
    if wide < SIDE_MIN || high < SIDE_MIN {
        let detail = format!("{wide}x{high} is below {SIDE_MIN}x{SIDE_MIN} pixels");
        return Err(RunError::new(FailureReason::TooSmall, detail));
    }
    Ok(())
}

fn require_clear(facts: &StreamFacts) -> Result<(), RunError> {
    let is_encrypted = facts.has_encryption || ENCRYPTED_TAGS.contains(&&facts.tag);
    if is_encrypted {
        return Err(RunError::new(FailureReason::Encrypted, "the track is encrypted"));
    }
    Ok(())
}

fn time_base(stream: &Stream<'_>) -> Result<Fraction, RunError> {
    Fraction::from_pair(pair(stream.time_base()))
        .ok_or_else(|| RunError::damaged("a track has no time base"))
}

fn refused(error: &DecoderError) -> RunError {
    match error {
        DecoderError::Unsupported(_) => {
            RunError::new(FailureReason::UnsupportedCodec, error.to_string())
        }
        DecoderError::Refused(_) => RunError::damaged(error.to_string()),
    }
}

fn pair(rational: ffmpeg_next::Rational) -> (i32, i32) {
    (rational.numerator(), rational.denominator())
}

/// The smallest side of a video, in pixels.
const SIDE_MIN: u32 = 16;
/// Sample aspect ratios beyond this are nonsense and ignored.
const ASPECT_MAX: f64 = 8.0;
/// More channels than any recording has.
const CHANNELS_MAX: i32 = 64;
/// Sample entries of encrypted tracks.
const ENCRYPTED_TAGS: [&[u8; 4]; 4] = [b"encv", b"enca", b"drmi", b"drms"];
