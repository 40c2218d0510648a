//! The decoders that uploads may use, and opening one.
//!
//! libav has hundreds, most for formats that nobody records video in, and each is code that a stranger could reach.
//! The list holds what cameras, phones, screen recorders and editors write.

use ffmpeg_next::{Codec, Dictionary, Error, codec, decoder, threading};

use crate::fraction::Fraction;

/// Why a stream cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecoderError {
    /// No decoder, or one that is not on the list.
    #[error("codec {0} is not supported")]
    Unsupported(String),
    /// The decoder refuses the stream's parameters.
    #[error("the decoder refuses the stream: {0}")]
    Refused(Error),
}

/// The listed decoder of a stream.
pub(super) fn find(parameters: &codec::Parameters) -> Result<Codec, DecoderError> {
    decoder::find(parameters.id())
        .filter(|codec| LISTED.split(',').any(|listed| listed == codec.name()))
        .ok_or_else(|| DecoderError::Unsupported(name(parameters)))
}

/// Opens the listed decoder of a stream.
pub(super) fn open(
    parameters: codec::Parameters,
    time_base: Fraction,
    threads: u32,
    pixels_max: u64,
) -> Result<decoder::Opened, DecoderError> {
    let codec = find(&parameters)?;
    let mut context =
        codec::context::Context::from_parameters(parameters).map_err(DecoderError::Refused)?;
    context.set_threading(threading::Config {
        kind: threading::Type::Frame,
        count: threads.clamp(1, THREADS_MAX) as usize,
        ..Default::default()
    });
    let mut decoder = context.decoder();
    decoder.set_packet_time_base((time_base.num.cast_signed(), time_base.den.cast_signed()));
    let options = Dictionary::from_iter([("max_pixels", pixels_max.to_string().as_str())]);
    decoder.open_as_with(codec, options).map_err(DecoderError::Refused)
}

/// libav's name of a stream's codec.
pub(super) fn name(parameters: &codec::Parameters) -> String {
    parameters.id().name().to_owned()
}

/// Listed decoders, as libav's `codec_whitelist` wants them.
pub(super) const LISTED: &str = "h264,hevc,vp8,vp9,libdav1d,av1,mpeg4,mpeg1video,mpeg2video,h263,flv,mjpeg,\
    prores,dnxhd,theora,rawvideo,ffv1,qtrle,msmpeg4,msmpeg4v2,wmv2,\
    aac,mp3,mp3float,mp2,mp2float,ac3,eac3,opus,libopus,vorbis,flac,alac,amrnb,amrwb,\
    pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_u8,pcm_alaw,pcm_mulaw,\
    adpcm_ms,adpcm_ima_wav,adpcm_ima_qt";

/// Each frame thread holds pictures of its own.
const THREADS_MAX: u32 = 16;
