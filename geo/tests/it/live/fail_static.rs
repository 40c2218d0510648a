//! A control plane that is gone, a start without one, and maps that an operator holds.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use tidegate_chassis::Clock;
use tidegate_contract::geo_feed::{FeedLine, PopCondition, RoundTrips, SubnetRoundTrips};
use tidegate_geo::world::{Trust, World};

use super::{
    control::FakeControl,
    node::{Settings, id, view_of_none},
};

/// Everybody near b has b 200 ms away and c 10 ms.
fn measured(pop: usize, ms: f64) -> FeedLine {
    let subnet = "10.1.7.0/24".parse().expect("a network");
    let centroids = vec![(ms, 500.0)];
    FeedLine::RoundTrips(RoundTrips {
        pop: Some(id(pop)),
        period_ms: 10_000,
        subnets: vec![SubnetRoundTrips {
            subnet,
            centroids,
            sent_bytes: 1_000_000,
            reached: Vec::new(),
        }],
    })
}

#[tokio::test]
async fn a_start_without_a_control_plane_serves_the_last_map() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    let settings = Settings::following(&[control.url()], folder.path());
    control.tell_fleet(&view_of_none(7, 3));
    let clock = Clock::manual(SystemTime::now());
    let node = settings.start_with(clock.clone());
    node.until_pop("10.1.2.3", "b").await;
    for (pop, ms) in [(1, 200.0), (2, 10.0)] {
        control.tell(&measured(pop, ms));
    }
    // A round in ten seconds, and five percent a round.
    node.until("c", |node| {
        clock.advance(Duration::from_millis(200));
        node.pop("10.1.2.3").as_deref() == Some("c") && node.state.map(clock.now()).moved[2] == 0.0
    })
    .await;
    let before = node.state.worlds().newest_full();
    control.die().await;
    node.stop(&folder.path().join("data")).await;

    let node = settings.start_with(Clock::manual(SystemTime::now()));
    let after = node.state.worlds().newest_full();
    assert!(after.round > before.round, "rounds only grow");
    assert_eq!(after.trust, Trust::Current);
    let all = |world: &World| -> Vec<Option<String>> {
        let client = |net: u8| (0..=255).map(move |subnet| Ipv4Addr::new(10, net, subnet, 1));
        let pop = |client: Ipv4Addr| {
            // Not of one round: those who explore change with it.
            let choice = world.map.choose(IpAddr::V4(client), 0)?;
            Some(world.map.pop(choice.pop).to_string())
        };
        (0..3).flat_map(client).map(pop).collect()
    };
    assert_eq!(all(&before), all(&after));
    assert_eq!(node.pop("10.1.2.3").as_deref(), Some("c"), "what was measured is known");
}

#[tokio::test]
async fn long_silence_leaves_a_node_alone_with_its_own_pop_and_a_word_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    let mut settings = Settings::following(&[control.url()], folder.path());
    settings.own.pop = Some(id(0));
    control.tell_fleet(&view_of_none(7, 3));
    let clock = Clock::manual(SystemTime::now());
    let node = settings.start_with(clock.clone());
    node.until_pop("10.1.2.3", "b").await;
    let addr = control.addr;
    control.die().await;
    node.until("silence", |node| node.metric("geo_feed_replicas", "") == 0.0).await;

    clock.advance(Duration::from_secs(200));
    node.until("it is told how long", |node| node.metric("geo_silence_seconds", "") >= 200.0).await;
    assert_eq!((node.trust(), node.pop("10.1.2.3").as_deref()), (Trust::Current, Some("b")));
    clock.advance(Duration::from_secs(101));
    node.until_pop("10.1.2.3", "a").await;
    assert_eq!(node.trust(), Trust::Alone { own: 0, shed: 0.0 });
    let explained = node.state.explain("10.1.2.3".parse().expect("an address"), clock.now());
    assert_eq!((explained.trust, explained.explanation.reason), ("alone", Some("alone")));

    let control = FakeControl::start_at(addr).await;
    control.tell_fleet(&view_of_none(7, 3));
    node.until_pop("10.1.2.3", "b").await;
    assert_eq!(node.trust(), Trust::Current);
}

