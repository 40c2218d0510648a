//! How PoPs were: a verdict that changes is written down once, with its reason, and outlives the process.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidegate_contract::telemetry::{Report, SelfTest};

use crate::harness::{Person, TelemetryLane, TestControl, until};

/// Lets time go by, in steps that leave no report too old to count.
async fn wait(control: &TestControl, lane: &TelemetryLane, seconds: u64) {
    for _ in 0..seconds / 4 {
        control.clock.advance(Duration::from_secs(4));
        until(async || {
            lane.report(&report(true)).await;
            let ams = control.call("GET", "/v1/health/ams", Value::Null).await.expect(200).body;
            (ams["nodes"][0]["heard_unix_ms"] == unix_ms(control)).then_some(())
        })
        .await;
    }
}

fn unix_ms(control: &TestControl) -> u64 {
    let now = control.clock.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    now.as_millis() as u64
}

fn report(is_good: bool) -> Report {
    Report { self_test: SelfTest { is_good, ..SelfTest::default() }, ..Report::default() }
}

/// Says how the node is until a change to this verdict is written down, and gives all changes back.
async fn written(control: &TestControl, lane: &TelemetryLane, is_good: bool, to: &str) -> Value {
    until(async || {
        lane.report(&report(is_good)).await;
        let path = "/v1/health-history?pop=ams";
        let items = control.call("GET", path, Value::Null).await.expect(200).body["items"].clone();
        let newest = items.as_array().expect("a list").last().cloned();
        newest.is_some_and(|newest| newest["to"] == to).then_some(items)
    })
    .await
}

#[tokio::test]
async fn verdicts_are_known_after_a_restart_and_a_restart_is_no_change() {
    let control = TestControl::start_at(SystemTime::now()).await;
    let began = unix_ms(&control);
    control.edge("ams").await;
    let node = control.node("ams", "n1").await;
    let lane = node.telemetry_lane().await.expect("enrolled");
    let items = written(&control, &lane, true, "good").await;
    let change = |at: u64, from: &str, to: &str, why: &str| json!({"pop": "ams", "at_unix_ms": began + at * 1000, "from": from, "to": to, "why": why});
    let first = change(0, "unknown", "good", "serves");
    assert_eq!(items, json!([first]));

    // Every node has had the time to report.
    wait(&control, &lane, 20).await;
    let items = written(&control, &lane, false, "bad").await;
    let second = change(20, "good", "bad", "every node fails its own test");
    assert_eq!(items, json!([first, second]));
    drop(lane);

    let control = control.restart().await;
    let node = node.at(&control);
    let lane = node.telemetry_lane().await.expect("enrolled");
    let items = written(&control, &lane, true, "good").await;
    let third = change(20, "bad", "good", "serves");
    assert_eq!(items, json!([first, second, third]));

    let ann = Person::with_token(&control, &control.admin).await;
    let table = ann.run(&["health", "history"]).await.expect(0).stdout;
    let words: Vec<_> = table.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(words[1..], ["ams", "unknown", "good", "serves"], "{table}");
    let later = control.clock.now() - Duration::from_secs(10);
    let later = humantime::format_rfc3339_seconds(later).to_string();
    let words = ["health", "history", "ams", "--since", &later, "-o", "json"];
    assert_eq!(ann.run(&words).await.expect(0).json(), json!([second, third]));
    let newest = ann.run(&["health", "history", "--limit", "1", "-o", "json"]).await.expect(0);
    assert_eq!(newest.json(), json!([third]));
    control.edge("fra").await;
    assert_eq!(
        ann.run(&["health", "history", "fra", "-o", "json"]).await.expect(0).json(),
        json!([])
    );
    ann.run(&["health", "history", "nowhere"]).await.expect(3);
    ann.run(&["health", "history", "--since", "yesterday"]).await.expect(2);
}
