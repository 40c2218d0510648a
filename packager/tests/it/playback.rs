//! Real media: what comes out is what the encoder gave, and players can read it.
//!
//! These run the real worker in its sandbox and need the `ffmpeg` and `ffprobe` commands.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use object_store::local::LocalFileSystem;
use prometheus::Registry;
use tempfile::TempDir;
use tidegate_contract::{
    id::MediaId,
    package_job::{FailureReason, Publication},
    worker_frame::{Frame, Sample, TrackPlan, WorkerOrder},
};
use tidegate_packager::{
    assembly::{Assembly, Event},
    ladder,
    metrics::Metrics,
    output::Output,
    store::Store,
    track,
    worker_process::{self, WorkerProcess},
};

use crate::harness::{
    FakeOrigin, TestPackager,
    media::{clip, frame_hashes, stream_values, sync_times},
    real_worker, serve,
};

async fn package(origin: &FakeOrigin, upload: &Path) -> Publication {
    let _packager = TestPackager::with_worker(real_worker()).start(origin);
    origin.upload(&std::fs::read(upload).expect("the upload"));
    origin.completed().await
}

/// Init segment and segments of a rendition as one file.
fn whole(origin: &FakeOrigin, rendition: &str, folder: &TempDir) -> std::path::PathBuf {
    let read = |name: &str| {
        let key = format!("m/m1/1/{rendition}/{name}");
        std::fs::read(origin.object(&key))
    };
    let mut bytes = read("init.mp4").expect("an init segment");
    (1..).map_while(|n| read(&format!("{n}.m4s")).ok()).for_each(|part| bytes.extend(part));
    let path = folder.path().join(format!("{rendition}.mp4"));
    std::fs::write(&path, bytes).expect("written");
    path
}

#[tokio::test]
async fn players_of_hls_and_dash_decode_every_frame() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = FakeOrigin::start().await;
    let upload = clip(folder.path(), "720x1280", "30000/1001", 9, true).await;
    let publication = package(&origin, &upload).await;
    let frames = frame_hashes(&upload.display().to_string(), &[], "0:v:0").await.len();
    assert_eq!(frames, 270);

    let ids: Vec<_> = publication.renditions.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["360p", "720p", "hevc-720p", "audio"]);
    let first = &origin.publications()[0].renditions;
    assert!(first.len() < 3 && first[0].id.as_str() == "360p", "the smallest plays first");
    let base = serve(&origin, &publication).await;
    for manifest in ["main.m3u8", "manifest.mpd"] {
        let url = format!("{base}/{manifest}");
        let mut widths = stream_values(&url, "width").await;
        widths.sort();
        assert_eq!(widths, ["360", "720", "720"], "{manifest}");
        for stream in 0..3 {
            let hashes = frame_hashes(&url, &[], &format!("0:v:{stream}")).await;
            assert_eq!(hashes.len(), frames, "{manifest} {stream}");
        }
        let sound = frame_hashes(&url, &[], "0:a:0").await.len();
        // 9 s at 48 kHz in frames of 1024, and what the encoder needs to end.
        assert!((421..=424).contains(&sound), "{manifest}: {sound} frames of sound");
    }

    let mut sync = Vec::new();
    for rendition in ["360p", "720p", "hevc-720p"] {
        let path = whole(&origin, rendition, &folder);
        let start = stream_values(&path.display().to_string(), "start_time").await;
        assert_eq!(start, ["0.000000"], "{rendition}");
        sync.push(sync_times(&path).await);
    }
    // The encoder's priming stands before zero, where a player drops it.
    let sound = whole(&origin, "audio", &folder).display().to_string();
    assert_eq!(stream_values(&sound, "start_time").await, ["-0.021333"]);
    assert_eq!(sync[0], ["0.000000", "2.002000", "4.004000", "6.006000", "8.008000"]);
    assert!(sync.iter().all(|times| *times == sync[0]), "{sync:?}");
    for image in &publication.images {
        assert!(origin.object(&format!("m/m1/1/image/{image}")).is_file(), "{image}");
    }
    assert!((8..=10).contains(&publication.stills), "{}", publication.stills);
}

#[tokio::test]
async fn an_odd_small_silent_upload_becomes_one_rendition() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = FakeOrigin::start().await;
    let upload = clip(folder.path(), "322x242", "12", 2, false).await;
    let publication = package(&origin, &upload).await;
    let renditions: Vec<_> =
        publication.renditions.iter().map(|r| (r.id.as_str(), r.width, r.height)).collect();
    assert_eq!(renditions, [("242p", 322, 242)]);
    let base = serve(&origin, &publication).await;
    assert_eq!(frame_hashes(&format!("{base}/main.m3u8"), &[], "0:v:0").await.len(), 24);
}

