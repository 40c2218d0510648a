//! Purges reach the table in order, once, and whatever was lost on the way makes mutable objects suspect.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, SystemTime},
};

use tidegate_chassis::Clock;
use tidegate_edge::cache::purge::{self, PurgeTable, Verdict};

use super::{
    fake::{FakeControl, PurgeLane, until},
    node::{TestNode, settings},
};

const HARD_A: &str = r#"{"kind":"key","key":"a"}"#;
const SOFT_B: &str = r#"{"kind":"key","key":"b","soft":true}"#;

#[tokio::test]
async fn a_node_resumes_where_it_stood_and_applies_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());

    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::new(), "an empty cache starts at the head");
    lane.heartbeat(6).await;
    lane.acknowledged(6).await;
    let born = node.purges.seq();
    lane.purge(7, HARD_A).await;
    lane.acknowledged(7).await;
    assert_eq!(node.verdict("a", born), Verdict::Hard);
    assert!(node.is_certain());
    drop(lane);

    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::from([("main".to_owned(), 7)]));
    let seq = node.purges.seq();
    lane.purge(7, HARD_A).await;
    lane.purge(8, SOFT_B).await;
    lane.acknowledged(8).await;
    assert_eq!(node.purges.seq(), seq + 1, "offset 7 came again and was ignored");
    assert!(matches!(node.verdict("b", seq), Verdict::Soft { .. }));
}

#[tokio::test]
async fn a_node_that_was_killed_asks_for_what_it_missed_and_trusts_its_disk_only_then() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let [state, disk, state_after, disk_after] = folders.each_ref().map(|folder| folder.path());
    let table = |folder: &Path| {
        PurgeTable::open(folder, Clock::system(), purge::Limits::default()).unwrap()
    };
    let control = FakeControl::start().await;
    let config = settings(&control, state);
    let node = TestNode::start_with_purges(&config, Clock::system(), table(disk)).unwrap();
    let mut lane = control.purge_lane().await;
    lane.heartbeat(6).await;
    lane.acknowledged(6).await;
    let born = node.purges.seq();
    lane.purge(7, HARD_A).await;
    lane.acknowledged(7).await;
    // What an acknowledged purge left on disk at this very moment is what a kill would leave.
    std::fs::copy(disk.join("purges.log"), disk_after.join("purges.log")).unwrap();

    let control = FakeControl::start().await;
    let config = settings(&control, state_after);
    let node = TestNode::start_with_purges(&config, Clock::system(), table(disk_after)).unwrap();
    assert_eq!(node.verdict("a", born), Verdict::Hard);
    let unchanging = || node.purges.verdict([], born, false);
    assert_eq!(unchanging(), Verdict::Suspect, "it may have been purged meanwhile");
    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::from([("main".to_owned(), 7)]));
    lane.heartbeat(8).await;
    lane.acknowledged(7).await;
    assert_eq!(unchanging(), Verdict::Suspect, "one purge is still to come");
    lane.purge(8, SOFT_B).await;
    lane.acknowledged(8).await;
    until("what is on disk is trusted", || unchanging() == Verdict::Valid).await;
    assert!(matches!(node.verdict("b", born), Verdict::Soft { .. }));
    assert_eq!(node.verdict("a", born), Verdict::Hard);
}

#[tokio::test]
async fn a_hole_in_the_stream_is_not_stepped_over() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());

    let mut lane = control.purge_lane().await;
    lane.heartbeat(1).await;
    lane.acknowledged(1).await;
    let seq = node.purges.seq();
    lane.purge(3, HARD_A).await;
    lane.given_up().await;

    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::from([("main".to_owned(), 1)]));
    assert_eq!(node.purges.seq(), seq, "nothing of the broken stream was applied");
    lane.purge(2, HARD_A).await;
    lane.purge(3, HARD_A).await;
    lane.acknowledged(3).await;
    assert_eq!(node.purges.seq(), seq + 2);
}

#[tokio::test]
async fn what_was_trimmed_away_makes_everything_mutable_suspect() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());

    let mut lane = control.purge_lane().await;
    lane.heartbeat(1).await;
    lane.acknowledged(1).await;
    let born = node.purges.seq();
    assert_eq!(node.verdict("x", born), Verdict::Valid);
    lane.trimmed(900).await;
    lane.acknowledged(900).await;
    assert_eq!(node.verdict("x", born), Verdict::Suspect);

    let restored = node.purges.seq();
    drop(lane);
    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::from([("main".to_owned(), 900)]));
    lane.heartbeat(5).await;
    lane.trimmed(5).await;
    lane.acknowledged(5).await;
    assert_eq!(node.verdict("x", restored), Verdict::Suspect, "the log itself went back");
}

