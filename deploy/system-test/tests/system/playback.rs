//! What players get is what was made.

use std::fs;

use tidegate_system_test::{
    playback::{decoded_frames, fetch_all, random_access_times, uris},
    viewer::Protocol,
};

use super::stage::{CLIP_FRAMES, Stage};

pub(crate) async fn every_byte_of_every_segment_is_that_of_the_object_store(stage: &mut Stage) {
    let mut fetched_by_all = Vec::new();
    for (authority, viewer) in stage.system.everywhere() {
        let fetched = fetch_all(&viewer, &authority, &stage.hls_path()).await;
        assert!(fetched.len() >= 8, "too few resources: {}", fetched.len());
        for (path, answer) in &fetched {
            let kept = fs::read(stage.system.object(&path[1..])).unwrap();
            assert!(answer.body == kept, "{viewer:?} https://{authority}{path} differs");
            assert_eq!(answer.header("surrogate-key"), "", "surrogate keys are for caches");
        }
        fetched_by_all.push(fetched.into_iter().map(|(path, _)| path).collect::<Vec<_>>());
    }
    assert!(fetched_by_all.windows(2).all(|pair| pair[0] == pair[1]), "all see one presentation");
}

pub(crate) async fn ffmpeg_decodes_all_frames_of_hls_and_dash(stage: &mut Stage) {
    let pop = stage.system.pop("pop-a").clone();
    let base = format!("http://{}", pop.http_authority);
    let playlists = video_playlists(stage).await;
    for url in &playlists {
        assert_eq!(decoded_frames(url, 0).await, CLIP_FRAMES, "{url}");
    }
    let mpd = format!("{base}{}", stage.dash_path());
    for track in 0..playlists.len() {
        assert_eq!(decoded_frames(&mpd, track).await, CLIP_FRAMES, "video track {track} of {mpd}");
    }
}

pub(crate) async fn renditions_can_be_switched_at_the_same_instants(stage: &mut Stage) {
    let mut instants = Vec::new();
    for url in video_playlists(stage).await {
        instants.push(random_access_times(&url).await);
    }
    assert!(instants[0].len() >= 8, "sixteen seconds, one every two: {:?}", instants[0]);
    assert!(instants.iter().all(|times| *times == instants[0]), "{instants:?}");
}

/// The media playlists of the ladder, in clear text, as ffmpeg reads them.
async fn video_playlists(stage: &Stage) -> Vec<String> {
    let pop = stage.system.pop("pop-a");
    let viewer = stage.system.viewer(Protocol::Http2);
    let main = viewer.get(&pop.authority, &stage.hls_path()).await.text();
    let named = uris(&main).into_iter().filter(|uri| !uri.contains("audio"));
    let base = format!("http://{}/v/{}", pop.http_authority, stage.video);
    let playlists: Vec<_> = named.map(|uri| format!("{base}/{uri}")).collect();
    assert_eq!(playlists.len(), 3, "{main}");
    playlists
}
