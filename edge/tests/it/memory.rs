//! What clients can make a node hold, with a real process: the account exactly, its memory loosely.

use futures::future::join_all;

use crate::harness::{FakeOrigin, PROTOCOLS, client::Ask, noise, process::Running, reply};

/// Each with an object of its own, more of them than the cache holds.
const ARMY: usize = 60;
const BYTES: usize = 2_000_000;
const BUFFERS: f64 = 8.0 * 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_army_of_slow_readers_over_all_protocols_stays_within_what_the_settings_allow() {
    let origin = FakeOrigin::start().await;
    for n in 0..ARMY {
        let object = reply(200).body(noise(BYTES)).cache_control("max-age=600");
        origin.on(&format!("/{n}"), object);
    }
    origin.on("/small", reply(200).body("small").cache_control("max-age=600"));
    let node = Running::with(&origin, "buffers = \"8MiB\"\n").await;
    node.expect_metric("edge_memory_limit_bytes{limit=\"worst_case\"}", 1.0).await;
    let worst = node.metric("edge_memory_limit_bytes{limit=\"worst_case\"}").await;

    // They ask, take the beginning, and nothing more.
    let asks = (0..ARMY).map(|n| {
        let client = node.client.clone();
        async move {
            let mut open = client.open(PROTOCOLS[n % 3], &Ask::get(&format!("/{n}"))).await.ok()?;
            let _ = open.read().await;
            Some(open)
        }
    });
    let army: Vec<_> = join_all(asks).await.into_iter().flatten().collect();
    let served = army.iter().filter(|open| open.status == 200).count();
    let busy = army.iter().filter(|open| open.status == 503).count();
    assert!(
        served > 0 && served < ARMY,
        "{served} of {ARMY} were served, {busy} told to come again"
    );
    let taken = node.metric("edge_client_buffer_bytes").await;
    assert!(taken <= BUFFERS, "{taken}");
    let resident = node.resident_max();
    assert!((resident as f64) < worst, "{resident} bytes, and {worst} are the most");

    drop(army);
    let waiting = async {
        while node.metric("edge_client_buffer_bytes").await > BUFFERS / 4.0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, waiting).await.expect("the room comes back");
    for protocol in PROTOCOLS {
        let answer = node.client.ask(protocol, &Ask::get("/small")).await.unwrap();
        answer.expect_status(200).expect_body("small");
    }
}
