//! Everything behind the PoPs is gone; viewers do not notice.

use tidegate_system_test::{
    playback::fetch_all,
    wait::{PATIENCE, until},
};

use super::stage::Stage;

pub(crate) async fn pops_go_on_without_control_plane_and_origin(stage: &mut Stage) {
    let path = stage.hls_path();
    let mut expected = Vec::new();
    for (authority, viewer) in stage.system.everywhere() {
        expected = fetch_all(&viewer, &authority, &path).await;
    }
    stage.system.kill("control").await;
    stage.system.kill("origin").await;
    expect_all(stage, &expected).await;
    for pop in ["pop-a", "pop-b"] {
        until("the node knows that it is cut off", PATIENCE, || async {
            (stage.system.metric(pop, "edge_lease_certain").await == 0.0).then_some(())
        })
        .await;
    }
    expect_all(stage, &expected).await;
    for (authority, viewer) in stage.system.everywhere() {
        let manifest = viewer.get(&authority, &path).await;
        let status = manifest.header("cache-status");
        assert!(status.contains("ttl=-"), "a stale answer says that it is: {status:?}");
    }

    // A node that restarts has an empty cache and nobody to ask for a configuration: its last snapshot leads it to
    // the shield, which still has everything.
    stage.system.kill("pop-a").await;
    stage.system.start_again("pop-a").await;
    expect_all(stage, &expected).await;
}

pub(crate) async fn a_crash_of_everything_loses_nothing(stage: &mut Stage) {
    let pops = |stage: &Stage| {
        stage.system.ready.pops.iter().map(|pop| pop.authority.clone()).collect::<Vec<_>>()
    };
    let (pops_before, origin) = (pops(stage), stage.system.ready.origin.clone());
    stage.system.crash_and_start_again().await;
    assert_eq!(pops(stage), pops_before, "the URLs are what they were");
    assert_eq!(stage.system.ready.origin, origin);
    let view = stage.system.uploader().video(&stage.video).await;
    assert_eq!(view["state"], "complete", "{view}");
    for (authority, viewer) in stage.system.everywhere() {
        let fetched = fetch_all(&viewer, &authority, &stage.hls_path()).await;
        assert!(fetched.len() >= 8, "too few resources: {}", fetched.len());
    }
}

async fn expect_all(stage: &Stage, expected: &[(String, tidegate_system_test::viewer::Answer)]) {
    for (authority, viewer) in stage.system.everywhere() {
        let fetched = fetch_all(&viewer, &authority, &stage.hls_path()).await;
        assert_eq!(fetched.len(), expected.len());
        for ((path, answer), (_, before)) in fetched.iter().zip(expected) {
            assert!(answer.body == before.body, "{viewer:?} https://{authority}{path} differs");
        }
    }
}
