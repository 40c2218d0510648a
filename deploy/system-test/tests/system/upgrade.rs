//! A node gets a new process while purges go on: what is acknowledged is gone, whichever process answers.

use tidegate_system_test::{
    fake_origin::Resource,
    system::is_running,
    viewer::Protocol,
    wait::{PATIENCE, until},
};

use super::stage::{Stage, story_authority};

pub(crate) async fn a_node_is_upgraded_and_no_purge_is_missed_meanwhile(stage: &mut Stage) {
    stage.origin.put("/upgraded", Resource::new("0").key("story-u"));
    stage.expect_everywhere("/upgraded", "0").await;
    // Somebody is in the middle of a download: the old process has to stay for him.
    let (slow, gate) = Resource::of_bytes(400_000).gated();
    stage.origin.put("/slow", slow);
    let authority = story_authority(&stage.system.pop("pop-b").authority);
    let viewer = stage.system.viewer(Protocol::Http2);
    let watching = viewer.clone();
    let download = { tokio::spawn(async move { watching.get(&authority, "/slow").await }) };
    until("the download has begun", PATIENCE, || async { viewer.has_begun().then_some(()) }).await;

    let old = stage.system.upgrade("pop-b").await;
    let fetches = stage.origin.fetches("/upgraded");
    for version in 1..=3_u64 {
        stage.origin.put("/upgraded", Resource::new(version.to_string()).key("story-u"));
        let purge = stage.purge_key("story-u").await;
        assert_eq!(purge["complete"], true, "by both processes: {purge}");
        stage.expect_everywhere("/upgraded", &version.to_string()).await;
        assert_eq!(stage.origin.fetches("/upgraded"), fetches + version, "the shield fetched once");
    }
    assert!(is_running(old), "it still serves the download");

    gate.open();
    let answer = download.await.unwrap();
    assert_eq!(answer.body.len(), 400_000, "the download was not cut");
    until("the old process ends", PATIENCE, || async { (!is_running(old)).then_some(()) }).await;
    stage.origin.put("/upgraded", Resource::new("last").key("story-u"));
    let purge = stage.purge_key("story-u").await;
    assert_eq!(purge["complete"], true, "by the new process alone: {purge}");
    stage.expect_everywhere("/upgraded", "last").await;

    // Later stories want a process that ends with the system.
    stage.system.kill("pop-b").await;
    stage.system.start_again("pop-b").await;
    stage.expect_everywhere("/upgraded", "last").await;
}
