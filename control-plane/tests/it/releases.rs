//! Releases: drafts that do not mix, roll-outs that go on, stop and turn back, secrets that nobody between reads.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_control::config::Config;

use crate::harness::{ConfigLane, TestControl, until};

/// Roll-outs that do not wait, with a canary that is known.
pub(crate) fn quick(config: &mut Config) {
    let rollout = &mut config.rollout;
    rollout.canary = Some("fra".parse().expect("good"));
    rollout.canary_bake = Duration::ZERO;
    rollout.few_bake = Duration::ZERO;
    rollout.many_bake = Duration::ZERO;
    rollout.ack_timeout = Duration::from_secs(300);
    rollout.look_every = Duration::from_millis(20);
}

fn origin(name: &str, authority: &str) -> Value {
    json!({"kind": "origin", "name": name, "spec": {"authority": authority}})
}

async fn draft(control: &TestControl, puts: Value) -> String {
    let body = json!({"title": "t", "reason": "r", "puts": puts});
    let answer = control.call("POST", "/v1/changes", body).await.expect(201);
    answer.body["id"].as_str().expect("an id").to_owned()
}

async fn publish(control: &TestControl, id: &str, stage: &str, status: u16) -> Value {
    let path = format!("/v1/changes/{id}/publish");
    let body = json!({"stage": stage, "reason": "because"});
    control.call("POST", &path, body).await.expect(status).body
}

async fn status(control: &TestControl) -> Value {
    control.call("GET", "/v1/releases/status", Value::Null).await.expect(200).body
}

/// PoPs `ams`, `fra` and `nyc`, each with a node that runs the newest release.
async fn three_pops(control: &TestControl) -> [ConfigLane; 3] {
    let pops = ["ams", "fra", "nyc"];
    for pop in pops {
        control.edge(pop).await;
    }
    let mut lanes = Vec::new();
    for pop in pops {
        let node = control.node(pop, "n1").await;
        let mut lane = node.config_lane(0, b"").await.expect("enrolled");
        lane.applied().await;
        lanes.push(lane);
    }
    lanes.try_into().unwrap_or_else(|_| panic!("three"))
}

