//! Releases are put to use whole, kept on disk, and refused with a reason while the one before serves on; one that
//! does harm is taken back without asking anybody.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use rcgen::KeyPair;
use tidegate_edge::control::Config;

use super::{
    fake::{ConfigLane, FakeControl, until, wire},
    node::{TestNode, settings},
    publisher::{Content, Publisher},
};

/// Takes a release and expects that it is used.
async fn apply(lane: &mut ConfigLane, release: wire::Release) {
    let version = release.header.as_ref().unwrap().version;
    lane.send(release).await;
    assert_eq!(lane.answer().await, (version, Ok(())));
}

#[tokio::test]
async fn a_node_restarts_with_the_last_good_release_while_the_control_plane_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    assert_eq!((lane.hello.generation, lane.hello.sealing_key.len()), (0, 32));
    for version in [3, 4] {
        apply(&mut lane, control.release(version, "a.org")).await;
    }
    assert_eq!(node.generation(), Some(4));

    let config = settings(&control, folder.path());
    control.vanish();
    let restarted = TestNode::try_start(&config).unwrap();
    assert_eq!(restarted.generation(), Some(4), "before anything is asked of the network");
    let mode = fs::metadata(config.state_dir.join("release")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Whoever writes to the disk is believed as little as whoever speaks on the network.
    let mut content = fs::read(config.state_dir.join("release")).unwrap();
    let at = content.windows(5).position(|part| part == b"a.org").unwrap();
    content[at] = b'b';
    for damaged in [content, b"damaged".to_vec()] {
        fs::write(config.state_dir.join("release"), damaged).unwrap();
        let with_damage = TestNode::try_start(&config).unwrap();
        assert_eq!(with_damage.generation(), Some(3), "the one before it was kept, too");
    }
}

