//! One video encoder with closed GOPs of a fixed number of frames.
//!
//! An IDR frame is forced by frame number and nowhere else, so that all renditions of a plan have theirs at the same
//! times, also where the rate is no whole number. All renditions are 8-bit 4:2:0, BT.709, limited range.

use ffmpeg_next::{
    Dictionary, Error, Packet, codec, color, encoder, format::Pixel, frame, picture, threading,
};

use super::{init_segment, nal_unit, sample::CodedSample, sample::came_out};
use crate::{ffi::libav, fraction::Fraction};

/// The encoders that are used, by libav's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncoderKind {
    NvencH264,
    NvencHevc,
    X264,
    X265,
}

/// What to encode and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VideoSettings {
    pub(crate) kind: EncoderKind,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) preset: String,
    pub(crate) crf: u8,
    /// Peak bits per second.
    pub(crate) maxrate: u64,
    /// Rate control buffer in bits.
    pub(crate) bufsize: u64,
    pub(crate) rate: Fraction,
    /// Frames from one IDR to the next.
    pub(crate) gop: u32,
    pub(crate) threads: u32,
}

/// An opened encoder and the times of what comes out of it.
pub(crate) struct VideoEncoder {
    encoder: encoder::video::Encoder,
    packet: Packet,
    timescale: u32,
    frame_ticks: u32,
    gop: u64,
    frames: u64,
    /// Samples that came out.
    samples: i64,
    /// How many frames later than it is decoded a frame may be shown.
    reorder: i64,
    init_segment: Vec<u8>,
}

impl EncoderKind {
    /// All of them, the preferred first.
    pub(crate) const ALL: [Self; 4] = [Self::NvencH264, Self::NvencHevc, Self::X264, Self::X265];

    /// libav's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NvencH264 => "h264_nvenc",
            Self::NvencHevc => "hevc_nvenc",
            Self::X264 => "libx264",
            Self::X265 => "libx265",
        }
    }

    /// The encoder of a plan.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it runs on a card.
    pub(crate) fn needs_gpu(self) -> bool {
        matches!(self, Self::NvencH264 | Self::NvencHevc)
    }

    /// libx265 does not say how far it reorders: with pyramids of B-frames by two.
    fn reorder_min(self) -> i64 {
        if self == Self::X265 { 2 } else { 0 }
    }

    fn tag(self) -> [u8; 4] {
        match self {
            Self::NvencH264 | Self::X264 => *b"avc1",
            Self::NvencHevc | Self::X265 => *b"hvc1",
        }
    }
}

impl VideoEncoder {
    /// Opens the encoder and mints its init segment.
    pub(crate) fn open(settings: &VideoSettings) -> Result<Self, Error> {
        let encoder = context(settings)?.open_with(options(settings))?;
        let (timescale, frame_ticks) = ticks(settings.rate);
        let time_base = Fraction::new(1, timescale);
        let tag = settings.kind.tag();
        Ok(Self {
            init_segment: init_segment::mint(&encoder, time_base, Some(tag))?,
            reorder: libav::reorder_frames(&encoder).max(settings.kind.reorder_min()),
            encoder,
            packet: Packet::empty(),
            timescale,
            frame_ticks,
            gop: settings.gop.max(1).into(),
            frames: 0,
            samples: 0,
        })
    }

    /// Ticks per second of the samples' times.
    pub(crate) fn timescale(&self) -> u32 {
        self.timescale
    }

    /// The init segment as libavformat writes it.
    pub(crate) fn init_segment(&self) -> &[u8] {
        &self.init_segment
    }

    /// Takes the next frame.
    pub(crate) fn send(&mut self, picture: &mut frame::Video) -> Result<(), Error> {
        let is_idr = self.frames.is_multiple_of(self.gop);
        picture.set_kind(if is_idr { picture::Type::I } else { picture::Type::None });
        picture.set_pts(i64::try_from(self.frames).ok());
        self.frames += 1;
        self.encoder.send_frame(picture)
    }

