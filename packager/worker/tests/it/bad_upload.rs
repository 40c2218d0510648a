//! Bad uploads: the documented reason each time, in time, and never by a signal.

use tidegate_contract::{
    package_job::FailureReason::{self, *},
    worker_frame::{Frame, WorkerOrder},
};

use crate::harness::{Clip, Outcome, Worker, audio, order, plan, transcode, video};

#[test]
fn what_is_no_video_is_refused_with_its_reason() {
    let noise: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let webm_head = [&[0x1A, 0x45, 0xDF, 0xA3][..], &noise].concat();
    let mp4_head = [&b"\0\0\0\x20ftypisom"[..], &noise].concat();
    for (name, bytes, want) in [
        ("nothing", &b""[..], Empty),
        ("one byte", b"x", UnsupportedContainer),
        ("text", b"hello, this is no video\n", UnsupportedContainer),
        ("HTML", b"<!doctype html><html><body>hi</body></html>", UnsupportedContainer),
        (
            "HLS playlist",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:9/a.ts\n",
            UnsupportedContainer,
        ),
        ("concat script", b"ffconcat version 1.0\nfile '/etc/passwd'\n", UnsupportedContainer),
        ("noise", &noise, UnsupportedContainer),
        ("noise behind a Matroska mark", &webm_head, Damaged),
        ("noise behind an MP4 mark", &mp4_head, Damaged),
    ] {
        expect(name, &Clip::of_bytes("upload", bytes), order(), want);
    }
}

#[test]
fn videos_beyond_the_limits_are_refused_with_their_reason() {
    let picture = |size: &str| {
        format!("-f lavfi -i testsrc2=s=320x240:r=10:d=2,scale={size} -c:v mjpeg -pix_fmt yuvj420p")
    };
    let small = WorkerOrder { pixels_max: 1920 * 1080, ..order() };
    let short = WorkerOrder { duration_ms_max: 1000, ..order() };
    for (name, file, arguments, order, want) in [
        ("1x1", "a.mov", picture("1x1"), order(), TooSmall),
        ("14x100", "a.mov", picture("14x100"), order(), TooSmall),
        ("8K header", "a.mov", picture("7680x4320"), small, TooLarge),
        ("too long", "a.mov", picture("64x64"), short.clone(), TooLong),
        (
            "too long without saying so",
            "a.mkv",
            "-f lavfi -i testsrc2=s=64x64:r=10:d=4 -c:v mjpeg -pix_fmt yuvj420p -live 1".to_owned(),
            short,
            TooLong,
        ),
        ("only sound", "a.m4a", "-f lavfi -i sine=d=1 -c:a aac".to_owned(), order(), NoVideo),
        (
            "a cover is no video",
            "a.m4a",
            "-f lavfi -i sine=d=1 -f lavfi -i color=red:s=64x64:d=0.04 -map 0 -map 1 \
             -c:a aac -c:v mjpeg -disposition:v attached_pic"
                .to_owned(),
            order(),
            NoVideo,
        ),
        (
            "a codec that is not listed",
            "a.avi",
            "-f lavfi -i testsrc2=s=64x64:r=10:d=1 -c:v huffyuv".to_owned(),
            order(),
            UnsupportedCodec,
        ),
        (
            "encrypted",
            "a.mp4",
            "-f lavfi -i testsrc2=s=64x64:r=10:d=1 -c:v libx264 -encryption_scheme cenc-aes-ctr \
             -encryption_key 76a6c65c5ea762046bd749a2e632ccbb \
             -encryption_kid a7e61c373e219033c21091fa607bf3b8"
                .to_owned(),
            order(),
            Encrypted,
        ),
    ] {
        expect(name, &Clip::from_ffmpeg(file, &arguments), order, want);
    }
}

#[test]
fn more_tracks_than_allowed_are_refused() {
    let one = Clip::from_ffmpeg("one.mp4", "-f lavfi -i sine=d=0.1 -c:a aac");
    let many = " -map 0".repeat(20);
    let path = one.path();
    let arguments = format!("-i {} {many} -c copy", path.display());
    expect("20 tracks", &Clip::from_ffmpeg("many.mp4", &arguments), order(), TooManyTracks);
    expect("20 tracks", &Clip::from_ffmpeg("many.mkv", &arguments), order(), TooManyTracks);
}

