//! What is in the upload → which tracks and pictures to make. Pure.
//!
//! Rungs go by the SHORT side, so a portrait 1080x1920 video is "1080p". A picture is never enlarged: a source
//! below the smallest rung gets one rung of its own size. The H.264 rungs, the audio and the pictures come from
//! one run that decodes once; HEVC of the top rungs comes from a second run, so that a viewer waits for neither.
//! Rate control is constant quality with a peak ("capped CRF"): easy pictures cost less, hard ones are bounded.

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::RenditionId,
    worker_frame::{ImagePlan, Plan, Probe, TrackPlan},
};

/// Section `[ladder]`: what is made of a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Preset of the software H.264 encoder. `veryfast`: the last preset whose time is below that of decoding
    /// and scaling together; slower ones win a few per cent of bytes for several times the time.
    pub h264_preset: String,
    /// Constant quality of H.264, 0 to 51; lower is better and bigger.
    pub h264_crf: u8,
    /// Whether HEVC of the top rungs is made after H.264: about a third fewer bytes for players that have it.
    pub hevc: bool,
    /// Preset of the software HEVC encoder.
    pub hevc_preset: String,
    /// Constant quality of HEVC, 0 to 51; 26 looks like 23 of H.264.
    pub hevc_crf: u8,
    /// How many rungs get HEVC, from the top.
    pub hevc_rungs: usize,
    /// Rungs with a shorter side get no HEVC: the saving is small in absolute terms.
    pub hevc_short_side_min: u32,
    /// Preset of hardware encoders (NVENC), `p1` (fast) to `p7` (good).
    pub hardware_preset: String,
    /// Distance of IDR frames in milliseconds. Two seconds: a switch of quality waits at most that long.
    pub gop_ms: u32,
    /// Bits per second of the audio rendition.
    pub audio_bitrate: u64,
    /// Width and height of the box that one picture of the sprite sheet fits in.
    pub sprite_side: u32,
    /// Short side of a thumbnail.
    pub thumbnail_short_side: u32,
    /// Short side of the stills that are kept for feature extraction.
    pub still_short_side: u32,
}

/// The tracks of one run with the ids under which they are published; `tracks[i]` is `plan.tracks[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPlan {
    /// What the worker gets.
    pub plan: Plan,
    /// The renditions' ids, in the order of the plan.
    pub ids: Vec<RenditionId>,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LadderError {
    /// The worker could open no encoder of this codec.
    #[error("no encoder for {0} opened")]
    NoEncoder(&'static str),
    /// The probe's numbers are no picture.
    #[error("a picture of {0}x{1} is too small to encode")]
    TooSmall(u32, u32),
}

/// The first run: H.264 from small to big, then audio, and the pictures.
///
/// # Errors
/// No H.264 encoder, or a picture below [`SIDE_MIN`].
pub fn h264(config: &Config, probe: &Probe) -> Result<RunPlan, LadderError> {
    let encoder = choose(probe, H264_ENCODERS).ok_or(LadderError::NoEncoder("H.264"))?;
    let rungs = rungs(probe.width, probe.height);
    if rungs.is_empty() {
        return Err(LadderError::TooSmall(probe.width, probe.height));
    }
    let mut tracks = Vec::new();
    let mut ids = Vec::new();
    for rung in &rungs {
        let preset = preset(config, encoder, &config.h264_preset);
        tracks.push(video(encoder, rung, preset, config.h264_crf, h264_peak(rung, probe.fps)));
        ids.push(id(&format!("{}p", rung.name)));
    }
    if probe.has_audio {
        tracks.push(TrackPlan::Audio { bitrate: config.audio_bitrate });
        ids.push(id(AUDIO));
    }
    let images = Some(images(config, probe));
    Ok(RunPlan { plan: Plan { tracks, images, gop_ms: config.gop_ms }, ids })
}

/// The second run: HEVC of the top rungs; `None` when none is wanted or possible.
#[must_use]
pub fn hevc(config: &Config, probe: &Probe) -> Option<RunPlan> {
    let encoder = choose(probe, HEVC_ENCODERS).filter(|_| config.hevc)?;
    let rungs = rungs(probe.width, probe.height);
    let skipped = rungs.len().saturating_sub(config.hevc_rungs);
    let mut tracks = Vec::new();
    let mut ids = Vec::new();
    for rung in rungs.iter().skip(skipped).filter(|r| r.name >= config.hevc_short_side_min) {
        let peak = h264_peak(rung, probe.fps) * 65 / 100;
        let preset = preset(config, encoder, &config.hevc_preset);
        tracks.push(video(encoder, rung, preset, config.hevc_crf, peak));
        ids.push(id(&format!("hevc-{}p", rung.name)));
    }
    let plan = Plan { tracks, images: None, gop_ms: config.gop_ms };
    (!plan.tracks.is_empty()).then_some(RunPlan { plan, ids })
}

/// The size of one rung; `name` is its short side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rung {
    name: u32,
    width: u32,
    height: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            h264_preset: "veryfast".into(),
            h264_crf: 23,
            hevc: true,
            hevc_preset: "fast".into(),
            hevc_crf: 26,
            hevc_rungs: 2,
            hevc_short_side_min: 720,
            hardware_preset: "p5".into(),
            gop_ms: 2000,
            audio_bitrate: 128_000,
            sprite_side: 300,
            thumbnail_short_side: 360,
            still_short_side: 360,
        }
    }
}

