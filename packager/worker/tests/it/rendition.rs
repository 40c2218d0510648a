//! Video renditions: every frame, aligned, in order, and the smallest first.

use tidegate_contract::worker_frame::{TrackPlan, WorkerOrder};

use crate::harness::{Clip, audio, decoded_frames, order, plan, psnr, transcode, video};

#[test]
fn every_frame_is_in_every_rendition_and_sync_samples_are_at_the_same_times() {
    let clip = Clip::generated(&["--seconds", "4", "--width", "320", "--height", "240"]);
    let tracks = [video(320, 240), audio(), video(160, 120), video(240, 180)];
    let outcome = transcode(&clip, order(), |_| plan(&tracks));

    let done = outcome.done();
    assert_eq!((done.frames, done.duration_ms), (120, 4000));
    assert_eq!(done.audio_note, "");
    for (number, size) in [(0, (320, 240)), (2, (160, 120)), (3, (240, 180))] {
        let track = outcome.track(number);
        assert_eq!(track.samples.len(), 120, "track {number}");
        assert_eq!(track.sync_ms(), [0, 1000, 2000, 3000], "track {number}");
        assert_eq!(track.start.encoder, "libx264");
        assert_eq!(track.start.fps, Some((30, 1)));
        assert_eq!(decoded_frames(&track), (120, size.0, size.1));
        let db = psnr(&track, &clip, "30");
        assert!(db > 28.0, "track {number} has {db} dB");
    }
    assert_eq!(outcome.progress().last(), Some(&1000));
    assert!(outcome.progress().is_sorted());
    assert!(outcome.progress().len() > 20, "{:?}", outcome.progress());
}

#[test]
fn a_smaller_rendition_is_complete_before_a_larger_one() {
    let clip = Clip::generated(&["--seconds", "3", "--width", "640", "--height", "360"]);
    let tracks = [video(640, 360), video(160, 90), video(320, 180), audio()];
    let outcome = transcode(&clip, order(), |_| plan(&tracks));

    outcome.done();
    assert!(outcome.end_of(1) < outcome.last_sample_of(2));
    assert!(outcome.end_of(2) < outcome.last_sample_of(0));
}

#[test]
fn a_bound_on_waiting_pictures_below_one_picture_slows_down_but_loses_nothing() {
    let clip = Clip::generated(&["--seconds", "2", "--width", "320", "--height", "240"]);
    let tight = WorkerOrder { lag_bytes_max: 1, ..order() };
    let outcome = transcode(&clip, tight, |_| plan(&[video(160, 120), video(320, 240)]));

    assert_eq!(outcome.done().frames, 60);
    assert_eq!(outcome.track(0).samples.len(), 60);
    assert_eq!(outcome.track(1).samples.len(), 60);
}

#[test]
fn only_sync_samples_hold_idr_pictures() {
    let clip = Clip::generated(&["--seconds", "3", "--width", "160", "--height", "120"]);
    let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120)]));

    for sample in outcome.track(0).samples {
        let kinds = unit_kinds(&sample.data);
        assert_eq!(kinds.contains(&5), sample.is_sync, "{kinds:?}");
        assert!(!kinds.contains(&7), "parameter sets are in the init segment only");
    }
}

#[test]
fn hevc_has_the_same_frames_and_sync_times_as_h264() {
    let clip = Clip::generated(&["--seconds", "2", "--width", "320", "--height", "240"]);
    let hevc = match video(320, 240) {
        TrackPlan::Video { width, height, crf, maxrate, bufsize, .. } => TrackPlan::Video {
            encoder: "libx265".to_owned(),
            preset: "ultrafast".to_owned(),
            width,
            height,
            crf,
            maxrate,
            bufsize,
        },
        other => other,
    };
    let outcome = transcode(&clip, order(), |probe| {
        assert!(probe.encoders.iter().any(|name| name == "libx265"), "{:?}", probe.encoders);
        plan(&[hevc, video(320, 240)])
    });

    outcome.done();
    let (hevc, h264) = (outcome.track(0), outcome.track(1));
    assert_eq!(hevc.samples.len(), 60);
    assert_eq!(hevc.sync_ms(), h264.sync_ms());
    let init = hex::decode(&hevc.start.init_hex).expect("hex");
    assert!(init.windows(4).any(|window| window == b"hvc1"));
    assert_eq!(decoded_frames(&hevc), (60, 320, 240));
}

fn unit_kinds(sample: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut rest = sample;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        kinds.push(after[0] & 0x1F);
        rest = &after[u32::from_be_bytes(*length) as usize..];
    }
    kinds
}
