//! A plan, checked and put in order: the smallest rung first.
//!
//! The packager is trusted more than the upload, but a plan that makes no sense ends the run here and not inside an
//! encoder.

use tidegate_contract::worker_frame::{ImagePlan, Plan, TRACKS_MAX, TrackPlan};

use super::image_schedule::ImageSchedule;
use crate::{
    codec::{EncoderKind, VideoSettings},
    failure::RunError,
    fraction::Fraction,
};

/// Everything that is to be made.
#[derive(Debug)]
pub(super) struct Wishes {
    /// The smallest picture first.
    pub(super) rungs: Vec<RungWish>,
    pub(super) audio: Option<AudioWish>,
    pub(super) images: Option<ImageWish>,
}

/// One video rendition.
#[derive(Debug)]
pub(super) struct RungWish {
    /// Its number in the plan.
    pub(super) track: u16,
    pub(super) settings: VideoSettings,
}

/// The audio rendition.
#[derive(Debug, Clone, Copy)]
pub(super) struct AudioWish {
    /// Its number in the plan.
    pub(super) track: u16,
    /// Bits per second.
    pub(super) bitrate: u64,
}

/// The images.
#[derive(Debug)]
pub(super) struct ImageWish {
    pub(super) plan: ImagePlan,
}

impl Wishes {
    /// Checks a plan for a source of this rate.
    pub(super) fn of(plan: &Plan, rate: Fraction, threads: u32) -> Result<Self, RunError> {
        if plan.tracks.is_empty() || plan.tracks.len() > TRACKS_MAX {
            let count = plan.tracks.len();
            return Err(RunError::plan(format!(
                "a plan has 1 to {TRACKS_MAX} tracks, not {count}"
            )));
        }
        let gop = gop_frames(plan.gop_ms, rate);
        let mut wishes = Self { rungs: Vec::new(), audio: None, images: None };
        for (track, wish) in (0..).zip(&plan.tracks) {
            match wish {
                TrackPlan::Video { .. } => {
                    let settings = video_settings(wish, rate, gop, threads)?;
                    wishes.rungs.push(RungWish { track, settings });
                }
                TrackPlan::Audio { bitrate } => {
                    wishes.audio = Some(AudioWish { track, bitrate: *bitrate });
                }
            }
        }
        wishes.rungs.sort_by_key(|rung| rung.pixels());
        wishes.images = plan.images.as_ref().map(checked_images).transpose()?;
        Ok(wishes)
    }
}

impl RungWish {
    /// Pixels of one picture.
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.settings.width) * u64::from(self.settings.height)
    }
}

impl ImageWish {
    /// Which frames of a source with this rate become images.
    pub(super) fn schedule(&self, rate: Fraction) -> ImageSchedule {
        ImageSchedule::new(&self.plan, rate)
    }
}

/// Frames from one IDR to the next: counted in frames, so that it is the same in all renditions.
fn gop_frames(gop_ms: u32, rate: Fraction) -> u32 {
    let frames = (u64::from(gop_ms) * u64::from(rate.num) + 500 * u64::from(rate.den))
        / (1000 * u64::from(rate.den));
    u32::try_from(frames).unwrap_or(u32::MAX).clamp(1, GOP_FRAMES_MAX)
}

fn video_settings(
    wish: &TrackPlan,
    rate: Fraction,
    gop: u32,
    threads: u32,
) -> Result<VideoSettings, RunError> {
    let TrackPlan::Video { encoder, width, height, preset, crf, maxrate, bufsize } = wish else {
        return Err(RunError::plan("not a video track"));
    };
    let is_size = |side: u32| (2..=SIDE_MAX).contains(&side) && side.is_multiple_of(2);
    if !is_size(*width) || !is_size(*height) {
        return Err(RunError::plan(format!("{width}x{height} is no size for a rendition")));
    }
    let kind = EncoderKind::from_name(encoder)
        .ok_or_else(|| RunError::plan(format!("encoder {encoder:?} is not known")))?;
    Ok(VideoSettings {
        kind,
        width: *width,
        height: *height,
        preset: preset.clone(),
        crf: *crf,
        maxrate: *maxrate,
        bufsize: *bufsize,
        rate,
        gop,
        threads: threads.clamp(1, ENCODER_THREADS_MAX),
    })
}

fn checked_images(plan: &ImagePlan) -> Result<ImageWish, RunError> {
    let sheet_side = |pictures: u32, side: u32| u64::from(pictures) * u64::from(side);
    let is_sheet = |pictures, side| (1..=SHEET_SIDE_MAX).contains(&sheet_side(pictures, side));
    let sides = [plan.thumbnail_short_side, plan.still_short_side];
    if plan.thumbnail_ms.len() > THUMBNAILS_MAX
        || plan.sprite_ms < SPRITE_MS_MIN
        || !is_sheet(plan.sprite_columns, plan.sprite_width)
        || !is_sheet(plan.sprite_rows, plan.sprite_height)
        || !sides.iter().all(|side| (SIDE_MIN..=SIDE_MAX).contains(side))
    {
        return Err(RunError::plan("the images of the plan are out of bounds"));
    }
    Ok(ImageWish { plan: plan.clone() })
}

const SIDE_MIN: u32 = 16;
const SIDE_MAX: u32 = 8192;
/// What a JPEG can be, and far below.
const SHEET_SIDE_MAX: u64 = 16_384;
const THUMBNAILS_MAX: usize = 64;
const SPRITE_MS_MIN: u64 = 100;
/// More is never asked for: ten minutes at 60 frames per second.
const GOP_FRAMES_MAX: u32 = 36_000;
/// Above this an encoder gains nothing on short videos and holds more pictures.
const ENCODER_THREADS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gop_is_a_whole_number_of_frames() {
        for (ms, rate, want) in [
            (2000, Fraction::new(30, 1), 60),
            (2000, Fraction::new(30_000, 1001), 60),
            (2000, Fraction::new(25, 2), 25),
            (2000, Fraction::new(1, 1), 2),
            (0, Fraction::new(30, 1), 1),
            (u32::MAX, Fraction::new(60, 1), GOP_FRAMES_MAX),
        ] {
            assert_eq!(gop_frames(ms, rate), want, "{ms} ms at {rate:?}");
        }
    }

    fn video(width: u32, height: u32) -> TrackPlan {
        TrackPlan::Video {
            encoder: "libx264".to_owned(),
            width,
            height,
            preset: "veryfast".to_owned(),
            crf: 23,
            maxrate: 1_000_000,
            bufsize: 2_000_000,
        }
    }

    #[test]
    fn the_smallest_rung_comes_first_and_keeps_its_number() {
        let tracks = vec![video(640, 360), TrackPlan::Audio { bitrate: 96_000 }, video(320, 180)];
        let plan = Plan { tracks, images: None, gop_ms: 2000 };
        let wishes = Wishes::of(&plan, Fraction::new(30, 1), 2).expect("a sound plan");
        let numbers: Vec<_> = wishes.rungs.iter().map(|rung| rung.track).collect();
        assert_eq!(numbers, [2, 0]);
        assert_eq!(wishes.audio.map(|audio| audio.track), Some(1));
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        for (name, tracks) in [
            ("nothing", vec![]),
            ("odd", vec![video(321, 180)]),
            ("empty", vec![video(0, 180)]),
            ("huge", vec![video(320, 10_000)]),
            ("too many", vec![video(320, 180); TRACKS_MAX + 1]),
        ] {
            let plan = Plan { tracks, images: None, gop_ms: 2000 };
            assert!(Wishes::of(&plan, Fraction::new(30, 1), 2).is_err(), "{name}");
        }
    }
}