impl Config {
    /// Checks the numbers against one another.
    ///
    /// # Errors
    /// Says which one is out of range.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.h264_crf <= 51, "ladder.h264_crf is 0 to 51, not {}", self.h264_crf);
        anyhow::ensure!(self.hevc_crf <= 51, "ladder.hevc_crf is 0 to 51, not {}", self.hevc_crf);
        anyhow::ensure!(
            (250..=10_000).contains(&self.gop_ms),
            "ladder.gop_ms is 250 to 10000, not {}",
            self.gop_ms
        );
        anyhow::ensure!(
            (32_000..=512_000).contains(&self.audio_bitrate),
            "ladder.audio_bitrate is 32000 to 512000, not {}",
            self.audio_bitrate
        );
        for (name, side) in [
            ("sprite_side", self.sprite_side),
            ("thumbnail_short_side", self.thumbnail_short_side),
            ("still_short_side", self.still_short_side),
        ] {
            anyhow::ensure!((32..=2160).contains(&side), "ladder.{name} is 32 to 2160, not {side}");
        }
        Ok(())
    }
}

/// The rungs of a picture, from small to big.
fn rungs(width: u32, height: u32) -> Vec<Rung> {
    let short = width.min(height);
    let long = width.max(height);
    if even_down(short) < SIDE_MIN {
        return Vec::new();
    }
    let mut rungs: Vec<Rung> = SHORT_SIDES
        .iter()
        .filter(|&&side| side <= short)
        .map(|&side| rung(side, side, short, long, width > height))
        .collect();
    if rungs.is_empty() {
        rungs.push(rung(even_down(short), even_down(short), short, long, width > height));
    }
    rungs
}

/// Scales to a short side, the long one to the nearest even number; a very long picture is made smaller still, so that its long side can be encoded.
fn rung(name: u32, side: u32, short: u32, long: u32, is_landscape: bool) -> Rung {
    let pairs = u64::from(long) * u64::from(side) + u64::from(short);
    let scaled = (pairs / (2 * u64::from(short)) * 2).min(u64::from(long));
    let (side, scaled) = if scaled > u64::from(LONG_SIDE_MAX) {
        let shrunk = u64::from(side) * u64::from(LONG_SIDE_MAX) / scaled;
        (u32::try_from(shrunk).unwrap_or(side), u64::from(LONG_SIDE_MAX))
    } else {
        (side, scaled)
    };
    let short = even_down(side).max(SIDE_MIN);
    let long = even_down(u32::try_from(scaled).unwrap_or(LONG_SIDE_MAX)).max(short);
    let (width, height) = if is_landscape { (long, short) } else { (short, long) };
    Rung { name, width, height }
}

fn even_down(side: u32) -> u32 {
    side & !1
}

/// The peak for a rung: a table at 30 frames a second for 16:9, by area in between and half as much again for
/// fast pictures.
fn h264_peak(rung: &Rung, fps: (u32, u32)) -> u64 {
    let area = u64::from(rung.width) * u64::from(rung.height);
    let (reference_area, reference) = PEAKS
        .iter()
        .copied()
        .min_by_key(|(reference, _)| reference.abs_diff(area))
        .expect("the table of peaks is not empty");
    let peak = (reference * area / reference_area).max(PEAK_MIN);
    let is_fast = u64::from(fps.0) > u64::from(fps.1) * 35;
    if is_fast { peak * 3 / 2 } else { peak }
}

