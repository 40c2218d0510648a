//! What the control plane orders one node is carried out once, whatever happens meanwhile, and told.

use tidegate_contract::{
    node_order::{Act, NodeOrder, OrderReport, Outcome},
    telemetry::Orders,
};

use super::{
    fake::{ConfigLane, FakeControl, TelemetryLane},
    node::TestNode,
    upgrade::after,
};

const NEVER: u64 = u64::MAX;

async fn order(lane: &TelemetryLane, number: u64, act: Act, expires_unix_ms: u64) {
    let node = Some(NodeOrder { number, act, expires_unix_ms });
    lane.order(&Orders { node, ..Orders::default() }.to_bytes()).await;
}

/// What the node says of an order, once it is so far.
async fn told(lane: &mut TelemetryLane, number: u64, outcome: Outcome) -> String {
    loop {
        let Some(OrderReport { number: told, outcome: is, detail, .. }) = lane.report().await.order
        else {
            continue;
        };
        assert!(told <= number, "an order that was never given");
        if told == number && is == outcome {
            return detail;
        }
        assert!(told < number || is == Outcome::Begun, "{number}: {is:?} {detail}");
    }
}

async fn applied(control: &FakeControl, lane: &mut ConfigLane, version: u64) {
    lane.send(control.release(version, "a.org")).await;
    assert_eq!(lane.answer().await, (version, Ok(())));
}

#[tokio::test]
async fn a_node_goes_back_to_the_release_before_and_takes_only_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let (mut config, mut lane) = (control.config_lane().await, control.telemetry_lane().await);
    assert_eq!(lane.report().await.order, None);
    order(&lane, 1, Act::RollbackLocal, NEVER).await;
    let why = told(&mut lane, 1, Outcome::Refused).await;
    assert!(why.contains("no release"), "{why}");
    applied(&control, &mut config, 1).await;
    order(&lane, 2, Act::RollbackLocal, NEVER).await;
    let why = told(&mut lane, 2, Outcome::Refused).await;
    assert!(why.contains("no older release"), "{why}");
    assert_eq!(node.generation(), Some(1));

    applied(&control, &mut config, 2).await;
    order(&lane, 3, Act::RollbackLocal, NEVER).await;
    let done = told(&mut lane, 3, Outcome::Done).await;
    assert_eq!((done.as_str(), node.generation()), ("went back from version 2 to 1", Some(1)));
    let (version, answer) = config.answer().await;
    assert_eq!(version, 2);
    assert!(answer.unwrap_err().contains("taken back by an operator"));
    config.send(control.release(2, "a.org")).await;
    assert!(config.answer().await.1.unwrap_err().contains("not above 2"));

    // The same once more, too late, of a newer control plane, and an old one that comes again.
    order(&lane, 3, Act::RollbackLocal, NEVER).await;
    order(&lane, 4, Act::RollbackLocal, 1).await;
    assert!(told(&mut lane, 4, Outcome::Refused).await.contains("too late"));
    order(&lane, 5, Act::Unknown, NEVER).await;
    assert!(told(&mut lane, 5, Outcome::Refused).await.contains("does not know"));
    assert_eq!(node.generation(), Some(1));
    drop((node, lane, config));

    // Another start remembers both: what is in use, and which number was the last.
    let node = TestNode::start(&control, folder.path());
    assert_eq!(node.generation(), Some(1));
    let (mut config, mut lane) = (control.config_lane().await, control.telemetry_lane().await);
    assert!(told(&mut lane, 5, Outcome::Refused).await.contains("does not know"));
    // It tells again that it gave one up.
    assert!(config.answer().await.1.is_err());
    applied(&control, &mut config, 3).await;
    order(&lane, 5, Act::RollbackLocal, NEVER).await;
    order(&lane, 6, Act::RollbackLocal, NEVER).await;
    assert_eq!(told(&mut lane, 6, Outcome::Done).await, "went back from version 3 to 1");
}

#[tokio::test]
async fn a_restart_is_asked_for_once_and_the_new_process_says_that_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let mut node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    order(&lane, 8, Act::Restart, NEVER).await;
    let asking = node.restarts.recv().await.unwrap();
    asking.send(Err("there is no such program".to_owned())).unwrap();
    assert_eq!(told(&mut lane, 8, Outcome::Refused).await, "there is no such program");

    order(&lane, 9, Act::Restart, NEVER).await;
    let asking = node.restarts.recv().await.unwrap();
    told(&mut lane, 9, Outcome::Begun).await;
    let mut new = after(&control, folder.path(), &node);
    node.agent.let_go().await.unwrap();
    new.agent.take_over();
    asking.send(Ok(())).unwrap();
    let mut lane = control.telemetry_lane().await;
    let done = told(&mut lane, 9, Outcome::Done).await;
    assert!(done.contains("another process"), "{done}");
    // The control plane has not heard of it yet and says it again; what comes next is another one.
    order(&lane, 9, Act::Restart, NEVER).await;
    order(&lane, 10, Act::Unknown, NEVER).await;
    told(&mut lane, 10, Outcome::Refused).await;
    assert!(new.restarts.try_recv().is_err() && node.restarts.try_recv().is_err());
}

#[tokio::test]
async fn what_ended_the_process_is_not_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let mut node = TestNode::start(&control, folder.path());
    let lane = control.telemetry_lane().await;
    order(&lane, 3, Act::Restart, NEVER).await;
    // It dies while another one is built; whoever supervises it starts it anew.
    let asking = node.restarts.recv().await.unwrap();
    drop((node, lane));
    drop(asking);
    let mut node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    order(&lane, 3, Act::Restart, NEVER).await;
    told(&mut lane, 3, Outcome::Done).await;
    order(&lane, 4, Act::Unknown, NEVER).await;
    told(&mut lane, 4, Outcome::Refused).await;
    assert!(node.restarts.try_recv().is_err());
}
