//! From a file to a video, with crashes on the way.

use std::time::Duration;

use bytes::Bytes;
use tidegate_system_test::{
    tus::video_in,
    wait::{PATIENCE, until},
};

use super::stage::Stage;

pub(crate) async fn an_upload_broken_by_a_crash_is_resumed(stage: &mut Stage) {
    let uploader = stage.system.uploader();
    let clip = Bytes::from(stage.clip.clone());
    let third = clip.len() / 3;
    let upload = uploader.create(clip.len() as u64).await;
    let sent = upload.send(0, clip.slice(..third)).await;
    assert_eq!(sent.status(), 204);

    // The second request stops in the middle of its body; then origin dies.
    let announced = (clip.len() - third) as u64;
    upload.send_and_hang(third as u64, clip.slice(third..2 * third), announced).await;
    stage.system.kill("origin").await;
    stage.system.start_again("origin").await;

    let offset = until("the upload is there", PATIENCE, || upload.offset()).await;
    assert!(offset >= third as u64, "acknowledged bytes were lost: {offset} of {third}");
    assert!(offset <= 2 * third as u64, "{offset} bytes were never sent");
    let finished = upload.send(offset, clip.slice(usize::try_from(offset).unwrap()..)).await;
    assert_eq!(finished.status(), 204);
    stage.video = video_in(&finished);
}

pub(crate) async fn a_job_whose_packager_was_killed_is_finished_by_another(stage: &mut Stage) {
    let uploader = stage.system.uploader();
    until("the job has begun", PATIENCE, || async {
        let view = uploader.video(&stage.video).await;
        (view["state"] != "uploaded").then_some(())
    })
    .await;
    stage.system.kill("packager").await;
    stage.system.start_again("packager").await;

    let view = uploader.finished(&stage.video, Duration::from_secs(300)).await;
    assert_eq!(view["state"], "complete", "{view}");
    let names: Vec<_> = view["renditions"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
    for name in ["360p", "720p", "1080p"] {
        assert!(names.iter().any(|id| *id == name), "{name} is missing: {names:?}");
    }
}

pub(crate) async fn the_same_content_again_is_not_made_again(stage: &mut Stage) {
    let uploader = stage.system.uploader();
    let again = uploader.upload(&stage.clip).await;
    assert_ne!(again, stage.video, "it is a video of its own");
    let (first, second) = (uploader.video(&stage.video).await, uploader.video(&again).await);
    assert_eq!(first["media"], second["media"], "over the same media");
    assert_eq!(second["state"], "complete", "at once");
}