#[tokio::test]
async fn damaged_uploads_end_in_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = clip(folder.path(), "320x240", "25", 2, true).await;
    let good = std::fs::read(good).expect("the clip");
    let playlist = b"#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n".to_vec();
    for (upload, expected) in [
        (b"<html><body>not a video</body></html>".repeat(50), FailureReason::UnsupportedContainer),
        (playlist, FailureReason::UnsupportedContainer),
        (good[..200].to_vec(), FailureReason::Damaged),
    ] {
        let origin = FakeOrigin::start().await;
        let _packager = TestPackager::with_worker(real_worker()).start(&origin);
        origin.upload(&upload);
        let failure = origin.failed().await;
        assert!(!failure.reason.is_retryable(), "{failure:?}");
        assert_eq!(failure.reason, expected, "{}", failure.detail);
    }
}

/// Runs the worker's plan for an upload through an assembly, keeping what the encoder gave for the first track.
async fn tap(upload: &Path, origin: &FakeOrigin) -> Vec<u8> {
    let config = worker_process::Config { threads: 2, ..Default::default() };
    let order = WorkerOrder {
        duration_ms_max: 60_000,
        pixels_max: 10_000_000,
        tracks_max: 8,
        fps_max: 60,
        lag_bytes_max: 1 << 28,
        threads: 2,
    };
    let source = File::open(upload).expect("the upload");
    let mut worker =
        WorkerProcess::start(&real_worker(), &config, source, order).await.expect("a worker");
    let Frame::Probe(probe) = worker.next().await.expect("a frame") else { panic!("no probe") };
    let ladder = ladder::Config { h264_preset: "veryfast".into(), ..Default::default() };
    let plan = ladder::h264(&ladder, &probe).expect("a plan");
    assert!(matches!(plan.plan.tracks[0], TrackPlan::Video { .. }));
    worker.send(&Frame::Plan(plan.plan.clone())).await.expect("sent");

    let root = origin.object("");
    std::fs::create_dir_all(&root).expect("a folder");
    let store = Store::of(Arc::new(LocalFileSystem::new_with_prefix(root).expect("a folder")));
    let media = MediaId::parse("m1").expect("an id");
    let metrics = Metrics::register(&Registry::new());
    let mut output = Output::new(store, media, 1, metrics, u64::MAX);
    let mut assembly = Assembly::new(plan, track::Config::default(), Duration::from_secs(60));
    let mut stream = Vec::new();
    loop {
        let frame = worker.next().await.expect("a frame");
        match &frame {
            Frame::Track(start) if start.track == 0 => parameter_sets(&start.init_hex, &mut stream),
            Frame::Sample(sample) if sample.track == 0 => annex_b(sample, &mut stream),
            _ => {}
        }
        if assembly.take(frame, &mut output).await.expect("taken") == Event::Done {
            return stream;
        }
    }
}

/// The parameter sets of a minted init segment, behind start codes.
fn parameter_sets(init_hex: &str, stream: &mut Vec<u8>) {
    let init = hex::decode(init_hex).expect("hex");
    let at = init.windows(4).position(|word| word == b"avcC").expect("an avcC") + 4;
    let avcc = &init[at..];
    let mut rest = &avcc[5..];
    for mask in [0x1f, 0xff] {
        let (&count, mut sets) = rest.split_first().expect("a count");
        for _ in 0..count & mask {
            let length = usize::from(u16::from_be_bytes([sets[0], sets[1]]));
            stream.extend([0, 0, 0, 1]);
            stream.extend(&sets[2..2 + length]);
            sets = &sets[2 + length..];
        }
        rest = sets;
    }
}

/// A sample with start codes, whichever form the worker gave it in.
fn annex_b(sample: &Sample, stream: &mut Vec<u8>) {
    if sample.data.starts_with(&[0, 0, 0, 1]) && sample.data[4] != 0 {
        return stream.extend(&sample.data);
    }
    let mut rest = &sample.data[..];
    while let Some((head, body)) = rest.split_first_chunk::<4>() {
        let (unit, next) = body.split_at(u32::from_be_bytes(*head) as usize);
        stream.extend([0, 0, 0, 1]);
        stream.extend(unit);
        rest = next;
    }
}

#[tokio::test]
async fn packaging_changes_no_frame_that_the_encoder_gave() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = FakeOrigin::start().await;
    let upload = clip(folder.path(), "640x360", "25", 5, true).await;
    let stream = tap(&upload, &origin).await;
    let raw = folder.path().join("raw.h264");
    std::fs::write(&raw, stream).expect("written");
    let encoded = frame_hashes(&raw.display().to_string(), &["-f", "h264"], "0:v:0").await;
    let packaged = whole(&origin, "360p", &folder);
    let packaged = frame_hashes(&packaged.display().to_string(), &[], "0:v:0").await;
    assert_eq!(encoded.len(), 125);
    assert_eq!(packaged, encoded);
}
