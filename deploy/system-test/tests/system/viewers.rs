//! Many viewers at once cost upstream no more than one, and none of them has to wait for another.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tidegate_system_test::{
    fake_origin::Resource,
    viewer::{PROTOCOLS, Protocol},
    wait::{PATIENCE, until, within},
};

use super::stage::{Stage, story_authority};

pub(crate) async fn fifty_viewers_cost_one_fetch_per_tier(stage: &mut Stage) {
    let (resource, gate) = Resource::of_bytes(1 << 20).gated();
    stage.origin.put("/popular", resource);
    let mut fills_before = Vec::new();
    for pop in ["pop-a", "pop-b", "shield-1"] {
        fills_before.push((pop, stage.system.metric(pop, FILLS).await));
    }

    let edges: Vec<_> = stage.system.edges().map(|pop| story_authority(&pop.authority)).collect();
    let viewers: Vec<_> =
        (0..50).map(|n| stage.system.viewer(PROTOCOLS[n % PROTOCOLS.len()])).collect();
    let watching: Vec<_> = viewers
        .iter()
        .enumerate()
        .map(|(n, viewer)| {
            let (viewer, authority) = (viewer.clone(), edges[n / 25].clone());
            tokio::spawn(async move { viewer.get(&authority, "/popular").await })
        })
        .collect();
    until("all fifty have joined", PATIENCE, || async {
        viewers.iter().all(|viewer| viewer.has_begun()).then_some(())
    })
    .await;
    gate.open();

    let expected = Resource::of_bytes(1 << 20).bytes();
    for answer in within("all fifty end", PATIENCE, join_all(watching)).await {
        assert!(answer.unwrap().body == expected);
    }
    assert_eq!(stage.origin.fetches("/popular"), 1);
    for (pop, before) in fills_before {
        let fills = stage.system.metric(pop, FILLS).await - before;
        assert_eq!(fills, 1.0, "fills at {pop}");
    }
}

pub(crate) async fn a_slow_client_that_comes_first_slows_nobody(stage: &mut Stage) {
    let edge = story_authority(&stage.system.pop("pop-a").authority);
    for slow in [Protocol::Http2, Protocol::Http3] {
        for fast in PROTOCOLS {
            let path = format!("/cold-{slow:?}-{fast:?}");
            stage.origin.put(&path, Resource::of_bytes(COLD_BYTES));
            let slow_viewer = stage.system.viewer(slow);
            let slow_one = tokio::spawn({
                let (viewer, edge, path) = (slow_viewer.clone(), edge.clone(), path.clone());
                async move { viewer.get_slowly(&edge, &path, SLOW_BYTES_PER_SECOND).await }
            });
            until("the slow one was first", PATIENCE, || async {
                slow_viewer.has_begun().then_some(())
            })
            .await;

            let began = Instant::now();
            let answer = stage.system.viewer(fast).get(&edge, &path).await;
            let took = began.elapsed();
            assert_eq!(answer.body.len(), COLD_BYTES);
            assert!(took < FAST_TIME_MAX, "{fast:?} behind a slow {slow:?} took {took:?}");
            assert!(!slow_one.is_finished(), "the slow one was not slow");
            assert_eq!(stage.origin.fetches(&path), 1, "both were served from one fetch");
            slow_one.abort();
        }
    }
}

const FILLS: &str = "edge_fills_total";
const COLD_BYTES: usize = 8 << 20;
/// At this rate the cold object takes more than a minute.
const SLOW_BYTES_PER_SECOND: u64 = 100_000;
/// Less than that, and more than a fast one takes on a busy machine.
const FAST_TIME_MAX: Duration = Duration::from_secs(60);
