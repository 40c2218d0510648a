//! The HTTP API: who may do what, and what it says when something is wrong.

use serde_json::{Value, json};
use tidegate_control::token::Scope;

use crate::harness::{Answer, TestControl};

#[tokio::test]
async fn nothing_is_answered_without_a_known_token() {
    let control = TestControl::start().await;
    for path in ["/v1/pops", "/v1/properties", "/v1/purges", "/v1/purges/x"] {
        let answer = Answer::of(control.request("GET", path)).await.expect(401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        control.call_as("tga_0000_0000", "GET", path, Value::Null).await.expect(401);
        let mut changed = control.admin.clone();
        changed.pop();
        control.call_as(&changed, "GET", path, Value::Null).await.expect(401);
    }
}

#[tokio::test]
async fn a_token_may_do_what_its_scopes_say() {
    let control = TestControl::start().await;
    let purge = control.token(&[Scope::Purge]).await;
    let read = control.token(&[Scope::Read]).await;
    let order = || json!({"kind": "key", "key": "k"});
    let made = control.call_as(&purge, "POST", "/v1/purges", order()).await.expect(202);
    let path = format!("/v1/purges/{}", made.body["id"].as_str().expect("an id"));
    for token in [&purge, &read, &control.admin] {
        control.call_as(token, "GET", &path, Value::Null).await.expect(200);
    }
    control.call_as(&read, "POST", "/v1/purges", order()).await.expect(403);
    control.call_as(&read, "GET", "/v1/pops", Value::Null).await.expect(200);
    control.call_as(&purge, "GET", "/v1/pops", Value::Null).await.expect(403);
    for token in [&purge, &read] {
        let pop = json!({"role": "edge"});
        control.call_as(token, "PUT", "/v1/pops/fra", pop).await.expect(403);
        control.call_as(token, "DELETE", "/v1/properties/a", Value::Null).await.expect(403);
    }
}

#[tokio::test]
async fn errors_are_problems_that_name_the_fault() {
    let control = TestControl::start().await;
    control.call("GET", "/v2/pops", Value::Null).await.expect(404);
    control.call("GET", "/v1/pops/nobody", Value::Null).await.expect(404);
    control.call("GET", "/v1/properties/..%2fetc", Value::Null).await.expect(404);
    control.call("GET", "/v1/purges/nothing", Value::Null).await.expect(404);
    control.call("PATCH", "/v1/pops", Value::Null).await.expect(405);
    let request = control.request("POST", "/v1/purges").bearer_auth(&control.admin).body("{");
    Answer::of(request).await.expect(400);
    let misspelt = json!({"kind": "all", "sfot": true});
    let answer = control.call("POST", "/v1/purges", misspelt).await.expect(422);
    assert!(answer.body["detail"].as_str().expect("text").contains("sfot"));
    let too_long = json!({"kind": "all", "wait": "all", "deadline": "1h"});
    control.call("POST", "/v1/purges", too_long).await.expect(422);
    let of_edge = json!({"role": "edge", "shield_upstream": {"authority": "a:1"}});
    control.call("PUT", "/v1/pops/fra", of_edge).await.expect(422);
    let no_port = json!({"role": "shield", "shield_upstream": {"authority": "a"}});
    control.call("PUT", "/v1/pops/fra", no_port).await.expect(422);
    let large = "x".repeat(2 << 20);
    let request = control.request("PUT", "/v1/properties/a").bearer_auth(&control.admin);
    Answer::of(request.body(large)).await.expect(413);
}

#[tokio::test]
async fn purges_too_often_are_refused_with_the_time_to_wait() {
    let control = TestControl::start_with(|config| {
        config.api.purge_rate.per_second = 0.1;
        config.api.purge_rate.burst = 2.0;
    })
    .await;
    let other = control.token(&[Scope::Purge]).await;
    let order = || json!({"kind": "key", "key": "k"});
    for _ in 0..2 {
        control.call("POST", "/v1/purges", order()).await.expect(202);
    }
    let answer = control.call("POST", "/v1/purges", order()).await.expect(429);
    let wait = answer.headers["retry-after"].to_str().expect("text").parse::<u64>();
    assert!((1..=10).contains(&wait.expect("seconds")));
    control.call_as(&other, "POST", "/v1/purges", order()).await.expect(202);
}

#[tokio::test]
async fn a_repeated_order_with_an_idempotency_key_is_one_purge() {
    let control = TestControl::start().await;
    let send = async |token: &str, key: &str, order: Value| {
        let request = control.request("POST", "/v1/purges").bearer_auth(token).json(&order);
        Answer::of(request.header("idempotency-key", key)).await
    };
    let order = json!({"kind": "key", "key": "a"});
    let first = send(&control.admin, "k1", order.clone()).await.expect(202);
    let again = send(&control.admin, "k1", order.clone()).await.expect(202);
    assert_eq!(first.body, again.body);
    send(&control.admin, "k1", json!({"kind": "key", "key": "b"})).await.expect(422);
    let other = control.token(&[Scope::Purge]).await;
    let of_other = send(&other, "k1", order).await.expect(202);
    assert_ne!(first.body["id"], of_other.body["id"], "keys belong to their token");
    send(&control.admin, &"k".repeat(200), json!({"kind": "all"})).await.expect(422);
}

#[tokio::test]
async fn the_log_reads_in_order_page_by_page() {
    let control = TestControl::start().await;
    for n in 0..5 {
        control.purge(&format!("k{n}")).await;
    }
    let page = control.call("GET", "/v1/purges?after=1&limit=3", Value::Null).await.expect(200);
    assert_eq!((&page.body["stream"], &page.body["head"]), (&json!("main"), &json!(5)));
    let keys: Vec<_> = page.body["purges"].as_array().expect("a list").iter().collect();
    let keys: Vec<_> = keys.iter().map(|purge| purge["order"]["key"].clone()).collect();
    assert_eq!(keys, ["k1", "k2", "k3"]);
    control.call("GET", "/v1/purges?after=9", Value::Null).await.expect(422);
    control.call("GET", "/v1/purges?after=x", Value::Null).await.expect(400);
}

#[tokio::test]
async fn a_property_is_changed_only_by_who_saw_its_last_change() {
    let control = TestControl::start().await;
    control.property("demo", "a.org").await.expect(201);
    let seen = control.call("GET", "/v1/properties/demo", Value::Null).await.expect(200);
    let tag = seen.headers["etag"].to_str().expect("text").to_owned();
    let put = async |tag: &str, host: &str| {
        let body = json!({"id": "demo", "hosts": [host], "origins": [{"authority": "a:1"}]});
        let request = control.request("PUT", "/v1/properties/demo").bearer_auth(&control.admin);
        Answer::of(request.header("if-match", tag).json(&body)).await
    };
    put(&tag, "b.org").await.expect(200);
    put(&tag, "c.org").await.expect(412);
    put("nonsense", "c.org").await.expect(400);
    let now = control.call("GET", "/v1/properties/demo", Value::Null).await.expect(200);
    assert_eq!(now.body["property"]["hosts"], json!(["b.org"]));
}

#[tokio::test]
async fn a_property_that_pops_would_refuse_is_refused_and_a_dry_run_changes_nothing() {
    let control = TestControl::start().await;
    control.property("a", "a.org").await.expect(201);
    control.property("b", "a.org").await.expect(422);
    control.property("b", "A.org").await.expect(422);
    let body = json!({"id": "c", "hosts": ["c.org"], "origins": [{"authority": "c:1"}]});
    control.call("PUT", "/v1/properties/b", body.clone()).await.expect(422);
    let dry = control.call("PUT", "/v1/properties/c?dry_run=true", body).await.expect(200);
    assert_eq!((&dry.body["created"], &dry.body["dry_run"]), (&json!(true), &json!(true)));
    let list = control.call("GET", "/v1/properties", Value::Null).await.expect(200);
    assert_eq!(list.body["properties"].as_array().expect("a list").len(), 1);
    control.call("DELETE", "/v1/properties/a", Value::Null).await.expect(200);
    control.call("DELETE", "/v1/properties/a", Value::Null).await.expect(404);
}