#[tokio::test]
async fn two_operators_never_publish_each_others_half_done_work() {
    let control = TestControl::start().await;
    let first = draft(&control, json!([origin("a", "a:1"), origin("shared", "a:1")])).await;
    let second = draft(&control, json!([origin("b", "b:1"), origin("shared", "b:1")])).await;
    let third = draft(&control, json!([origin("c", "c:1")])).await;

    publish(&control, &first, "fast", 200).await;
    let path = format!("/v1/resources/{}", "origins");
    let names = async || {
        let list = control.call("GET", &path, Value::Null).await.expect(200).body;
        let names = list["items"].as_array().expect("a list").iter();
        names.map(|item| item["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["a", "shared"], "nothing of the drafts of others");

    let refused = publish(&control, &second, "fast", 412).await;
    assert!(refused["detail"].as_str().expect("text").contains("origin/shared"), "{refused}");
    let shown = control.call("GET", &format!("/v1/changes/{second}"), Value::Null).await;
    assert!(shown.expect(200).body["conflict"].is_string(), "seen before anybody publishes");
    publish(&control, &third, "fast", 200).await;
    assert_eq!(names().await, ["a", "c", "shared"]);
    publish(&control, &third, "fast", 412).await;
    control.call("POST", &format!("/v1/changes/{second}/abandon"), Value::Null).await.expect(200);
    publish(&control, &second, "fast", 412).await;
}

#[tokio::test]
async fn a_staged_release_goes_from_the_canary_to_all_and_waits_while_it_is_paused() {
    let control = TestControl::start_with(quick).await;
    let [mut ams, mut fra, mut nyc] = three_pops(&control).await;
    let id = draft(&control, json!([origin("main", "a:1")])).await;
    let version = publish(&control, &id, "staged", 200).await["version"].as_u64().expect("one");
    let canary = fra.release().await;
    assert_eq!(canary.generation, version, "the named canary is first");
    let during = status(&control).await;
    assert_eq!(during["rollout"]["pops"], json!(["fra"]), "{during}");
    assert!(during["rollout"]["next"].as_str().expect("text").contains("fra/n1"), "{during}");

    let other = draft(&control, json!([origin("other", "a:1")])).await;
    let refused = publish(&control, &other, "fast", 409).await;
    assert!(refused["detail"].as_str().expect("text").contains("going out"), "{refused}");

    control.call("POST", "/v1/releases/pause", Value::Null).await.expect(200);
    fra.ack(version, None).await;
    until(async || {
        let next = status(&control).await["rollout"]["next"].clone();
        next.as_str().is_some_and(|next| next.contains("resume")).then_some(())
    })
    .await;
    control.call("POST", "/v1/releases/resume", Value::Null).await.expect(200);
    for lane in [&mut ams, &mut nyc] {
        assert_eq!(lane.applied().await.generation, version);
    }
    until(async || status(&control).await["rollout"].is_null().then_some(())).await;
    publish(&control, &other, "fast", 200).await;
}

#[tokio::test]
async fn a_refusal_by_the_canary_turns_everybody_back_and_the_others_never_saw_it() {
    let control = TestControl::start_with(quick).await;
    let [mut ams, mut fra, _nyc] = three_pops(&control).await;
    let id = draft(&control, json!([origin("main", "a:1")])).await;
    let version = publish(&control, &id, "staged", 200).await["version"].as_u64().expect("one");
    fra.release().await;
    fra.ack(version, Some("cache too small")).await;
    let back = ams.release().await;
    assert_eq!(back.generation, version + 1, "a new number for the old content");
    assert!(back.message.put.is_empty() && back.message.del.is_empty(), "nothing is different");
    let path = format!("/v1/releases/{}", version + 1);
    let release = control.call("GET", &path, Value::Null).await.expect(200).body;
    assert_eq!(release["repeats"], version - 1);
    let reason = release["reason"].as_str().expect("text");
    assert!(reason.contains("fra/n1") && reason.contains("cache too small"), "{reason}");
    assert!(status(&control).await["rollout"].is_null());
    let gone = control.call("GET", "/v1/resources/origin/main", Value::Null).await;
    gone.expect(404);
}

#[tokio::test]
async fn a_canary_waits_for_somebody_and_another_process_goes_on_where_this_one_stopped() {
    let control = TestControl::start_with(quick).await;
    let lanes = three_pops(&control).await;
    drop(lanes);
    let id = draft(&control, json!([origin("main", "a:1")])).await;
    let version = publish(&control, &id, "canary", 200).await["version"].clone();
    let control = control.restart().await;
    let during = status(&control).await;
    assert_eq!((&during["rollout"]["target"], &during["version"]), (&version, &version));
    assert_eq!(during["rollout"]["stage"], "canary");
    for stage in ["5%", "25%"] {
        control.call("POST", "/v1/releases/pause", Value::Null).await.expect(200);
        control.call("POST", "/v1/releases/promote", Value::Null).await.expect(200);
        assert_eq!(status(&control).await["rollout"]["stage"], stage);
    }
    control.call("POST", "/v1/releases/promote", Value::Null).await.expect(200);
    assert!(status(&control).await["rollout"].is_null());
    control.call("POST", "/v1/releases/promote", Value::Null).await.expect(409);
}

#[tokio::test]
async fn an_older_release_comes_back_under_a_new_number_and_what_differs_is_told() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    let before = lane.applied().await;
    control.property("demo", "a.org").await.expect(201);
    let with = lane.applied().await;
    let path = format!("/v1/releases/{}/diff?against={}", with.generation, before.generation);
    let diff = control.call("GET", &path, Value::Null).await.expect(200).body;
    assert_eq!(diff["items"][0]["act"], "create");
    assert_eq!(diff["items"][0]["after"]["hosts"], json!(["a.org"]));

    let body = json!({"to": before.generation, "reason": "it was wrong"});
    control.call("POST", "/v1/releases/rollback", body).await.expect(200);
    let back = lane.applied().await;
    assert_eq!(back.generation, with.generation + 1);
    assert_eq!(back.digest, before.digest, "the old content, and so the old root");
    assert_eq!(back.message.del, ["property/demo"]);
    let missing = json!({"to": 9999, "reason": "r"});
    control.call("POST", "/v1/releases/rollback", missing).await.expect(404);
}

#[tokio::test]
async fn a_node_for_which_a_difference_does_not_fit_gets_the_whole() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    lane.applied().await;
    control.property("demo", "a.org").await.expect(201);
    let part = lane.release().await;
    assert!(!part.message.from_root.is_empty());
    lane.wants_whole(part.generation, part.message.nonce).await;
    let whole = lane.release().await;
    assert_eq!((whole.generation, whole.digest), (part.generation, part.digest));
    assert!(whole.message.from_root.is_empty() && whole.message.put.len() > 1);
}

#[tokio::test]
async fn a_secret_is_never_shown_and_never_lies_or_travels_in_clear() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let hidden = "-----BEGIN PRIVATE KEY-----hidden-words-here";
    let put = json!({"spec": {"value": hidden}});
    control.call("PUT", "/v1/resources/secret/cert-key", put.clone()).await.expect(201);
    let again = control.call("PUT", "/v1/resources/secret/cert-key", put).await.expect(200);
    assert_eq!(again.body["changed"], false);
    let chain = "-----BEGIN CERTIFICATE-----";
    let spec = json!({"names": ["a.org"], "chain_pem": chain, "key": "cert-key"});
    let mut lane = control.node("fra", "n1").await.config_lane(0, b"").await.expect("enrolled");
    let before = lane.applied().await;
    let item = |key: &str| before.message.put.iter().find(|item| item.key == key).expect("there");
    assert!(item("secret/cert-key").sealed.is_none(), "no cache has a use for it yet");
    control.call("PUT", "/v1/resources/certificate/a", json!({ "spec": spec })).await.expect(201);
    let after = lane.applied().await;
    assert_eq!(after.config.certificates[0].key_pem.reveal(), hidden);

    let shown = control.call("GET", "/v1/resources/secrets", Value::Null).await.expect(200);
    assert!(!shown.body.to_string().contains("hidden-words"));
    for entry in std::fs::read_dir(control.data_dir()).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).unwrap_or_default();
        assert!(!bytes.windows(12).any(|part| part == b"hidden-words"));
    }
}

