//! A storm of purges over real processes that are killed in the middle: nothing that was acknowledged is lost.
//!
//! The points are drawn from a seed, `TIDEGATE_SEED` or one that is printed.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::json;

use crate::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_purge_is_lost_when_everything_is_killed_at_some_point() {
    let seed =
        env::var("TIDEGATE_SEED").map_or_else(|_| 20_261, |text| text.parse().expect("a number"));
    println!("TIDEGATE_SEED={seed}");
    let mut chance: u64 = seed;
    let rig = Arc::new(Rig::new());
    let mut control = rig.control().await;
    let tokens = rig.prepare(2).await;
    let witness = rig.agent(0, &tokens[0], "witness");
    let mut victim = rig.agent(1, &tokens[1], "victim");
    rig.settled(2).await;

    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (rig, acknowledged) = (Arc::clone(&rig), Arc::clone(&acknowledged));
            let is_over = Arc::clone(&is_over);
            tokio::spawn(async move {
                while !is_over.load(Relaxed) {
                    let order = json!({"kind": "key", "key": "benchmark"});
                    let Some(answer) = rig.call("POST", "/v1/purges", &order).await else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    let id = answer["id"].as_str().expect("an id").to_owned();
                    let offset = answer["offset"].as_u64().expect("an offset");
                    let before = acknowledged.lock().expect("no panic").insert(offset, id);
                    assert_eq!(before, None, "one offset for two purges");
                }
            })
        })
        .collect();

    let count = || acknowledged.lock().expect("no panic").len() as u64;
    for round in 0..4 {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let aim = count() + 20 + (chance >> 33) % 200;
        until("more purges", async || (count() >= aim).then_some(())).await;
        if round % 2 == 0 {
            drop(control);
            control = rig.control().await;
        } else {
            drop(victim);
            victim = rig.agent(1, &tokens[1], "victim");
        }
    }
    is_over.store(true, Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }
    rig.settled(2).await;

    let acknowledged = acknowledged.lock().expect("no panic").clone();
    let log = rig.log().await;
    for (offset, id) in &acknowledged {
        assert_eq!(log.get(offset), Some(id), "offset {offset} after all kills");
    }
    let seen = rig.end(witness, "witness");
    let offsets: Vec<_> = seen.keys().copied().collect();
    let all: Vec<_> = log.keys().copied().collect();
    assert_eq!(offsets, all, "the PoP that lived applied each purge of the log once, in order");
    drop((control, victim));
}