fn video(encoder: &str, rung: &Rung, preset: &str, crf: u8, maxrate: u64) -> TrackPlan {
    TrackPlan::Video {
        encoder: encoder.to_owned(),
        width: rung.width,
        height: rung.height,
        preset: preset.to_owned(),
        crf,
        maxrate,
        bufsize: maxrate * 2,
    }
}

/// The worker's names come from outside: only those that are known here are used, in the worker's order.
fn choose(probe: &Probe, known: &[&'static str]) -> Option<&'static str> {
    probe.encoders.iter().find_map(|name| known.iter().copied().find(|known| known == name))
}

fn preset<'a>(config: &'a Config, encoder: &str, software: &'a str) -> &'a str {
    if encoder.ends_with("_nvenc") { &config.hardware_preset } else { software }
}

fn images(config: &Config, probe: &Probe) -> ImagePlan {
    let (sprite_width, sprite_height) = fit(probe.width, probe.height, config.sprite_side);
    let is_short = probe.duration_ms < 10_000;
    let thumbnail_ms = if probe.duration_ms == 0 {
        vec![0]
    } else {
        THUMBNAIL_PERCENT.iter().map(|percent| probe.duration_ms / 100 * percent).collect()
    };
    ImagePlan {
        thumbnail_ms,
        thumbnail_short_side: config.thumbnail_short_side,
        sprite_ms: if is_short { 1000 } else { 2000 },
        sprite_width,
        sprite_height,
        sprite_columns: SPRITE_COLUMNS,
        sprite_rows: SPRITE_ROWS,
        still_short_side: config.still_short_side,
    }
}

/// The largest even size of the same shape inside a square box.
fn fit(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longest = u64::from(width.max(height).max(1));
    let scale = |length: u32| {
        let scaled = u64::from(length) * u64::from(side) / longest;
        even_down(u32::try_from(scaled).unwrap_or(side)).max(2)
    };
    (scale(width), scale(height))
}

fn id(text: &str) -> RenditionId {
    RenditionId::parse(text).expect("made of digits and plain letters")
}

/// The id of the audio rendition.
pub const AUDIO: &str = "audio";
/// The shortest side that is encoded, in pixels.
pub const SIDE_MIN: u32 = 16;
/// The longest side that is encoded, in pixels: what every H.264 decoder of level 5.1 takes.
pub const LONG_SIDE_MAX: u32 = 4096;
/// Pictures in a row of a sprite sheet.
pub const SPRITE_COLUMNS: u32 = 6;
/// Rows of a sprite sheet.
pub const SPRITE_ROWS: u32 = 6;

const SHORT_SIDES: [u32; 3] = [360, 720, 1080];
const H264_ENCODERS: &[&str] = &["h264_nvenc", "libx264"];
const HEVC_ENCODERS: &[&str] = &["hevc_nvenc", "libx265"];
/// Pixels of a frame and its peak in bits per second.
const PEAKS: [(u64, u64); 3] =
    [(640 * 360, 900_000), (1280 * 720, 3_000_000), (1920 * 1080, 6_000_000)];
const PEAK_MIN: u64 = 100_000;
const THUMBNAIL_PERCENT: [u64; 5] = [5, 25, 50, 75, 95];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probe(width: u32, height: u32) -> Probe {
        Probe {
            container: "mov".into(),
            duration_ms: 20_000,
            width,
            height,
            fps: (30, 1),
            video_codec: "h264".into(),
            has_audio: true,
            encoders: vec!["libx264".into(), "libx265".into()],
        }
    }

    fn sizes(run: &RunPlan) -> Vec<(String, u32, u32)> {
        run.ids
            .iter()
            .zip(&run.plan.tracks)
            .filter_map(|(id, track)| match track {
                TrackPlan::Video { width, height, .. } => Some((id.to_string(), *width, *height)),
                TrackPlan::Audio { .. } => None,
            })
            .collect()
    }

    #[test]
    fn rungs_go_by_the_short_side_and_never_up() {
        for (width, height, expected) in [
            (1080, 1920, vec![("360p", 360, 640), ("720p", 720, 1280), ("1080p", 1080, 1920)]),
            (1920, 1080, vec![("360p", 640, 360), ("720p", 1280, 720), ("1080p", 1920, 1080)]),
            (3840, 2160, vec![("360p", 640, 360), ("720p", 1280, 720), ("1080p", 1920, 1080)]),
            (1280, 720, vec![("360p", 640, 360), ("720p", 1280, 720)]),
            (854, 480, vec![("360p", 640, 360)]),
            (320, 240, vec![("240p", 320, 240)]),
            (321, 241, vec![("240p", 320, 240)]),
            (4000, 20, vec![("20p", 4000, 20)]),
        ] {
            let run = h264(&Config::default(), &probe(width, height)).expect("a plan");
            let expected: Vec<_> =
                expected.into_iter().map(|(id, w, h)| (id.to_owned(), w, h)).collect();
            assert_eq!(sizes(&run), expected, "{width}x{height}");
            assert_eq!(run.ids.last().map(RenditionId::as_str), Some(AUDIO));
        }
    }

    #[test]
    fn hevc_is_for_the_top_rungs_only() {
        let ids = |config: &Config, probe: &Probe| {
            hevc(config, probe).map(|run| run.ids.iter().map(ToString::to_string).collect())
        };
        let config = Config::default();
        let both = Some(vec!["hevc-720p".to_owned(), "hevc-1080p".to_owned()]);
        assert_eq!(ids(&config, &probe(1080, 1920)), both);
        assert_eq!(ids(&config, &probe(1280, 720)), Some(vec!["hevc-720p".to_owned()]));
        assert_eq!(ids(&config, &probe(640, 360)), None);
        assert_eq!(ids(&Config { hevc: false, ..config.clone() }, &probe(1920, 1080)), None);
        let without = Probe { encoders: vec!["libx264".into()], ..probe(1920, 1080) };
        assert_eq!(ids(&config, &without), None);
    }

    #[test]
    fn the_encoder_is_the_first_that_opened_and_is_known() {
        let encoder = |encoders: &[&str]| {
            let encoders = encoders.iter().map(ToString::to_string).collect();
            let run = h264(&Config::default(), &Probe { encoders, ..probe(640, 360) })?;
            match &run.plan.tracks[0] {
                TrackPlan::Video { encoder, preset, .. } => Ok((encoder.clone(), preset.clone())),
                TrackPlan::Audio { .. } => panic!("video comes first"),
            }
        };
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(encoder(&["h264_nvenc", "libx264"]), pair("h264_nvenc", "p5"));
        assert_eq!(encoder(&["sh -c", "libx264"]), pair("libx264", "veryfast"));
        assert_eq!(encoder(&["libx265"]), Err(LadderError::NoEncoder("H.264")));
    }

    #[test]
    fn fast_pictures_get_half_as_much_again() {
        let full = Rung { name: 1080, width: 1920, height: 1080 };
        assert_eq!(h264_peak(&full, (30, 1)), 6_000_000);
        assert_eq!(h264_peak(&full, (60_000, 1001)), 9_000_000);
    }

    proptest! {
        #[test]
        fn every_rung_can_be_encoded_and_is_not_enlarged(width in 16_u32..20_000, height in 16_u32..20_000) {
            let rungs = rungs(width, height);
            prop_assert!(!rungs.is_empty());
            for rung in &rungs {
                prop_assert!(rung.width % 2 == 0 && rung.height % 2 == 0);
                prop_assert!(rung.width >= SIDE_MIN && rung.height >= SIDE_MIN);
                prop_assert!(rung.width <= LONG_SIDE_MAX && rung.height <= LONG_SIDE_MAX);
                prop_assert!(rung.width <= width && rung.height <= height, "{rung:?} of {width}x{height}");
                prop_assert_eq!(rung.width > rung.height, rung.width != rung.height && width > height);
            }
            prop_assert!(rungs.is_sorted_by_key(|rung| rung.name));
            let names: std::collections::HashSet<u32> = rungs.iter().map(|rung| rung.name).collect();
            prop_assert_eq!(names.len(), rungs.len());
        }

        #[test]
        fn a_rung_keeps_the_shape(width in 360_u32..4096, height in 360_u32..4096) {
            for rung in rungs(width, height) {
                let ratio = f64::from(width) / f64::from(height);
                let kept = f64::from(rung.width) / f64::from(rung.height);
                prop_assert!((kept / ratio - 1.0).abs() < 0.02, "{rung:?} of {width}x{height}");
            }
        }

        #[test]
        fn sprite_pictures_fit_their_box(width in 1_u32..20_000, height in 1_u32..20_000) {
            let (w, h) = fit(width, height, 300);
            prop_assert!(w <= 300 && h <= 300 && w >= 2 && h >= 2);
        }
    }
}