#[tokio::test]
async fn what_no_pop_would_run_is_not_released_and_validation_keeps_nothing() {
    let control = TestControl::start().await;
    let puts = json!([{"kind": "property", "name": "p",
                       "spec": {"hosts": ["a.org"], "origins": ["gone"]}}]);
    let body = json!({"title": "t", "reason": "r", "puts": puts});
    for path in ["/v1/validate", "/v1/changes"] {
        let refused = control.call("POST", path, body.clone()).await.expect(422).body;
        assert!(refused["detail"].as_str().expect("text").contains("origin/gone"), "{refused}");
    }
    let good = json!({"puts": [origin("main", "a:1")]});
    let steps = control.call("POST", "/v1/validate", good).await.expect(200).body;
    assert_eq!(steps["items"][0]["act"], "create");
    control.call("GET", "/v1/resources/origin/main", Value::Null).await.expect(404);
    control.call("GET", "/v1/resources/flag/x", Value::Null).await.expect(404);
    let list = control.call("GET", "/v1/changes", Value::Null).await.expect(200).body;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn a_roll_back_takes_nodes_along_with_their_pop_and_a_pop_that_comes_back_can_be_enrolled() {
    let control = TestControl::start().await;
    let version = async || {
        let status = control.call("GET", "/v1/releases/status", Value::Null).await.expect(200);
        status.body["version"].as_u64().expect("a version")
    };
    let back = async |to: u64| {
        let body = json!({"to": to, "reason": "a story"});
        control.call("POST", "/v1/releases/rollback", body).await.expect(200);
    };
    control.edge("fra").await;
    let without = version().await;
    control.edge("ams").await;
    let with = version().await;
    let node = control.node("ams", "n1").await;
    node.purge_lane(None).await.expect("enrolled");
    let tokens = "/v1/pops/ams/enrolment-tokens";

    back(without).await;
    control.call("POST", tokens, Value::Null).await.expect(404);
    until(async || node.purge_lane(None).await.err()).await;
    back(with).await;
    control.call("POST", tokens, Value::Null).await.expect(201);
    assert!(node.purge_lane(None).await.is_err(), "it is to be enrolled anew");
    let again = control.node("ams", "n1").await;
    again.purge_lane(None).await.expect("enrolled");
}
