//! PoPs that die and come back, found out by the node itself.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use tidegate_contract::geo_feed::PopCondition;
use tidegate_geo::fleet::PopState;

use super::{
    control::FakeControl,
    node::{Settings, TestNode, id, view, view_of},
    pop::FakePop,
};

async fn started(pops: &[&FakePop], folder: &std::path::Path) -> (FakeControl, TestNode) {
    let control = FakeControl::start().await;
    let mut settings = Settings::following(&[control.url()], folder);
    settings.probe.enabled = true;
    // A machine that has other things to do answers late; it is not dead.
    settings.probe.timeout = Duration::from_secs(5);
    control.tell_fleet(&view_of(1, pops));
    let node = settings.start_quick();
    node.until_pop("10.1.2.3", "b").await;
    let looks = (pops.len() * 4) as f64;
    node.until("looks", |node| node.metric("geo_looks_total", "good") >= looks).await;
    (control, node)
}

fn state(node: &TestNode, number: usize) -> PopState {
    let world = node.state.worlds().newest_full();
    let index = world.map.fleet().index(&id(number)).expect("known");
    world.map.fleet().pops()[usize::from(index)].state
}

#[tokio::test]
async fn a_pop_that_dies_is_out_of_answers_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b, c) = (FakePop::start(1).await, FakePop::start(2).await, FakePop::start(3).await);
    let (_control, node) = started(&[&a, &b, &c], folder.path()).await;
    assert_eq!(node.addresses("10.1.2.3"), [b.ip()]);
    assert_eq!(node.dns("10.1.2.3"), [b.ip().to_string()]);
    let addr = b.addr;

    let begun = Instant::now();
    b.die().await;
    node.until("b is out", |node| node.dns("10.1.2.3") != [addr.ip().to_string()]).await;
    println!("a PoP that was killed is out of answers after {:?}", begun.elapsed());
    assert_eq!(state(&node, 1), PopState::Down);
    assert_eq!(
        (node.pop("10.0.0.1").as_deref(), node.pop("10.2.0.1").as_deref()),
        (Some("a"), Some("c"))
    );
    for subnet in 0..=255u8 {
        let client = format!("10.1.{subnet}.9");
        assert_ne!(node.addresses(&client), [addr.ip()]);
        assert_ne!(node.dns(&client), [addr.ip().to_string()]);
    }
    let explained = node.state.explain("10.1.2.3".parse().expect("an address"), node.clock.now());
    assert_eq!(explained.dead_from_here, [id(1)]);

    let _b = FakePop::start_at(addr).await;
    node.until_pop("10.1.2.3", "b").await;
    assert_eq!(state(&node, 1), PopState::Up);
}

#[tokio::test]
async fn one_that_is_sick_or_swallows_everything_is_as_good_as_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b, c) = (FakePop::start(1).await, FakePop::start(2).await, FakePop::start(3).await);
    let (_control, node) = started(&[&a, &b, &c], folder.path()).await;
    b.fall_sick();
    node.until("b is out", |node| state(node, 1) == PopState::Down).await;
    b.recover();
    node.until_pop("10.1.2.3", "b").await;
    let begun = Instant::now();
    b.fall_silent();
    node.until("b is out", |node| state(node, 1) == PopState::Down).await;
    println!("a PoP that says nothing is out of answers after {:?}", begun.elapsed());
    assert_ne!(node.pop("10.1.2.3").as_deref(), Some("b"));
}

#[tokio::test]
async fn a_node_that_sees_hardly_anybody_believes_itself_blind() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b, c) = (FakePop::start(1).await, FakePop::start(2).await, FakePop::start(3).await);
    let (_control, node) = started(&[&a, &b, &c], folder.path()).await;
    a.die().await;
    node.until("a is out", |node| state(node, 0) == PopState::Down).await;
    b.die().await;
    node.until("doubts", |node| node.state.map(node.clock.now()).looks_doubted).await;
    node.until_pop("10.1.2.3", "b").await;
    node.until_pop("10.0.2.3", "a").await;
    assert_eq!(node.pop("10.2.2.3").as_deref(), Some("c"));
}

#[tokio::test]
async fn the_only_pop_of_a_family_is_left_out_when_it_is_told_and_not_by_looks() {
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if std::net::TcpListener::bind(v6).is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (FakePop::start(1).await, FakePop::start_at(v6).await);
    let (control, node) = started(&[&a, &b], folder.path()).await;
    node.until_pop("10.0.2.3", "a").await;
    assert!(!node.state.map(node.clock.now()).looks_doubted);
    assert_eq!(
        (node.addresses("10.0.2.3"), node.addresses("10.1.2.3")),
        (vec![a.ip()], vec![b.ip()])
    );
    let told = |state| {
        let mut view = view(2, &[(a.ip(), a.addr.port()), (b.ip(), b.addr.port())]);
        view.pops[0].state = state;
        view
    };
    let (down, addr) = (told(PopCondition::Down), a.addr);
    a.die().await;
    node.until("doubts", |node| node.state.map(node.clock.now()).looks_doubted).await;
    assert_eq!(node.pop("10.0.2.3").as_deref(), Some("a"), "it may be this node that cannot see");
    assert_eq!(node.pop("10.1.2.3").as_deref(), Some("b"));
    control.tell_fleet(&down);
    node.until_pop("10.0.2.3", "b").await;

    let a = FakePop::start_at(addr).await;
    control.tell_fleet(&view_of(3, &[&a, &b]));
    node.until_pop("10.0.2.3", "a").await;
    node.until("no doubts", |node| !node.state.map(node.clock.now()).looks_doubted).await;
}