#[tokio::test]
async fn a_wrong_release_is_refused_with_the_reason_and_the_one_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    apply(&mut lane, control.release(5, "a.org")).await;

    let good = control.release(6, "b.org");
    let content = || Content::new(6, "b.org");
    let made = |content: Content| control.publisher.whole(&content);
    let changed = |change: &dyn Fn(&mut wire::Release)| {
        let mut release = good.clone();
        change(&mut release);
        release
    };
    let stranger = Publisher::new(&KeyPair::generate().unwrap(), 9);
    let large = format!(r#"{{"zone":"{}"}}"#, "x".repeat(2 << 20));
    for (wrong, reason) in [
        (changed(&|release| release.signature[3] ^= 1), "signature"),
        (changed(&|release| release.header.as_mut().unwrap().version = 60), "signature"),
        (changed(&|release| release.header.as_mut().unwrap().expires_unix_ms = 1), "signature"),
        (changed(&|release| release.header = None), "without header"),
        (changed(&|release| release.key.as_mut().unwrap().number = 2), "authority"),
        (stranger.whole(&content()), "authority"),
        (control.release(5, "c.org"), "not above 5"),
        (control.release(4, "c.org"), "not above 5"),
        (made(Content { expires_unix_ms: 1000, ..content() }), "expired"),
        (made(Content { build_min: "999.0.0", ..content() }), "needs build"),
        (changed(&|release| release.put[0].hash[0] ^= 1), "another hash"),
        (changed(&|release| release.put[0].key = "flag/x".to_owned()), "not the key"),
        (changed(&|release| release.put.iter_mut().for_each(|i| i.body = None)), "body"),
        (made(content().with("property/demo", "{}")), "not the spec"),
        (made(content().with("pop/fra", r#"{"role":"moon"}"#)), "not the spec"),
        (made(content().with("property/p", r#"{"hosts":["b.org"],"origins":["m"]}"#)), "origin/m"),
        (made(content().with("property/p", r#"{"hosts":["B.org"],"origins":[]}"#)), "origins"),
        (made(content().with("dns_zone/z", &large)), "at most"),
    ] {
        lane.send(wrong).await;
        let (_, answer) = lane.answer().await;
        let error = answer.expect_err(reason);
        assert!(error.contains(reason), "{error:?} should say {reason:?}");
        assert_eq!(node.generation(), Some(5));
    }
    let certificate = r#"{"names":["b.org"],"chain_pem":"-----BEGIN CERTIFICATE-----","key":"k"}"#;
    let keyed = content().with("secret/k", r#"{"salt":"","value":"-----BEGIN PRIVATE KEY-----"}"#);
    lane.send(made(keyed.with("certificate/c", certificate))).await;
    let (_, answer) = lane.answer().await;
    let error = answer.expect_err("no certificate");
    assert!(error.starts_with("the check says"), "the process that judges refuses it: {error}");
    apply(&mut lane, good).await;
}

#[tokio::test]
async fn a_difference_is_put_on_top_and_one_that_does_not_fit_asks_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    let first = Content::new(1, "a.org").with("origin/o", r#"{"authority":"a:1"}"#);
    let second = Content::new(2, "b.org");
    let third = Content::new(3, "c.org");
    apply(&mut lane, control.publisher.whole(&first)).await;
    apply(&mut lane, control.publisher.difference(&first, &second)).await;
    let host = |node: &TestNode| {
        let policy = node.policy.current().unwrap();
        policy.snapshot.properties[0].hosts[0].clone()
    };
    assert_eq!(host(&node), "b.org");
    for misfit in [
        control.publisher.difference(&first, &third),
        wire::Release { put: Vec::new(), ..control.publisher.difference(&second, &third) },
    ] {
        lane.send(misfit).await;
        assert!(lane.wants_whole().await, "the root tells");
        assert_eq!(host(&node), "b.org");
    }
    apply(&mut lane, control.publisher.whole(&third)).await;
    assert_eq!(host(&node), "c.org");
}

#[tokio::test]
async fn a_release_key_that_was_rotated_away_is_not_believed_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    apply(&mut lane, control.release(1, "a.org")).await;
    let newer = control.rotated(2);
    apply(&mut lane, newer.whole(&Content::new(2, "b.org"))).await;
    lane.send(control.release(3, "c.org")).await;
    let (_, answer) = lane.answer().await;
    assert!(answer.unwrap_err().contains("release key 1 was replaced by 2"));
    assert_eq!(node.generation(), Some(2));
}

#[tokio::test]
async fn a_node_tells_which_release_it_uses_and_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let _node = TestNode::start(&control, folder.path());
    let mut lane = control.config_lane().await;
    let content = Content::new(5, "a.org");
    apply(&mut lane, control.publisher.whole(&content)).await;
    apply(&mut lane, control.publisher.whole(&content)).await;
    let health = lane.health().await;
    assert_eq!((health.ready, health.hits_total, health.started_unix_ms), (true, 5, 1000));
    drop(lane);

    let lane = control.config_lane().await;
    assert_eq!((lane.hello.generation, lane.hello.digest.clone()), (5, content.root()));
    assert_eq!(lane.hello.floor, 5);
}

#[tokio::test]
async fn a_release_that_makes_requests_fail_is_taken_back_and_never_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let config =
        Config { probation: Duration::from_secs(3600), ..settings(&control, folder.path()) };
    let node = TestNode::try_start(&config).unwrap();
    let mut lane = control.config_lane().await;
    apply(&mut lane, control.release(1, "a.org")).await;
    apply(&mut lane, control.release(2, "b.org")).await;
    assert_eq!(node.generation(), Some(2));
    node.exchanged(1000, 500);
    let (version, answer) = lane.answer().await;
    let error = answer.unwrap_err();
    assert!(version == 2 && error.contains("500 of 1000 requests failed"), "{version} {error}");
    assert_eq!(node.generation(), Some(1), "without a word from the control plane");
    lane.send(control.release(2, "b.org")).await;
    assert!(lane.answer().await.1.unwrap_err().contains("not above 2"));
    drop(lane);
    let mut lane = control.config_lane().await;
    assert_eq!((lane.hello.generation, lane.hello.floor), (1, 2));
    assert_eq!(lane.answer().await.0, 2, "told again to whoever did not hear it");
    apply(&mut lane, control.release(3, "c.org")).await;
    let restarted = TestNode::try_start(&config).unwrap();
    assert_eq!(restarted.generation(), Some(3));
}

#[tokio::test]
async fn a_release_under_which_a_node_crashes_again_and_again_is_given_up_without_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let config = settings(&control, folder.path());
    let first = TestNode::try_start(&config).unwrap();
    let mut lane = control.config_lane().await;
    apply(&mut lane, control.release(1, "a.org")).await;
    apply(&mut lane, control.release(2, "b.org")).await;
    let away = Config { endpoints: vec!["https://localhost:1".to_owned()], ..config.clone() };
    // None of these ends in order; to the next one each has crashed.
    let crashed: Vec<_> = (0..2).map(|_| TestNode::try_start(&away).unwrap()).collect();
    assert!(crashed.iter().all(|node| node.generation() == Some(2)), "twice may be chance");
    let back = TestNode::try_start(&away).unwrap();
    assert_eq!(back.generation(), Some(1), "the one before, and nobody was asked");
    drop((first, lane, crashed, back));

    let told = TestNode::try_start(&config).unwrap();
    assert_eq!(told.generation(), Some(1), "it stays given up");
    let mut lane = loop {
        // The first node's tasks go on in this process; theirs is another hello.
        let lane = control.config_lane().await;
        if lane.hello.generation == 1 {
            break lane;
        }
    };
    let (version, answer) = lane.answer().await;
    assert!(version == 2 && answer.unwrap_err().contains("crashed 3 times"));
    apply(&mut lane, control.release(3, "c.org")).await;
    until("the next one is in use", || told.generation() == Some(3)).await;
}
