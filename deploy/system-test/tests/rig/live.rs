//! Live streams that ffmpeg makes as they go, through our edge, over all protocols.

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;
use tidegate_system_test::wait::{PATIENCE, until};

use crate::harness::{Edge, Killed, Nginx, clip_of, fetches};

#[tokio::test]
async fn a_live_stream_is_followed_through_the_edge_on_all_protocols() {
    let media = tempfile::tempdir().unwrap();
    let hls = "-f hls -hls_time 1 -hls_list_size 8 -hls_delete_threshold 8 \
               -hls_flags delete_segments+program_date_time+temp_file live.m3u8";
    let results = followed(media.path(), hls, "live.m3u8", "#EXTINF").await;
    assert!(fetches(&results, "playlist", "count") > 60, "playlists are asked for again and again");
}

#[tokio::test]
async fn a_live_stream_of_dash_is_followed_through_the_edge_on_all_protocols() {
    let media = tempfile::tempdir().unwrap();
    let dash = "-f dash -seg_duration 1 -window_size 8 -extra_window_size 8 -use_template 1 \
                -use_timeline 1 live.mpd";
    let results = followed(media.path(), dash, "live.mpd", "<S ").await;
    assert!(fetches(&results, "playlist", "count") > 24, "the MPD is asked for again and again");
}

/// Twelve viewers of a live stream that is made meanwhile, of which `mark` tells each segment in its manifest.
async fn followed(media: &Path, output: &str, entry: &str, mark: &str) -> Value {
    let mut source = clip_of("1000")
        .arg("-re")
        .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"])
        .args("-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -b:v 200k".split(' '))
        .args(output.split_whitespace())
        .current_dir(media)
        .stdin(Stdio::null())
        .spawn()
        .map(Killed)
        .unwrap();
    let nginx = Nginx::start(media).await;
    let manifest = media.join(entry);
    until("the stream has begun", PATIENCE, || {
        assert!(source.0.try_wait().unwrap().is_none(), "ffmpeg ended");
        let text = fs::read_to_string(&manifest).unwrap_or_default();
        let is_dash_begun = text.contains(" r=\"3\"");
        async move { (is_dash_begun || text.matches(mark).count() >= 4).then_some(()) }
    })
    .await;
    let edge = Edge::start(nginx.plain).await;
    let results = edge.run(
        entry,
        &["--protocol=h1=1,h2=1,h3=1", "--rate=3", "--duration=4s", "--set=arrivals.drain=8s"],
    );
    let quality = &results["quality"];
    assert_eq!(quality["views"], 12, "{quality}");
    assert_eq!(quality["cut"], 12, "a live stream does not end: {quality}");
    assert_eq!(quality["failed_starts"], 0, "{quality}");
    assert!(quality["played_s"].as_f64().unwrap() > 40.0, "{quality}");
    let protocols: Vec<_> = results["connections"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(protocols, ["h1", "h2", "h3"]);
    results
}
