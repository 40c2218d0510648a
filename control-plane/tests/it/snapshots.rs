//! What PoPs are sent: each makes its own of it, generations only grow, refusals are seen.

use serde_json::{Value, json};

use crate::harness::{TestControl, until};

#[tokio::test]
async fn an_edge_gets_properties_and_shields_and_a_shield_no_shields() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let shield = json!({"role": "shield", "shield_upstream": {"authority": "10.0.0.1:443"}});
    control.call("PUT", "/v1/pops/shield-1", shield).await.expect(201);
    control.property("demo", "*").await.expect(201);

    let mut edge = control.node("fra", "n1").await.config_lane(0, b"").await.expect("enrolled");
    let snapshot = edge.release().await.config;
    assert_eq!(snapshot.pop.as_str(), "fra");
    assert_eq!(snapshot.properties[0].id.as_str(), "demo");
    assert_eq!(snapshot.shields[0].upstream.authority, "10.0.0.1:443");

    let mut shield =
        control.node("shield-1", "n1").await.config_lane(0, b"").await.expect("enrolled");
    let other = shield.release().await.config;
    assert!(other.shields.is_empty());
    assert_eq!(other.tier_key, snapshot.tier_key, "they know each other's requests");
}

#[tokio::test]
async fn a_change_is_pushed_and_the_generation_grows_across_a_restart() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    let first = lane.applied().await;
    control.property("demo", "*").await.expect(201);
    let second = lane.applied().await;
    assert!(second.generation > first.generation);
    assert_eq!(second.config.properties.len(), 1);

    let control = control.restart().await;
    let node = node.at(&control);
    let mut same = node.config_lane(second.generation, &second.digest).await.expect("enrolled");
    control.property("demo", "a.org").await.expect(200);
    same.holds(&lane);
    let third = same.release().await;
    assert_eq!(third.config.properties[0].hosts, ["a.org"], "the old one was not sent again");
    assert_eq!(third.message.put.len(), 1, "only what is different");
    assert!(third.generation > second.generation);
}

#[tokio::test]
async fn a_change_to_what_already_is_pushes_nothing() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let first = control.property("demo", "*").await.expect(201);
    let again = control.property("demo", "*").await.expect(200);
    assert_eq!(again.body["changed"], false);
    assert_eq!(again.body["generation"], first.body["generation"]);
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_reason_until_a_later_snapshot_is_accepted() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let mut lane = control.node("fra", "n1").await.config_lane(0, b"").await.expect("enrolled");
    let first = lane.release().await;
    lane.ack(first.generation, Some("cache too small")).await;
    let node = until(async || {
        let node = control.node_view("fra").await;
        (!node["nack"].is_null()).then_some(node)
    })
    .await;
    let expected = json!({"generation": first.generation, "error": "cache too small"});
    assert_eq!((&node["nack"], &node["generation"]), (&expected, &json!(0)));

    control.property("demo", "*").await.expect(201);
    let second = lane.release().await;
    lane.ack(second.generation, None).await;
    until(async || {
        let node = control.node_view("fra").await;
        (node["generation"] == second.generation && node["nack"].is_null()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_from_before_a_restore_gets_a_generation_above_its_own() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(40, b"of another state").await.expect("enrolled");
    assert_eq!(lane.release().await.generation, 41);
    let mut greedy = node.config_lane(u64::MAX, b"").await.expect("enrolled");
    assert_eq!(greedy.end().await.code(), tonic::Code::FailedPrecondition);
    let view = control.call("GET", "/v1/pops/fra", Value::Null).await.expect(200);
    assert_eq!(view.body["generation"], 41, "no node uses the numbers up");
}

#[tokio::test]
async fn a_pop_is_what_its_nodes_say() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let state = async || {
        let answer = control.call("GET", "/v1/pops/fra", Value::Null).await.expect(200);
        answer.body["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state().await, "empty");
    let node = control.node("fra", "n1").await;
    assert_eq!(state().await, "down", "never heard of");
    let purges = node.purge_lane(None).await.expect("enrolled");
    assert_eq!(state().await, "uncertain", "one lane is not enough");
    let config = node.config_lane(0, b"").await.expect("enrolled");
    assert_eq!(state().await, "not_ready", "it did not say how it is");
    for (ready, draining, expected) in
        [(true, false, "up"), (false, false, "not_ready"), (true, true, "draining")]
    {
        config.health(ready, draining).await;
        until(async || (state().await == expected).then_some(())).await;
    }
    drop((purges, config));
    until(async || (state().await == "uncertain").then_some(())).await;
}
