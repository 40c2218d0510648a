//! Which encoders work here: each is opened and given one frame.
//!
//! Being compiled in says little: a card's encoder needs the card, its driver and free sessions.

use ffmpeg_next::{Error, format::Pixel, frame};

use super::video::{EncoderKind, VideoEncoder, VideoSettings};
use crate::{ffi::libav, fraction::Fraction};

/// Prepares libav's process-wide state; before anything else of this folder.
pub(crate) fn prepare() {
    ffmpeg_next::error::register_all();
    libav::take_over_log();
}

/// Names of the encoders that gave a sample for one frame, best first; a card's are tried only with `gpu`.
pub(crate) fn usable_encoders(gpu: bool) -> Vec<&'static str> {
    EncoderKind::ALL
        .into_iter()
        .filter(|kind| gpu || !kind.needs_gpu())
        .filter(|kind| one_frame(*kind).is_ok())
        .map(EncoderKind::name)
        .collect()
}

fn one_frame(kind: EncoderKind) -> Result<(), Error> {
    let settings = VideoSettings {
        kind,
        width: TRIAL_WIDTH,
        height: TRIAL_HEIGHT,
        preset: "ultrafast".to_owned(),
        crf: 30,
        maxrate: 1_000_000,
        bufsize: 1_000_000,
        rate: Fraction::new(30, 1),
        gop: 30,
        threads: 1,
    };
    let mut encoder = VideoEncoder::open(&settings)?;
    let mut picture = frame::Video::new(Pixel::YUV420P, TRIAL_WIDTH, TRIAL_HEIGHT);
    for plane in 0..picture.planes() {
        picture.data_mut(plane).fill(128);
    }
    encoder.send(&mut picture)?;
    encoder.finish()?;
    encoder.receive()?.map(drop).ok_or(Error::Bug)
}

/// Cards refuse very small pictures.
const TRIAL_WIDTH: u32 = 320;
const TRIAL_HEIGHT: u32 = 192;
