//! A well-behaved run: every track of the plan, small rungs first, and the pictures.

use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Done, Frame, Image, ImageKind, Plan, Sample, TrackPlan, TrackStart},
};

use crate::{Wire, init};

pub(super) fn run(wire: &mut Wire, plan: &Plan, words: &[&str]) {
    let seconds = seconds(words);
    let is_hevc = plan.tracks.iter().any(is_hevc);
    if is_hevc && words.contains(&"hevc-fails") {
        let detail = "the encoder gave up".into();
        return wire.send(&Frame::Failed { reason: FailureReason::Internal, detail });
    }
    for (number, track) in (0..).zip(&plan.tracks) {
        let is_audio = matches!(track, TrackPlan::Audio { .. });
        if is_audio && words.contains(&"sound-fails") {
            continue;
        }
        wire.send(&Frame::Track(start(number, track)));
        // Sound ends early, as it would: it is cheap.
        if is_audio {
            audio(wire, number, seconds);
            wire.send(&Frame::TrackEnd { track: number });
        }
    }
    for (number, track) in (0..).zip(&plan.tracks) {
        if matches!(track, TrackPlan::Video { .. }) {
            video(wire, number, seconds, plan.gop_ms);
            wire.send(&Frame::TrackEnd { track: number });
            let done = (u64::from(number) + 1) * 1000 / plan.tracks.len() as u64;
            wire.send(&Frame::Progress { permille: u16::try_from(done).expect("small") });
        }
    }
    if let Some(images) = &plan.images {
        pictures(wire, images.thumbnail_ms.len(), seconds);
    }
    let mut done = done(seconds);
    if words.contains(&"sound-fails") {
        done.audio_note = "the audio track is damaged".into();
    }
    wire.send(&Frame::Done(done));
}

pub(super) fn seconds(words: &[&str]) -> u64 {
    let value = words.iter().find_map(|word| word.strip_prefix("seconds="));
    value.map_or(6, |value| value.parse().expect("a number"))
}

pub(super) fn start(number: u16, plan: &TrackPlan) -> TrackStart {
    let (entry, timescale, fps, encoder, priming) = match plan {
        TrackPlan::Video { width, height, encoder, .. } => {
            (init::video(*width, *height, is_hevc(plan)), 10, Some((10, 1)), encoder.as_str(), 0)
        }
        TrackPlan::Audio { .. } => (init::audio(), 48_000, None, "aac", 1024),
    };
    TrackStart {
        track: number,
        timescale,
        init_hex: hex::encode(init::minted(entry, timescale)),
        priming,
        fps,
        encoder: encoder.into(),
    }
}

pub(super) fn done(seconds: u64) -> Done {
    Done {
        frames: seconds * 10,
        duration_ms: seconds * 1000,
        sprite_pictures: u32::try_from(seconds).expect("short"),
        audio_note: String::new(),
    }
}

fn is_hevc(plan: &TrackPlan) -> bool {
    matches!(plan, TrackPlan::Video { encoder, .. } if encoder == "libx265")
}

fn video(wire: &mut Wire, track: u16, seconds: u64, gop_ms: u32) {
    let gop = u64::from(gop_ms) / 100;
    for frame in 0..seconds * 10 {
        let number = frame.to_be_bytes();
        let mut data = vec![0, 0, 0, 10, 0x65, 0x88];
        data.extend(number);
        let dts = i64::try_from(frame).expect("short");
        let is_sync = frame % gop == 0;
        let sample = Sample { track, is_sync, dts, composition_offset: 2, duration: 1, data };
        wire.send(&Frame::Sample(sample));
    }
}

fn audio(wire: &mut Wire, track: u16, seconds: u64) {
    for frame in 0..=seconds * 48_000 / 1024 {
        let dts = i64::try_from(frame).expect("short") * 1024 - 1024;
        let data = frame.to_be_bytes().to_vec();
        let (is_sync, composition_offset, duration) = (true, 0, 1024);
        let sample = Sample { track, is_sync, dts, composition_offset, duration, data };
        wire.send(&Frame::Sample(sample));
    }
}

fn pictures(wire: &mut Wire, thumbnails: usize, seconds: u64) {
    let mut send = |kind, number, data: &[u8]| {
        wire.send(&Frame::Image(Image { kind, number, at_ms: 0, data: data.to_vec() }));
    };
    let jpeg = [0xff, 0xd8, 0xff, 0xe0];
    for number in (1..).take(thumbnails) {
        send(ImageKind::ThumbnailJpeg, number, &jpeg);
        send(ImageKind::ThumbnailWebp, number, b"RIFF\0\0\0\0WEBPVP8 ");
    }
    send(ImageKind::Sprite, 1, &jpeg);
    for number in (1..).take(usize::try_from(seconds).expect("short")) {
        send(ImageKind::Still, number, &jpeg);
    }
}
