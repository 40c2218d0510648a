//! Caches and what steers clients to them learn of a change in turns.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidegate_contract::id::PopId;
use tidegate_control::config::Config;

use crate::harness::{ConfigLane, TestControl, until};

/// Something steers, and says so.
async fn somebody_steers(control: &TestControl) {
    control.call("GET", "/v1/fleet?reader=dns&seen=0", Value::Null).await.expect(200);
}

fn steering(control: &TestControl) -> u64 {
    control.releases.steering_release().expect("the first is made at the start").version().0
}

async fn steering_has(control: &TestControl, version: u64) {
    until(async || (steering(control) == version).then_some(())).await;
}

async fn status(control: &TestControl) -> Value {
    control.call("GET", "/v1/releases/status", Value::Null).await.expect(200).body
}

/// The hosts of the next release that the node gets; it takes it into use.
async fn serves(lane: &mut ConfigLane) -> (u64, Vec<String>) {
    let taken = lane.applied().await;
    let hosts = taken.config.properties.iter().flat_map(|property| &property.hosts);
    (taken.generation, hosts.map(ToString::to_string).collect())
}

async fn start() -> (TestControl, ConfigLane) {
    let control = TestControl::start_at(SystemTime::now()).await;
    control.edge("fra").await;
    control.property("a", "a.example").await.expect(201);
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    let (version, _) = serves(&mut lane).await;
    steering_has(&control, version).await;
    somebody_steers(&control).await;
    (control, lane)
}

#[tokio::test]
async fn what_comes_is_served_before_anybody_is_sent_there() {
    let (control, mut lane) = start().await;
    let before = steering(&control);
    control.property("b", "b.example").await.expect(201);
    let taken = lane.release().await;
    assert_eq!(taken.generation, before + 1);
    // The node has it and has not said that it runs.
    until(async || (status(&control).await["version"] == before + 1).then_some(())).await;
    assert_eq!(steering(&control), before);
    lane.ack(taken.generation, None).await;
    steering_has(&control, before + 1).await;
}

#[tokio::test]
async fn what_goes_is_served_until_nobody_is_sent_there_any_more() {
    let (control, mut lane) = start().await;
    let before = steering(&control);
    control.call("DELETE", "/v1/properties/a", Value::Null).await.expect(200);
    steering_has(&control, before + 1).await;
    let now = status(&control).await;
    assert_eq!(now["rollout"]["stage"], "steering", "{now}");
    assert_eq!(now["nodes"][0]["wanted"], before, "the cache keeps it");
    let meanwhile = control.property("b", "b.example").await;
    meanwhile.expect(409);
    control.clock.advance(Duration::from_secs(61));
    assert_eq!(serves(&mut lane).await, (before + 1, Vec::new()));
    until(async || status(&control).await["rollout"].is_null().then_some(())).await;
}

#[tokio::test]
async fn where_something_comes_and_something_goes_both_stand_side_by_side_in_between() {
    let (control, mut lane) = start().await;
    let before = steering(&control);
    let spec = json!({"hosts": ["b.example"], "origins": [{"authority": "127.0.0.1:1"}]});
    let body = json!({
        "title": "t", "reason": "r",
        "puts": [{"kind": "property", "name": "b", "spec": spec}],
        "deletes": [{"kind": "property", "name": "a"}],
    });
    let drafted = control.call("POST", "/v1/changes", body).await.expect(201).body;
    let id = drafted["id"].as_str().expect("an id").to_owned();
    let shown = control.call("GET", &format!("/v1/changes/{id}"), Value::Null).await.expect(200);
    let turns = ["caches get what is added", "steering gets it", "caches get it after the TTL"];
    assert_eq!(shown.body["turns"], json!(turns));
    let body = json!({"stage": "fast", "reason": "because"});
    control.call("POST", &format!("/v1/changes/{id}/publish"), body).await.expect(200);
    let both = ["a.example".to_owned(), "b.example".to_owned()];
    assert_eq!(serves(&mut lane).await, (before + 1, both.to_vec()));
    // Behind it, by itself, what goes leaves what steers.
    steering_has(&control, before + 2).await;
    assert_eq!(status(&control).await["nodes"][0]["wanted"], before + 1);
    control.clock.advance(Duration::from_secs(61));
    assert_eq!(serves(&mut lane).await, (before + 2, vec!["b.example".to_owned()]));
}

#[tokio::test]
async fn a_node_that_does_not_answer_holds_what_comes_up_for_a_time_and_no_longer() {
    let (control, mut lane) = start().await;
    let before = steering(&control);
    control.property("b", "b.example").await.expect(201);
    assert_eq!(lane.release().await.generation, before + 1);
    assert_eq!(steering(&control), before);
    control.clock.advance(Duration::from_secs(61));
    steering_has(&control, before + 1).await;
}

#[tokio::test]
async fn a_staged_release_is_steered_by_when_the_last_cache_serves_it_too() {
    let canary = |config: &mut Config| {
        config.rollout.canary = PopId::parse("fra").ok();
    };
    let control = TestControl::start_at_with(SystemTime::now(), canary).await;
    control.edge("fra").await;
    control.edge("ams").await;
    let (fra, ams) = (control.node("fra", "n1").await, control.node("ams", "n1").await);
    let mut fra = fra.config_lane(0, b"").await.expect("enrolled");
    let mut ams = ams.config_lane(0, b"").await.expect("enrolled");
    let (before, _) = serves(&mut fra).await;
    serves(&mut ams).await;
    steering_has(&control, before).await;
    somebody_steers(&control).await;

    let spec = json!({"hosts": ["b.example"], "origins": [{"authority": "127.0.0.1:1"}]});
    let puts = json!([{"kind": "property", "name": "b", "spec": spec}]);
    let body = json!({"title": "t", "reason": "r", "puts": puts});
    let drafted = control.call("POST", "/v1/changes", body).await.expect(201).body;
    let id = drafted["id"].as_str().expect("an id").to_owned();
    let body = json!({"stage": "staged", "reason": "because"});
    control.call("POST", &format!("/v1/changes/{id}/publish"), body).await.expect(200);
    serves(&mut fra).await;
    // Longer in all than anybody waits for one node.
    for (stage, bake) in [("canary", 121), ("5%", 181), ("25%", 301)] {
        until(async || {
            let status = status(&control).await;
            let is_there = status["rollout"]["stage"] == stage;
            let it_runs =
                status["nodes"].as_array()?.iter().any(|node| node["version"] == before + 1);
            (is_there && it_runs).then_some(())
        })
        .await;
        control.clock.advance(Duration::from_secs(bake));
    }
    let taken = ams.release().await;
    assert_eq!(taken.generation, before + 1);
    until(async || status(&control).await["rollout"].is_null().then_some(())).await;
    assert_eq!(steering(&control), before, "one cache does not serve it yet");
    ams.ack(taken.generation, None).await;
    steering_has(&control, before + 1).await;
}

#[tokio::test]
async fn where_nothing_steers_a_change_reaches_everybody_at_once() {
    let control = TestControl::start_at(SystemTime::now()).await;
    control.edge("fra").await;
    control.property("a", "a.example").await.expect(201);
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    let (before, _) = serves(&mut lane).await;
    control.call("DELETE", "/v1/properties/a", Value::Null).await.expect(200);
    assert_eq!(serves(&mut lane).await, (before + 1, Vec::new()));
}
