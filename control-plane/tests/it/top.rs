//! What clients ask for most: told by nodes, added over PoPs, shown with how many told it.

use std::time::SystemTime;

use serde_json::{Value, json};
use tidegate_contract::{
    demand::{Asked, Demand},
    id::PropertyId,
};
use tonic::Code;

use crate::harness::{Person, TestControl, until};

fn asked(property: &str, path: &str, requests: u64, bytes: u64) -> Asked {
    let property = PropertyId::parse(property).expect("good");
    Asked { property, path: path.to_owned(), requests, bytes }
}

#[tokio::test]
async fn operators_see_what_is_asked_for_most_in_a_pop_and_in_all() {
    let control = TestControl::start_at(SystemTime::now()).await;
    let mut lanes = Vec::new();
    for pop in ["ams", "fra"] {
        control.edge(pop).await;
        let node = control.node(pop, "n1").await;
        lanes.push(node.telemetry_lane().await.expect("enrolled"));
    }
    let ann = Person::with_token(&control, &control.admin).await;
    let none = ann.run(&["top", "services", "--once"]).await.expect(0);
    assert!(none.stderr.contains("told by 0 of 2 nodes"), "{none:?}");

    let tells = |properties, assets| Demand { period_ms: 10_000, properties, assets }.to_bytes();
    let properties = vec![asked("film", "", 20, 0), asked("live", "", 10, 5_000_000)];
    let assets = vec![asked("film", "/f.m3u8", 20, 0), asked("live", "/l.m4s", 10, 5_000_000)];
    lanes[0].demand(tells(properties, assets)).await;
    let properties = vec![asked("live", "", 30, 5_000_000)];
    lanes[1].demand(tells(properties, vec![asked("live", "/l.m4s", 30, 5_000_000)])).await;
    until(async || {
        let top = control.call("GET", "/v1/top?of=assets", Value::Null).await.expect(200).body;
        (top["nodes"] == 2).then_some(())
    })
    .await;
    let services = ann.run(&["top", "services", "--once"]).await.expect(0);
    assert!(services.stderr.contains("told by 2 of 2 nodes"), "{services:?}");
    let rows: Vec<Vec<_>> =
        services.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            ["WHAT", "REQUESTS/S", "MBIT/S", "POPS"],
            ["live", "4.0", "8.0", "2"],
            ["film", "2.0", "0.0", "1"]
        ]
    );
    let words = ["top", "assets", "--pop", "ams", "-o", "json"];
    let by_requests = ann.run(&words).await.expect(0).json();
    assert_eq!((&by_requests["nodes"], &by_requests["nodes_all"]), (&json!(1), &json!(1)));
    assert_eq!(by_requests["items"][0]["path"], "/f.m3u8");
    let by_bytes = ann.run(&[&words[..], &["--by", "bytes"]].concat()).await.expect(0).json();
    assert_eq!(
        by_bytes["items"][0],
        json!({"property": "live", "path": "/l.m4s", "requests_per_s": 1.0, "mbps": 4.0, "pops": 1})
    );
    ann.run(&["top", "assets", "--pop", "nowhere", "--once"]).await.expect(3);
    let pops = ann.run(&["top", "--once"]).await.expect(0);
    assert!(pops.stdout.contains("PURGE LAG") && pops.stdout.contains("fra"), "{pops:?}");

    // What shows a query was not written by a node of ours: the lane ends, what was told stays.
    lanes[1].demand(tells(Vec::new(), vec![asked("live", "/l?token=x", 9, 9)])).await;
    assert_eq!(lanes[1].end().await.code(), Code::InvalidArgument);
    let top = control.call("GET", "/v1/top?of=assets", Value::Null).await.expect(200).body;
    assert_eq!(top["items"].as_array().map(Vec::len), Some(2));
    // A minute later it is over.
    control.clock.advance(std::time::Duration::from_secs(61));
    let top = control.call("GET", "/v1/top?of=services", Value::Null).await.expect(200).body;
    assert_eq!(
        top,
        json!({"nodes": 0, "nodes_all": 2, "low_by_requests_per_s": 0.0, "low_by_mbps": 0.0, "items": []})
    );
}