#[tokio::test]
async fn two_endpoints_are_two_ways_for_every_purge() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let mut config = settings(&control, folder.path());
    let port = control.address.port();
    config.endpoints.push(format!("https://127.0.0.1:{port}"));
    config.server_name = Some("localhost".to_owned());
    let node = TestNode::try_start(&config).unwrap();

    let (mut one, mut other) = (control.purge_lane().await, control.purge_lane().await);
    let mut numbers = [one.hello.subscription, other.hello.subscription];
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    one.heartbeat(0).await;
    one.acknowledged(0).await;
    other.heartbeat(0).await;
    other.acknowledged(0).await;
    let seq = node.purges.seq();
    other.purge(1, HARD_A).await;
    other.acknowledged(1).await;
    assert_eq!(node.purges.seq(), seq + 1);
    // The other way has said so; this one does with the next heartbeat.
    one.purge(1, HARD_A).await;
    one.heartbeat(1).await;
    one.acknowledged(1).await;
    assert_eq!(node.purges.seq(), seq + 1, "the second copy changes nothing");

    // One way breaks; the other one keeps the node certain and goes on.
    let lost = one.hello.subscription;
    drop(one);
    other.purge(2, SOFT_B).await;
    other.acknowledged(2).await;
    other.heartbeat(2).await;
    until("it is certain", || node.is_certain()).await;
    let again = control.purge_lane().await;
    assert_eq!(again.hello.subscription, lost);
    let stood = again.hello.applied["main"];
    assert!((1..=2).contains(&stood), "{stood}");
}

#[tokio::test]
async fn an_order_that_cannot_be_read_marks_everything_stale() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());

    let mut lane = control.purge_lane().await;
    lane.heartbeat(0).await;
    lane.acknowledged(0).await;
    let born = node.purges.seq();
    lane.purge(1, r#"{"kind":"prefix","prefix":"/v/"}"#).await;
    lane.acknowledged(1).await;
    assert!(matches!(node.verdict("x", born), Verdict::Soft { .. }));
}

#[tokio::test]
async fn a_node_that_hears_nothing_is_uncertain_until_it_has_caught_up() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let mut config = settings(&control, folder.path());
    config.lease = Duration::from_secs(3);
    let node = TestNode::try_start(&config).unwrap();
    assert!(!node.is_certain(), "nothing was heard yet");

    let mut lane = control.purge_lane().await;
    certain_by_heartbeats(&node, &lane, 3).await;

    // The connection stands, but nobody speaks: the node notices by itself and comes back.
    lane.given_up().await;
    until("the lease runs out", || !node.is_certain()).await;
    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::from([("main".to_owned(), 3)]));

    lane.heartbeat(5).await;
    lane.purge(4, HARD_A).await;
    lane.acknowledged(4).await;
    assert!(!node.is_certain(), "offset 5 was missed during the cut");
    lane.purge(5, HARD_A).await;
    lane.acknowledged(5).await;
    certain_by_heartbeats(&node, &lane, 5).await;
}

/// Says where the log ends as often as the node has to hear it, until the node is certain.
async fn certain_by_heartbeats(node: &TestNode, lane: &PurgeLane, head: u64) {
    let beating = async {
        loop {
            lane.heartbeat(head).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = beating => {}
        () = until("it is certain", || node.is_certain()) => {}
    }
}

#[tokio::test]
async fn a_node_that_was_stopped_does_not_believe_the_heartbeats_of_its_sleep() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let clock = Clock::manual(SystemTime::now());
    let mut config = settings(&control, folder.path());
    config.lease = Duration::from_secs(20);
    let node = TestNode::start_with(&config, clock.clone()).unwrap();

    let mut lane = control.purge_lane().await;
    lane.heartbeat(3).await;
    lane.acknowledged(3).await;
    assert!(node.is_certain());

    // To the node the next heartbeat comes at once; only the time of day tells that it slept meanwhile.
    clock.advance(Duration::from_secs(30));
    lane.heartbeat(3).await;
    lane.given_up().await;
    assert!(!node.is_certain(), "what was waiting in the socket says nothing of now");

    let mut lane = control.purge_lane().await;
    lane.heartbeat(3).await;
    lane.acknowledged(3).await;
    assert!(node.is_certain());
}

#[tokio::test]
async fn what_comes_with_a_purge_is_handed_on_once_and_what_breaks_the_rules_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let url = r#"{"kind":"url","host":"a.org","path":"/v.m3u8"}"#;
    let typed: &[(&str, &str)] = &[("content-type", "text/plain")];

    let mut lane = control.purge_lane().await;
    lane.heartbeat(0).await;
    lane.acknowledged(0).await;
    let seq = node.purges.seq();
    lane.purge_with(1, url, Some((typed, b"new"))).await;
    lane.purge_with(2, url, Some((&[], b"without a type"))).await;
    lane.purge_with(3, url, Some((&[typed[0], ("set-cookie", "a=1")], b"for one client"))).await;
    lane.acknowledged(3).await;
    assert_eq!(node.purges.seq(), seq + 3, "each of them is a purge");
    drop(lane);

    let mut lane = control.purge_lane().await;
    assert_eq!(lane.hello.applied, HashMap::from([("main".to_owned(), 3)]));
    lane.purge_with(1, url, Some((typed, b"new"))).await;
    lane.purge_with(4, url, Some((typed, b"newer"))).await;
    lane.acknowledged(4).await;
    let replaced = node.replaced.lock().unwrap().clone();
    let bodies: Vec<_> = replaced.iter().map(|(_, new, _)| new.body.as_slice()).collect();
    assert_eq!(bodies, [b"new".as_slice(), b"newer"]);
    let (order, new, made_at) = &replaced[0];
    assert_eq!(order.target.kind(), "url");
    assert_eq!(new.headers["content-type"], "text/plain");
    assert_eq!(*made_at, SystemTime::UNIX_EPOCH + Duration::from_millis(1));
}
