//! HTTP/3 of our edge as the rig tries it: sessions resumed with 0-RTT data, connections that move to other ports.

use tidegate_system_test::wait::{PATIENCE, until};

use crate::harness::{CLIP_SECONDS, Edge, Nginx, clip, shown};

#[tokio::test]
async fn viewers_come_back_with_early_data_and_move_while_they_watch() {
    let media = tempfile::tempdir().unwrap();
    let ran = clip()
        .args("-f hls -hls_time 1 -hls_playlist_type vod v.m3u8".split(' '))
        .current_dir(media.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", shown(&ran));
    let nginx = Nginx::start(media.path()).await;
    let plain = nginx.plain;
    until("nginx answers", PATIENCE, || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", plain)).await.ok()
    })
    .await;
    let edge = Edge::start(plain).await;
    let results = edge.run(
        "v.m3u8",
        &[
            "--protocol=h3=1",
            "--rate=2",
            "--duration=4s",
            "--set=arrivals.drain=60s",
            // A small buffer: fetches are spread over the whole view, and there are connections that can move.
            "--set=player.buffer_max=2s",
            "--set=rig.workers=1",
            "--set=sessions.resumed_share=1",
            "--set=sessions.early_share=1",
            "--set=sessions.new_connection_every=4",
            "--set=sessions.migrated_share=0.5",
            "--set=sessions.migrate_every=\"500ms\"",
        ],
    );
    let quality = &results["quality"];
    assert_eq!((&quality["views"], &quality["failed_playbacks"]), (&8.into(), &0.into()));
    assert_eq!(quality["failed_starts"], 0, "{quality}");
    let played = quality["played_s"].as_f64().unwrap();
    assert!((played - 8.0 * CLIP_SECONDS).abs() < 8.0, "{played} s played");
    let connections = &results["connections"]["h3"];
    let count = |what: &str| connections[what].as_u64().unwrap();
    // A ticket comes with the first connection.
    assert!(count("opened") >= 16, "{connections}");
    assert!(count("resumed") > 0 && count("early") > 0, "{connections}");
    assert!(count("migrated") > 0, "{connections}");
    assert_eq!(connections["failures"], serde_json::json!({}), "{connections}");
}