#[test]
fn ten_thousand_tracks_are_refused() {
    expect(
        "10 000 tracks",
        &Clip::of_bytes("many.mov", &movie_of_tracks(10_000)),
        order(),
        TooManyTracks,
    );
}

#[test]
fn a_cut_upload_gives_what_can_be_decoded_when_that_is_a_second() {
    let whole = Clip::from_ffmpeg(
        "whole.mkv",
        "-f lavfi -i testsrc2=s=160x120:r=25:d=4 -c:v libx264 -preset ultrafast -g 25",
    );
    let bytes = whole.bytes();
    let half = Clip::of_bytes("half.mkv", &bytes[..bytes.len() / 2]);
    let outcome = transcode(&half, order(), |_| plan(&[video(160, 120)]));
    let duration_ms = outcome.done().duration_ms;
    assert!((1000..3900).contains(&duration_ms), "{duration_ms} ms");

    let scrap = Clip::of_bytes("scrap.mkv", &bytes[..bytes.len() / 8]);
    expect("an eighth", &scrap, order(), Damaged);
}

#[test]
fn a_cut_mp4_without_its_index_is_damaged() {
    let whole = Clip::from_ffmpeg(
        "whole.mp4",
        "-f lavfi -i testsrc2=s=160x120:r=25:d=2 -c:v libx264 -preset ultrafast",
    );
    let bytes = whole.bytes();
    expect("no index", &Clip::of_bytes("cut.mp4", &bytes[..bytes.len() / 2]), order(), Damaged);
}

#[test]
fn flipped_bytes_end_in_a_verdict_and_never_in_a_signal() {
    let whole = Clip::generated(&["--seconds", "2", "--width", "96", "--height", "96"]).bytes();
    for seed in 0..24_usize {
        let mut bytes = whole.clone();
        for flip in 0..40 {
            let at = (seed * 7919 + flip * 104_729) % bytes.len();
            bytes[at] ^= 0x55 + seed as u8;
        }
        let clip = Clip::of_bytes("flipped.mp4", &bytes);
        let outcome = transcode(&clip, order(), |_| plan(&[video(96, 96), audio()]));
        verdict(&outcome, seed);
    }
}

#[test]
fn a_packager_that_goes_away_ends_the_worker() {
    let clip = Clip::generated(&["--seconds", "4", "--width", "320", "--height", "240"]);
    let mut worker = Worker::start(&clip.path());
    worker.probe(order(), &mut Outcome::default()).expect("a probe");
    worker.send(&Frame::Plan(plan(&[video(320, 240)])));
    worker.receive().expect("it begins");
    let output = worker.abandon();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let clip = Clip::generated(&["--seconds", "1", "--width", "96", "--height", "96"]);
    let outcome = transcode(&clip, order(), |_| plan(&[video(97, 96)]));
    assert_eq!(outcome.failure().0, Internal);
}

fn expect(name: &str, clip: &Clip, order: WorkerOrder, want: FailureReason) {
    let outcome = transcode(clip, order, |_| plan(&[video(160, 120)]));
    let (reason, detail) = outcome.failure();
    assert_eq!(reason, want, "{name}: {detail}");
    assert!(!detail.is_empty(), "{name}");
}

fn verdict(outcome: &Outcome, seed: usize) {
    match outcome.frames.last() {
        Some(Frame::Done(_)) => drop(outcome.done()),
        Some(Frame::Failed { .. }) => drop(outcome.failure()),
        other => panic!("seed {seed}: {other:?}, {:?}, {}", outcome.status, outcome.stderr),
    }
}

/// A movie header that announces many empty tracks (ISO/IEC 14496-12).
fn movie_of_tracks(tracks: usize) -> Vec<u8> {
    fn boxed(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 8).expect("small").to_be_bytes();
        [&length[..], name, payload].concat()
    }
    let mut handler = vec![0; 24];
    handler[8..12].copy_from_slice(b"vide");
    let track = boxed(b"trak", &boxed(b"mdia", &boxed(b"hdlr", &handler)));
    let movie = boxed(b"moov", &track.repeat(tracks));
    [boxed(b"ftyp", b"isom\0\0\0\0isom"), movie].concat()
}
