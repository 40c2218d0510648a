//! Purges with a body that replaces: durable, delivered with the purge, replayed, and refused when they make no sense.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_control::wire::Replacement;

use crate::harness::{Answer, Program, TestControl, property, until};

fn order(path: &str, body: &[u8]) -> Value {
    json!({
        "kind": "url", "host": "a.org", "path": path,
        "replace": {
            "headers": {
                "Content-Type": "application/vnd.apple.mpegurl",
                "Cache-Control": "max-age=2",
            },
            "body": STANDARD.encode(body),
        },
    })
}

fn expect_new(new: Option<&Replacement>, body: &[u8]) {
    let new = new.expect("a body comes with the purge");
    assert_eq!(&new.body[..], body);
    assert_eq!(new.headers["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(new.headers["cache-control"], "max-age=2");
}

#[tokio::test]
async fn a_body_reaches_nodes_with_its_purge_and_those_that_were_away_by_replay() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    control.property("demo", "a.org").await.expect(201);
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(Some(0)).await.expect("enrolled");
    let body = b"#EXTM3U\n\0\xff";
    let ordered = control.call("POST", "/v1/purges", order("/v.m3u8", body)).await.expect(202);
    let arrived = lane.purges().await;
    assert_eq!(arrived[0].offset, 1);
    expect_new(arrived[0].replacement.as_ref(), body);
    control.purge("plain").await;
    assert_eq!(lane.purges().await[0].replacement, None);
    drop(lane);

    let path = format!("/v1/purges/{}", ordered.body["id"].as_str().expect("an id"));
    let shown = control.call("GET", &path, Value::Null).await.expect(200).body;
    assert_eq!(shown["replacement"]["bytes"], body.len());
    assert_eq!(shown["replacement"]["headers"]["cache-control"], "max-age=2");
    let list = control.call("GET", "/v1/purges", Value::Null).await.expect(200).body;
    assert_eq!(list["purges"][0]["replacement"], shown["replacement"]);
    assert!(list["purges"][1]["replacement"].is_null());

    let control = control.restart().await;
    let mut lane = node.at(&control).purge_lane(Some(0)).await.expect("still enrolled");
    let replayed = lane.purges().await;
    expect_new(replayed[0].replacement.as_ref(), body);
    assert_eq!((replayed[1].offset, replayed[1].replacement.clone()), (2, None));
}

#[tokio::test]
async fn a_node_that_was_away_for_many_bodies_gets_the_newest_and_the_purges_of_all() {
    let control = TestControl::start_with(|config| {
        config.purge.keep_replacements_max = 2;
        config.purge.tail_entries_max = 1;
    })
    .await;
    control.edge("fra").await;
    control.property("demo", "*").await.expect(201);
    for n in 0..4 {
        let order = order(&format!("/{n}.m3u8"), format!("body {n}").as_bytes());
        control.call("POST", "/v1/purges", order).await.expect(202);
    }
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(Some(0)).await.expect("enrolled");
    let mut arrived = Vec::new();
    while arrived.len() < 4 {
        arrived.extend(lane.purges().await);
    }
    assert_eq!(arrived[0].replacement, None);
    assert_eq!(arrived[1].replacement, None);
    expect_new(arrived[2].replacement.as_ref(), b"body 2");
    expect_new(arrived[3].replacement.as_ref(), b"body 3");
}

#[tokio::test]
async fn many_large_bodies_are_replayed_in_messages_that_a_node_takes() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    control.property("demo", "a.org").await.expect(201);
    // More than the 8 MiB that a node takes at once, and the 4 MiB that this one does.
    let body = vec![7; 256 * 1024];
    for n in 0..40 {
        let order = order(&format!("/{n}.m3u8"), &body);
        control.call("POST", "/v1/purges", order).await.expect(202);
    }
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(Some(0)).await.expect("enrolled");
    let mut offset = 0;
    while offset < 40 {
        for purge in lane.purges().await {
            offset += 1;
            assert_eq!(purge.offset, offset);
            assert_eq!(purge.replacement.expect("there").body.len(), body.len());
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_nothing_is_purged() {
    let control = TestControl::start().await;
    control.property("demo", "a.org").await.expect(201);
    let mut off = property("off", "off.org");
    off["cache"] = json!({"enabled": false});
    control.call("PUT", "/v1/properties/off", off).await.expect(201);
    let changed = |change: fn(&mut Value)| {
        let mut order = order("/v.m3u8", b"x");
        change(&mut order);
        order
    };
    for (order, why) in [
        (changed(|order| order["soft"] = true.into()), "hard"),
        (changed(|order| order["host"] = "b.org".into()), "no property serves host b.org"),
        (changed(|order| order["replace"]["headers"] = json!({})), "content-type"),
        (
            changed(|order| {
                order["replace"]["headers"] = json!({"content-type": "text/plain"});
            }),
            "cache-control",
        ),
        (changed(|order| order["host"] = "off.org".into()), "property off keeps nothing"),
        (changed(|order| order["replace"]["headers"]["vary"] = "accept".into()), "vary"),
        (changed(|order| order["replace"]["body"] = "*".into()), "body"),
        (changed(|order| order["replace"]["status"] = 200.into()), "status"),
        (order("/v.m3u8", &vec![0; 256 * 1024 + 1]), "262144"),
        (json!({"kind": "key", "key": "k", "replace": order("/", b"")["replace"]}), "replace"),
    ] {
        let answer = control.call("POST", "/v1/purges", order).await.expect(422);
        let detail = answer.body["detail"].as_str().expect("text");
        assert!(detail.contains(why), "{detail:?} should say {why:?}");
    }
    let list = control.call("GET", "/v1/purges", Value::Null).await.expect(200);
    assert_eq!(list.body["head"], 0);
}

#[tokio::test]
async fn bodies_too_often_are_refused_while_plain_purges_go_on() {
    let control = TestControl::start_with(|config| {
        config.api.replace_rate.per_second = 0.01;
        config.api.replace_rate.burst = 1.0;
    })
    .await;
    control.property("demo", "a.org").await.expect(201);
    control.call("POST", "/v1/purges", order("/a.m3u8", b"x")).await.expect(202);
    let refused = control.call("POST", "/v1/purges", order("/a.m3u8", b"y")).await.expect(429);
    assert!(refused.headers.contains_key("retry-after"));
    control.purge("plain").await;
}

#[tokio::test]
async fn a_repeated_order_is_one_purge_and_another_body_is_another_order() {
    let control = TestControl::start().await;
    control.property("demo", "a.org").await.expect(201);
    let send = async |body: &[u8]| {
        let request = control.request("POST", "/v1/purges").bearer_auth(&control.admin);
        let request = request.header("idempotency-key", "k").json(&order("/a.m3u8", body));
        Answer::of(request).await
    };
    let first = send(b"one").await.expect(202);
    assert_eq!(send(b"one").await.expect(202).body, first.body);
    let other = send(b"two").await.expect(422);
    assert_eq!(other.body["type"], "/problem/idempotency-key-reused");
}

#[tokio::test]
async fn a_body_that_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    tidegate_chassis::init_crypto();
    let words = ["token", "create", "--scope", "admin"];
    let token = Program::command(folder.path(), &words).await.expect(0).stdout.trim().to_owned();
    let ca = Program::command(folder.path(), &["ca", "show"]).await.expect(0).stdout;
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("pem");
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
    let call = async |api: u16, method: &str, path: &str, body: Value| {
        let url = format!("https://localhost:{api}{path}");
        let request = http.request(method.parse().expect("a method"), url).bearer_auth(&token);
        Answer::of(if body.is_null() { request } else { request.json(&body) }).await
    };
    let control = Program::serve(folder.path()).await;
    let property = json!({"id": "p", "hosts": ["a.org"], "origins": [{"authority": "a:1"}]});
    call(control.api, "PUT", "/v1/properties/p", property).await.expect(201);
    let ordered = call(control.api, "POST", "/v1/purges", order("/a.m3u8", b"new")).await;
    let path = format!("/v1/purges/{}", ordered.expect(202).body["id"].as_str().expect("an id"));
    control.kill().await;

    let control = Program::serve(folder.path()).await;
    let shown = until(async || {
        let answer = call(control.api, "GET", &path, Value::Null).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!(shown["replacement"]["bytes"], 3);
    control.kill().await;
}