    /// No more frames: everything that is held back comes out.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.encoder.send_eof()
    }

    /// The next sample that is ready.
    ///
    /// Decode times are counted, not asked for: the rate is constant, and libx265 invents them for very short clips.
    pub(crate) fn receive(&mut self) -> Result<Option<CodedSample>, Error> {
        if !came_out(self.encoder.receive_packet(&mut self.packet))? {
            return Ok(None);
        }
        let (Some(shown), Some(data)) = (self.packet.pts(), self.packet.data()) else {
            return Err(Error::Bug);
        };
        let decoded = self.samples;
        self.samples += 1;
        let ticks = i64::from(self.frame_ticks);
        let offset = (shown + self.reorder - decoded) * ticks;
        Ok(Some(CodedSample {
            is_sync: self.packet.is_key(),
            dts: decoded * ticks,
            // Below zero it would be decoded after it is shown: the encoder reorders more than it said.
            composition_offset: u32::try_from(offset)
                .and_then(i32::try_from)
                .map_err(|_| Error::Bug)?,
            duration: self.frame_ticks,
            data: nal_unit::length_prefixed(data),
        }))
    }
}

fn context(settings: &VideoSettings) -> Result<encoder::video::Video, Error> {
    let codec = encoder::find_by_name(settings.kind.name()).ok_or(Error::EncoderNotFound)?;
    let mut context = codec::context::Context::new_with_codec(codec);
    let count = settings.threads.max(1) as usize;
    context.set_threading(threading::Config {
        kind: threading::Type::Frame,
        count,
        ..Default::default()
    });
    let mut video = context.encoder().video()?;
    let frame_rate = ffmpeg_rational(settings.rate);
    video.set_width(settings.width);
    video.set_height(settings.height);
    video.set_format(Pixel::YUV420P);
    video.set_aspect_ratio((1, 1));
    video.set_time_base(frame_rate.invert());
    video.set_frame_rate(Some(frame_rate));
    video.set_gop(settings.gop);
    video.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::CLOSED_GOP);
    video.set_color_range(color::Range::MPEG);
    video.set_colorspace(color::Space::BT709);
    video.set_color_primaries(color::Primaries::BT709);
    video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
    Ok(video)
}

fn options(settings: &VideoSettings) -> Dictionary<'static> {
    let VideoSettings { crf, maxrate, bufsize, gop, threads, .. } = settings;
    let mut options = Dictionary::new();
    options.set("maxrate", &maxrate.to_string());
    options.set("bufsize", &bufsize.to_string());
    options.set("forced-idr", "1");
    match settings.kind {
        EncoderKind::X264 => {
            options.set("preset", &settings.preset);
            options.set("crf", &crf.to_string());
            options.set("sc_threshold", "0");
            options.set("keyint_min", &gop.to_string());
            options.set("a53cc", "0");
        }
        EncoderKind::X265 => {
            options.set("preset", &settings.preset);
            options.set("crf", &crf.to_string());
            let (maxrate, bufsize) = (maxrate / 1000, bufsize / 1000);
            options.set(
                "x265-params",
                &format!(
                    "keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:repeat-headers=0:info=0:\
                     pools={threads}:vbv-maxrate={maxrate}:vbv-bufsize={bufsize}:log-level=none"
                ),
            );
        }
        EncoderKind::NvencH264 | EncoderKind::NvencHevc => {
            options.set("preset", "p4"); // x264's names mean nothing to a card
            options.set("rc", "vbr");
            options.set("cq", &crf.to_string());
            options.set("no-scenecut", "1");
            options.set("strict_gop", "1");
        }
    }
    options
}

/// Ticks per second in which a frame has a whole number of ticks, and that number.
fn ticks(rate: Fraction) -> (u32, u32) {
    let mut times = 1;
    while rate.num.saturating_mul(times) < TIMESCALE_MIN {
        times *= 2;
    }
    (rate.num.saturating_mul(times), rate.den.saturating_mul(times))
}

pub(super) fn ffmpeg_rational(fraction: Fraction) -> ffmpeg_next::Rational {
    let part = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    ffmpeg_next::Rational(part(fraction.num), part(fraction.den))
}

/// Players keep times of coarse tracks badly; every timescale is at least this.
const TIMESCALE_MIN: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_a_whole_number_of_ticks() {
        for (rate, want) in [
            (Fraction::new(30, 1), (15_360, 512)),
            (Fraction::new(25, 1), (12_800, 512)),
            (Fraction::new(30_000, 1001), (30_000, 1001)),
            (Fraction::new(1, 1), (16_384, 16_384)),
        ] {
            assert_eq!(ticks(rate), want, "{rate:?}");
        }
    }

    #[test]
    fn encoders_are_found_by_their_names() {
        for kind in EncoderKind::ALL {
            assert_eq!(EncoderKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(EncoderKind::from_name("libx264rgb"), None);
    }
}
