//! One node, two processes: one of them talks to the control plane, and what it acknowledges holds in both.

use std::{collections::HashMap, path::Path};

use tidegate_chassis::Clock;
use tidegate_edge::cache::purge::{Limits, PurgeTable, Verdict};

use super::{
    fake::{ConfigLane, FakeControl, PurgeLane, until},
    node::{TestNode, settings},
};

const HARD_A: &str = r#"{"kind":"key","key":"a"}"#;
const HARD_B: &str = r#"{"kind":"key","key":"b"}"#;

/// The process before, with both lanes open, and generation 1.
async fn before(control: &FakeControl, folder: &Path) -> (TestNode, PurgeLane, ConfigLane) {
    let node = TestNode::start(control, folder);
    let (mut purges, mut config) = (control.purge_lane().await, control.config_lane().await);
    config.send(control.release(1, "one.org")).await;
    assert_eq!(config.answer().await, (1, Ok(())));
    purges.heartbeat(6).await;
    purges.acknowledged(6).await;
    (node, purges, config)
}

/// The process that follows, as it is built: it has said nothing yet.
pub(crate) fn after(control: &FakeControl, folder: &Path, before: &TestNode) -> TestNode {
    let line = before.agent.line_to_pass().unwrap();
    let legacy = before.purges.legacy(0, before.lease.seen());
    let purges = PurgeTable::after(legacy, Clock::system(), Limits::default());
    let config = settings(control, folder);
    TestNode::start_after(&config, Clock::system(), purges, Some(line.socket)).unwrap()
}

#[tokio::test]
async fn one_process_talks_and_what_it_acknowledges_holds_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let (old, mut purges, mut config) = before(&control, folder.path()).await;
    let new = after(&control, folder.path(), &old);
    assert_eq!(new.generation(), Some(1), "as it lies on disk");
    let born = (old.purges.seq(), new.purges.seq());

    // While the new one is built, the old one goes on.
    config.send(control.release(2, "two.org")).await;
    assert_eq!(config.answer().await, (2, Ok(())));
    purges.purge(7, HARD_A).await;
    purges.acknowledged(7).await;

    old.agent.let_go().await.unwrap();
    purges.given_up().await;
    new.agent.take_over();
    assert_eq!(new.generation(), Some(2), "before it serves anybody");
    let mut purges = control.purge_lane().await;
    assert_eq!(purges.hello.applied, HashMap::from([("main".to_owned(), 6)]));
    let mut config = control.config_lane().await;
    assert_eq!(config.hello.generation, 2);
    purges.heartbeat(7).await;
    purges.purge(7, HARD_A).await;
    purges.purge(8, HARD_B).await;
    purges.acknowledged(8).await;
    for (node, born) in [(&old, born.0), (&new, born.1)] {
        assert_eq!(
            (node.verdict("a", born), node.verdict("b", born)),
            (Verdict::Hard, Verdict::Hard)
        );
    }
    assert_eq!(old.purges.seq(), born.0 + 2, "nothing was applied twice");
    until("the lease of the old one goes on", || old.is_certain() && new.is_certain()).await;

    // The old one has ended: the new one speaks for itself.
    drop(old);
    purges.purge(9, HARD_A).await;
    purges.acknowledged(9).await;
    config.send(control.release(3, "three.org")).await;
    assert_eq!(config.answer().await, (3, Ok(())));
}

#[tokio::test]
async fn what_the_process_before_has_not_applied_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let (old, _lane, _config) = before(&control, folder.path()).await;
    let new = after(&control, folder.path(), &old);
    // It hangs: nobody listens at its end of the line.
    let born = new.purges.seq();
    new.agent.take_over();
    let purges = control.purge_lane().await;
    purges.heartbeat(7).await;
    purges.purge(7, HARD_A).await;
    until("the purge is applied", || new.verdict("a", born) == Verdict::Hard).await;
    assert_eq!(purges.all_acknowledged().await, Vec::<u64>::new());
    let mut purges = control.purge_lane().await;
    drop(old);
    purges.acknowledged(7).await;
}

#[tokio::test]
async fn a_process_that_fails_leaves_the_talking_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let (old, mut purges, _config) = before(&control, folder.path()).await;
    let new = after(&control, folder.path(), &old);
    old.agent.let_go().await.unwrap();
    purges.given_up().await;
    drop(new);
    old.agent.take_back();
    let mut purges = control.purge_lane().await;
    assert_eq!(purges.hello.applied, HashMap::from([("main".to_owned(), 6)]));
    assert_eq!(control.config_lane().await.hello.generation, 1);
    purges.heartbeat(7).await;
    purges.purge(7, HARD_A).await;
    purges.acknowledged(7).await;
}
