//! The AAC-LC encoder: 48 kHz, mono or stereo.
//!
//! The encoder puts its priming before the first sample; times begin at zero with it, and the packager tells
//! players by an edit list where the sound begins.

use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, codec, encoder, format, frame};

use super::{init_segment, sample::CodedSample, sample::came_out};
use crate::{ffi::libav, fraction::Fraction};

/// Samples per second of all sound that is made.
pub(crate) const SAMPLE_RATE: u32 = 48_000;

/// An opened encoder.
pub(crate) struct AudioEncoder {
    encoder: encoder::audio::Encoder,
    packet: Packet,
    sent: i64,
    next_dts: i64,
    init_segment: Vec<u8>,
}

impl AudioEncoder {
    /// Opens the encoder and mints its init segment.
    pub(crate) fn open(channels: Channels, bitrate: u64) -> Result<Self, Error> {
        let codec = encoder::find_by_name("aac").ok_or(Error::EncoderNotFound)?;
        let context = codec::context::Context::new_with_codec(codec);
        let mut audio = context.encoder().audio()?;
        audio.set_rate(SAMPLE_RATE.cast_signed());
        audio.set_channel_layout(channels.layout());
        audio.set_format(format::Sample::F32(format::sample::Type::Planar));
        audio.set_bit_rate(usize::try_from(bitrate).map_err(|_| Error::InvalidData)?);
        audio.set_time_base((1, SAMPLE_RATE.cast_signed()));
        audio.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = audio.open_with(Dictionary::new())?;
        let init_segment = init_segment::mint(&encoder, Fraction::new(1, SAMPLE_RATE), None)?;
        Ok(Self { encoder, packet: Packet::empty(), sent: 0, next_dts: 0, init_segment })
    }

    /// The init segment as libavformat writes it.
    pub(crate) fn init_segment(&self) -> &[u8] {
        &self.init_segment
    }

    /// Samples before the sound begins.
    pub(crate) fn priming(&self) -> u32 {
        libav::initial_padding(self.encoder.as_ref())
    }

    /// Samples of one frame; only the last one may be shorter.
    pub(crate) fn frame_samples(&self) -> u32 {
        self.encoder.frame_size()
    }

    /// How many samples were taken.
    pub(crate) fn sent(&self) -> i64 {
        self.sent
    }

    /// Takes the next frame.
    pub(crate) fn send(&mut self, sound: &mut frame::Audio) -> Result<(), Error> {
        sound.set_pts(Some(self.sent));
        self.sent += i64::try_from(sound.samples()).map_err(|_| Error::Bug)?;
        self.encoder.send_frame(sound)
    }

    /// No more frames.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.encoder.send_eof()
    }

    /// The next sample that is ready.
    pub(crate) fn receive(&mut self) -> Result<Option<CodedSample>, Error> {
        if !came_out(self.encoder.receive_packet(&mut self.packet))? {
            return Ok(None);
        }
        let data = self.packet.data().ok_or(Error::Bug)?.to_vec();
        let whole = self.frame_samples();
        let duration = match u32::try_from(self.packet.duration()) {
            Ok(samples) if (1..=whole).contains(&samples) => samples,
            _ => whole,
        };
        let dts = self.next_dts;
        self.next_dts += i64::from(duration);
        Ok(Some(CodedSample { is_sync: true, dts, composition_offset: 0, duration, data }))
    }
}

/// How many channels the sound has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    Mono,
    Stereo,
}

impl Channels {
    /// Mono stays mono; everything else becomes stereo.
    pub(crate) fn of(count: i32) -> Self {
        if count == 1 { Self::Mono } else { Self::Stereo }
    }

    /// libav's name in a filter chain.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mono => "mono",
            Self::Stereo => "stereo",
        }
    }

    fn layout(self) -> ChannelLayout {
        match self {
            Self::Mono => ChannelLayout::MONO,
            Self::Stereo => ChannelLayout::STEREO,
        }
    }
}