#[tokio::test]
async fn without_a_pop_of_its_own_a_node_goes_on_with_the_last_map() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    let settings = Settings::following(&[control.url()], folder.path());
    control.tell_fleet(&view_of_none(7, 3));
    let clock = Clock::manual(SystemTime::now());
    let node = settings.start_with(clock.clone());
    node.until_pop("10.1.2.3", "b").await;
    control.die().await;
    node.until("silence", |node| node.metric("geo_feed_replicas", "") == 0.0).await;
    clock.advance(Duration::from_secs(3600 * 24));
    node.until("it is told how long", |node| node.metric("geo_silence_seconds", "") > 80_000.0)
        .await;
    assert_eq!((node.trust(), node.pop("10.1.2.3").as_deref()), (Trust::Current, Some("b")));
}

#[tokio::test]
async fn a_map_that_is_held_changes_for_the_dead_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    let settings = Settings::following(&[control.url()], folder.path());
    control.tell_fleet(&view_of_none(1, 2));
    let node = settings.start();
    node.until_pop("10.2.0.1", "b").await;
    node.hold.freeze("a storm".to_owned());
    node.until("held", |node| node.trust() == Trust::Frozen).await;

    // A third PoP, and the second one down: only the latter is felt.
    let mut view = view_of_none(2, 3);
    view.pops[1].state = PopCondition::Down;
    control.tell_fleet(&view);
    node.until_pop("10.2.0.1", "a").await;
    let shown = node.state.map(node.clock.now());
    assert_eq!(
        (shown.trust, shown.frozen.as_deref(), shown.pops.len()),
        ("frozen", Some("a storm"), 2)
    );

    // The control plane holds it too: letting it go here is not enough.
    view.frozen = Some("so says the boss".to_owned());
    view.version = 3;
    control.tell_fleet(&view);
    node.until_told(3.0).await;
    node.hold.thaw();
    let boss = Some("so says the boss");
    node.until("still held", |node| node.state.map(node.clock.now()).frozen.as_deref() == boss)
        .await;
    assert_eq!((node.trust(), node.pop("10.2.0.1").as_deref()), (Trust::Frozen, Some("a")));
    view.frozen = None;
    view.version = 4;
    control.tell_fleet(&view);
    node.until_pop("10.2.0.1", "c").await;
    node.until("let go", |node| node.trust() == Trust::Current).await;
}

#[tokio::test]
async fn a_thousand_new_maps_drop_no_question() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    let settings = Settings::following(&[control.url()], folder.path());
    control.tell_fleet(&view_of_none(1, 3));
    let node = settings.start();
    node.until_pop("10.2.0.1", "c").await;
    let worlds = Arc::clone(node.state.worlds());
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..4u8)
        .map(|reader| {
            let (worlds, is_over, asked) =
                (Arc::clone(&worlds), Arc::clone(&is_over), Arc::clone(&asked));
            thread::spawn(move || {
                let mut round = 0;
                let mut subnet = reader;
                while !is_over.load(Ordering::Relaxed) {
                    subnet = subnet.wrapping_mul(5).wrapping_add(7);
                    let world = worlds.newest();
                    let client = Ipv4Addr::new(10, subnet % 3, subnet, 1);
                    let target = world.target(client.into()).expect("somebody always serves");
                    assert!(world.addresses(target, false).count() > 0);
                    assert!(world.round >= round, "nobody goes back");
                    round = world.round;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut changes = worlds.changes();
    let first = worlds.newest().round;
    for number in 0..1000u64 {
        let mut world = World::clone(&worlds.newest_full());
        world.round = first + number + 1;
        worlds.replace(world);
        if number % 100 == 0 {
            // Each reader has its turn between.
            let seen = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < seen + 100 {
                thread::yield_now();
            }
        }
    }
    assert_eq!(*changes.borrow_and_update(), first + 1000);
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no reader was left without an answer");
    }
    println!("{} questions during 1,000 new maps", asked.load(Ordering::Relaxed));
}
