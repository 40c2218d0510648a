//! The demo clip: a moving picture with burnt-in time and a beeping tone, as H.264 and AAC in an MP4 file.
//!
//! Made through libav's own sources, so no media lies in the repository. Flags make what phones make: a rate that
//! varies, a turned picture, no sound.

use std::path::PathBuf;

use clap::Args;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, codec, color, encoder,
    format::{self, Pixel},
    frame,
};

use crate::{
    codec::{Graph, SAMPLE_RATE, prepare},
    ffi::libav,
};

/// What to make.
#[derive(Debug, Args)]
pub(crate) struct Clip {
    /// Where to write it
    #[arg(long)]
    output: PathBuf,
    /// Length in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Displayed width in pixels
    #[arg(long, default_value_t = 1080, value_parser = clap::value_parser!(u32).range(16..=8192))]
    width: u32,
    /// Displayed height in pixels
    #[arg(long, default_value_t = 1920, value_parser = clap::value_parser!(u32).range(16..=8192))]
    height: u32,
    /// Frames per second, whole or as a fraction like 30000/1001
    #[arg(long, default_value = "30", value_parser = parse_rate)]
    fps: (i32, i32),
    /// Leave out frames, so that the rate varies
    #[arg(long)]
    vfr: bool,
    /// Store the picture on its side with a display matrix, as phones do
    #[arg(long)]
    rotate: bool,
    /// No sound
    #[arg(long)]
    no_audio: bool,
    /// One channel instead of two
    #[arg(long)]
    mono: bool,
}

/// One stream being made: its frames, its encoder, its place in the file.
struct Making<E> {
    graph: Graph,
    encoder: E,
    index: usize,
    time_base: Rational,
    /// Length of a packet whose encoder does not say, in ticks.
    packet_ticks: i64,
    /// Seconds of it that are in the file.
    seconds: f64,
    is_done: bool,
}

impl Clip {
    /// Writes the file.
    ///
    /// # Errors
    /// What libav says: an unusable path, no encoder, no space.
    pub(crate) fn write(&self) -> Result<(), Error> {
        prepare();
        let mut output = format::output_as(&self.output, "mp4")?;
        let mut video = self.video(&mut output)?;
        let mut audio = if self.no_audio { None } else { Some(self.audio(&mut output)?) };
        output.write_header_with(Dictionary::from_iter([("movflags", "+faststart")]))?;
        loop {
            match &mut audio {
                Some(audio)
                    if !audio.is_done && (video.is_done || audio.seconds < video.seconds) =>
                {
                    audio.step(&mut frame::Audio::empty(), &mut output)?;
                }
                _ if !video.is_done => video.step(&mut frame::Video::empty(), &mut output)?,
                _ => break,
            }
        }
        output.write_trailer()
    }

