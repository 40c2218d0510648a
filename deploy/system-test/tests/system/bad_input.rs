//! What is wrong gets the documented error, and what is no video a reason, through the real API.

use std::{fs, path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::process::Command;

use super::stage::Stage;

pub(crate) async fn wrong_requests_get_the_documented_error(stage: &mut Stage) {
    let uploader = stage.system.uploader();
    assert_eq!(uploader.stranger().try_create(10).await.status(), StatusCode::UNAUTHORIZED);
    let too_long = uploader.try_create(1 << 50).await;
    assert_eq!(too_long.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(too_long.headers()["content-type"], "application/problem+json");

    let upload = uploader.create(10).await;
    let chunk = || Bytes::from_static(b"01234");
    assert_eq!(upload.send(3, chunk()).await.status(), StatusCode::CONFLICT, "a wrong offset");
    let wrong = "sha256 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let refused = upload.send_with_checksum(0, chunk(), wrong).await;
    assert_eq!(refused.status().as_u16(), 460, "a wrong checksum");
    assert_eq!(upload.offset().await, Some(0), "the chunk was discarded");
    let oversized = upload.send(0, Bytes::from_static(b"0123456789abc")).await;
    assert_eq!(oversized.status(), StatusCode::PAYLOAD_TOO_LARGE, "a chunk beyond the end");
}

pub(crate) async fn inputs_that_are_no_video_fail_with_a_reason(stage: &mut Stage) {
    let folder = stage.system.data().join("bad");
    fs::create_dir_all(&folder).unwrap();
    let huge = ffmpeg(&folder, "huge.mp4", "color=s=7680x4320:r=1:d=1", HUGE).await;
    let tiny = ffmpeg(
        &folder,
        "tiny.mkv",
        "color=s=16x16:r=10:d=1,format=rgb24,crop=1:1",
        &["-c:v", "ffv1"],
    )
    .await;
    let playlist =
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n";
    let cut_off = stage.clip[..2_000].to_vec();
    let table: [(&str, Vec<u8>, &str); 8] = [
        ("nothing at all", Vec::new(), "empty"),
        ("text", "just some words ".repeat(500).into_bytes(), "unsupported_container"),
        ("a page", b"<!doctype html><title>x</title><p>hello".to_vec(), "unsupported_container"),
        ("a playlist", playlist.as_bytes().to_vec(), "unsupported_container"),
        ("one pixel", tiny, "too_small"),
        ("8K", huge, "too_large"),
        ("ten thousand tracks", many_tracks(10_000), "too_many_tracks"),
        ("cut off within its index", cut_off, "damaged"),
    ];
    let uploader = stage.system.uploader();
    let mut videos = Vec::new();
    for (what, content, reason) in table {
        videos.push((what, uploader.upload_any(&content).await, reason));
    }
    for (what, video, reason) in videos {
        let view = uploader.finished(&video, Duration::from_secs(120)).await;
        assert_eq!(view["state"], "failed", "{what}: {view}");
        assert_eq!(view["failure"]["reason"], reason, "{what}: {view}");
    }
}

pub(crate) async fn a_video_that_was_cut_off_plays_as_far_as_it_goes(stage: &mut Stage) {
    let uploader = stage.system.uploader();
    let video = uploader.upload(&stage.clip[..stage.clip.len() / 2]).await;
    let view = uploader.finished(&video, Duration::from_secs(120)).await;
    assert_eq!(view["state"], "complete", "{view}");
    let duration_ms = view["duration_ms"].as_u64().unwrap();
    assert!((4_000..12_000).contains(&duration_ms), "of 16 s: {duration_ms} ms");
}

/// A source made by ffmpeg's own test patterns.
async fn ffmpeg(folder: &Path, name: &str, pattern: &str, encoder: &[&str]) -> Vec<u8> {
    let file = folder.join(name);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", pattern])
        .args(encoder)
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::read(file).unwrap()
}

/// A Matroska file that announces so many tracks and holds nothing.
fn many_tracks(count: u32) -> Vec<u8> {
    let entries: Vec<u8> = (1..=count)
        .flat_map(|number| {
            let fields = [
                element(&[0xd7], &number.to_be_bytes()),       // TrackNumber
                element(&[0x73, 0xc5], &number.to_be_bytes()), // TrackUID
                element(&[0x83], &[1]),                        // TrackType: video
                element(&[0x86], b"V_MPEG4/ISO/AVC"),          // CodecID
            ];
            element(&[0xae], &fields.concat())
        })
        .collect();
    let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &entries);
    let header = element(&[0x1a, 0x45, 0xdf, 0xa3], &element(&[0x42, 0x82], b"matroska"));
    let cluster = element(&[0x1f, 0x43, 0xb6, 0x75], &element(&[0xe7], &[0]));
    [header, element(&[0x18, 0x53, 0x80, 0x67], &[tracks, cluster].concat())].concat()
}

/// An EBML element with an eight-byte length.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let mut length = (content.len() as u64).to_be_bytes();
    length[0] = 0x01;
    [id, &length, content].concat()
}

const HUGE: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
