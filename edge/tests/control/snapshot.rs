//! Snapshots are put to use whole, kept on disk, and refused with a reason while the one before serves on.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    fake::FakeControl,
    node::{TestNode, settings, snapshot},
};

#[tokio::test]
async fn a_node_restarts_with_the_last_good_snapshot_while_the_control_plane_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    assert_eq!(lane.hello.generation, 0);
    for generation in [3, 4] {
        lane.send(snapshot(generation, "a.org")).await;
        assert_eq!(lane.answer().await, (generation, Ok(())));
    }
    assert_eq!(node.generation(), Some(4));

    let config = settings(&control, folder.path());
    control.vanish();
    let restarted = TestNode::try_start(&config).unwrap();
    assert_eq!(restarted.generation(), Some(4), "before anything is asked of the network");
    let mode = fs::metadata(config.state_dir.join("snapshot")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds the tier key");

    fs::write(config.state_dir.join("snapshot"), "damaged").unwrap();
    let with_damage = TestNode::try_start(&config).unwrap();
    assert_eq!(with_damage.generation(), Some(3), "the one before it was kept, too");
}

#[tokio::test]
async fn a_wrong_snapshot_is_refused_with_the_reason_and_the_one_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    lane.send(snapshot(5, "a.org")).await;
    assert_eq!(lane.answer().await, (5, Ok(())));

    let good = snapshot(6, "b.org");
    let text = String::from_utf8(good.body.clone()).unwrap();
    let with_body = |body: String| {
        let digest = tidegate_contract::snapshot::digest_of(body.as_bytes()).to_vec();
        super::fake::wire::Snapshot { generation: 6, digest, body: body.into_bytes() }
    };
    let other_digest = super::fake::wire::Snapshot { digest: vec![0; 32], ..good.clone() };
    for (wrong, reason) in [
        (other_digest, "hash"),
        (with_body(text.replace("\"fra\"", "\"lax\"")), "PoP lax"),
        (with_body(text.replace("b.org", "B.org")), "host name"),
        (with_body(text.replace("127.0.0.1:1", "127.0.0.1")), "host:port"),
        (with_body("{}".to_owned()), "not a snapshot"),
        (with_body(text.replace("\"generation\":6", "\"generation\":7")), "generation 6"),
        (snapshot(5, "c.org"), "not above"),
        (snapshot(4, "c.org"), "not above"),
    ] {
        lane.send(wrong).await;
        let (_, answer) = lane.answer().await;
        let error = answer.expect_err(reason);
        assert!(error.contains(reason), "{error:?} should say {reason:?}");
        assert_eq!(node.generation(), Some(5));
    }
    lane.send(good).await;
    assert_eq!(lane.answer().await, (6, Ok(())));
}

#[tokio::test]
async fn a_node_tells_which_snapshot_it_uses_and_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let _node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    let sent = snapshot(5, "a.org");
    lane.send(sent.clone()).await;
    assert_eq!(lane.answer().await, (5, Ok(())));
    lane.send(sent.clone()).await;
    assert_eq!(lane.answer().await, (5, Ok(())), "the same once more is no error");
    let health = lane.health().await;
    assert_eq!((health.ready, health.hits_total, health.started_unix_ms), (true, 5, 1000));
    drop(lane);

    let lane = control.config_lane().await;
    assert_eq!((lane.hello.generation, lane.hello.digest.clone()), (5, sent.digest));
}
