//! Real media: what comes out is what the encoder gave, and players can read it.
//!
//! These run the real worker in its sandbox and need the `ffmpeg` and `ffprobe` commands.

use std::path::Path;

use tempfile::TempDir;
use tidegate_contract::package_job::{FailureReason, Publication};

use crate::harness::{
    FakeOrigin, TestPackager,
    encoded::{self, Family},
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

#[tokio::test]
async fn packaging_changes_no_frame_that_the_encoder_gave() {
    for (family, rendition) in [(Family::H264, "360p"), (Family::Hevc, "hevc-360p")] {
        let folder = tempfile::tempdir().expect("a folder");
        let origin = FakeOrigin::start().await;
        let upload = clip(folder.path(), "640x360", "25", 5, true).await;
        let stream = encoded::tap(family, &upload, &origin.object("")).await;
        let raw = folder.path().join("raw");
        std::fs::write(&raw, stream).expect("written");
        let options = ["-f", family.raw_format()];
        let encoded = frame_hashes(&raw.display().to_string(), &options, "0:v:0").await;
        let packaged = whole(&origin, rendition, &folder);
        let packaged = frame_hashes(&packaged.display().to_string(), &[], "0:v:0").await;
        assert_eq!(encoded.len(), 125, "{family:?}");
        assert_eq!(packaged, encoded, "{family:?}");
    }
}
