//! A node gets its identity once, keeps it over restarts and renews it before it runs out.

use std::{fs, time::Duration};

use super::{
    fake::{FakeControl, within},
    node::{TestNode, settings},
};

#[tokio::test]
async fn a_node_enrols_once_and_comes_back_with_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    assert_eq!(control.identity_given().await, "enrol");
    drop(control.config_lane().await);
    drop(node);

    let mut config = settings(&control, folder.path());
    config.enrolment_token_file = None;
    let _restarted = TestNode::try_start(&config).unwrap();
    let mut lane = control.config_lane().await;
    lane.send(control.release(1, "a.org")).await;
    assert_eq!(lane.answer().await, (1, Ok(())), "without any token");
}

#[tokio::test]
async fn an_identity_is_renewed_at_half_life() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::with_identity_life(Duration::from_secs(60)).await;
    let node = TestNode::start(&control, folder.path());
    assert_eq!(control.identity_given().await, "enrol");
    let path = settings(&control, folder.path()).state_dir.join("identity.pem");
    drop(control.config_lane().await);
    let first = fs::read(&path).unwrap();
    assert_eq!(control.identity_given().await, "renew");
    super::fake::until("the fresh identity is kept", || fs::read(&path).unwrap() != first).await;
    drop(node);
}

#[tokio::test]
async fn a_server_of_another_authority_learns_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let (control, other) = (FakeControl::start().await, FakeControl::start().await);
    let mut config = settings(&control, folder.path());
    config.ca = other.write_ca(folder.path());
    let _node = TestNode::try_start(&config).unwrap();
    let given = tokio::time::timeout(Duration::from_millis(500), control.identity_given()).await;
    assert!(given.is_err(), "the node spoke to a server that it cannot know");

    // The same settings with the right authority work, so it was the authority that mattered.
    let folder = tempfile::tempdir().unwrap();
    let _node = TestNode::start(&control, folder.path());
    assert_eq!(within(control.identity_given()).await, "enrol");
}