    fn video(
        &self,
        output: &mut format::context::Output,
    ) -> Result<Making<encoder::video::Encoder>, Error> {
        let Self { seconds, width, height, fps: (num, den), .. } = self;
        let (stored_width, stored_height) =
            if self.rotate { (*height, *width) } else { (*width, *height) };
        let gaps = if self.vfr { ",select='not(eq(mod(n,7),3)+eq(mod(n,11),5))'" } else { "" };
        let turn = if self.rotate { ",transpose=cclock" } else { "" };
        let chain = format!(
            "testsrc2=size={width}x{height}:rate={num}/{den}:duration={seconds}{gaps}{turn},\
             settb=1/90000,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setsar=1"
        );
        let codec = encoder::find_by_name("libx264").ok_or(Error::EncoderNotFound)?;
        let mut video = codec::context::Context::new_with_codec(codec).encoder().video()?;
        let time_base = Rational(1, 90_000);
        video.set_width(stored_width);
        video.set_height(stored_height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(time_base);
        video.set_frame_rate(Some(Rational(*num, *den)));
        video.set_flags(codec::Flags::GLOBAL_HEADER);
        video.set_color_range(color::Range::MPEG);
        video.set_colorspace(color::Space::BT709);
        video.set_color_primaries(color::Primaries::BT709);
        video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
        let options = [("preset", "veryfast"), ("crf", "20")];
        let encoder = video.open_with(Dictionary::from_iter(options))?;
        let mut stream = output.add_stream(codec)?;
        stream.set_parameters(&encoder);
        stream.set_time_base(time_base);
        if self.rotate {
            libav::set_stream_rotation(&mut stream, PHONE_DEGREES)?;
        }
        let index = stream.index();
        let graph = Graph::generator("buffersink", &chain)?;
        let packet_ticks = 90_000 * i64::from(*den) / i64::from(*num);
        Ok(Making { graph, encoder, index, time_base, packet_ticks, seconds: 0.0, is_done: false })
    }

    fn audio(
        &self,
        output: &mut format::context::Output,
    ) -> Result<Making<encoder::audio::Encoder>, Error> {
        let codec = encoder::find_by_name("aac").ok_or(Error::EncoderNotFound)?;
        let mut audio = codec::context::Context::new_with_codec(codec).encoder().audio()?;
        let time_base = Rational(1, SAMPLE_RATE.cast_signed());
        let (layout, name) = if self.mono {
            (ffmpeg_next::ChannelLayout::MONO, "mono")
        } else {
            (ffmpeg_next::ChannelLayout::STEREO, "stereo")
        };
        audio.set_rate(SAMPLE_RATE.cast_signed());
        audio.set_channel_layout(layout);
        audio.set_format(format::Sample::F32(format::sample::Type::Planar));
        audio.set_bit_rate(128_000);
        audio.set_time_base(time_base);
        audio.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = audio.open_with(Dictionary::new())?;
        let mut stream = output.add_stream(codec)?;
        stream.set_parameters(&encoder);
        stream.set_time_base(time_base);
        let index = stream.index();
        let chain = format!(
            "sine=frequency=440:beep_factor=4:sample_rate={SAMPLE_RATE}:duration={},\
             aformat=sample_fmts=fltp:channel_layouts={name},asetnsamples=n={}:p=0",
            self.seconds,
            encoder.frame_size(),
        );
        let packet_ticks = i64::from(encoder.frame_size());
        let graph = Graph::generator("abuffersink", &chain)?;
        Ok(Making { graph, encoder, index, time_base, packet_ticks, seconds: 0.0, is_done: false })
    }
}

impl<E> Making<E>
where
    E: std::ops::DerefMut,
    E::Target: std::ops::DerefMut<Target = encoder::Encoder>,
{
    /// Makes one frame more, or ends.
    fn step(
        &mut self,
        frame: &mut ffmpeg_next::Frame,
        output: &mut format::context::Output,
    ) -> Result<(), Error> {
        let encoder: &mut encoder::Encoder = &mut self.encoder;
        if self.graph.pull(frame)? {
            if let Some(pts) = frame.pts() {
                self.seconds = pts as f64 * f64::from(self.time_base);
            }
            encoder.send_frame(frame)?;
        } else {
            encoder.send_eof()?;
            self.is_done = true;
        }
        let mut packet = Packet::empty();
        while encoder.receive_packet(&mut packet).is_ok() {
            let stream = output.stream(self.index).ok_or(Error::StreamNotFound)?;
            if packet.duration() == 0 {
                packet.set_duration(self.packet_ticks);
            }
            packet.rescale_ts(self.time_base, stream.time_base());
            packet.set_stream(self.index);
            packet.write_interleaved(output)?;
        }
        Ok(())
    }
}

fn parse_rate(text: &str) -> Result<(i32, i32), String> {
    let (num, den) = text.split_once('/').unwrap_or((text, "1"));
    match (num.parse(), den.parse()) {
        (Ok(num), Ok(den)) if (1..=1_000_000).contains(&num) && (1..=1_000_000).contains(&den) => {
            Ok((num, den))
        }
        _ => Err(format!("{text:?} is no rate")),
    }
}

/// What undoes a quarter turn to the left, in libav's degrees.
const PHONE_DEGREES: f64 = 90.0;
