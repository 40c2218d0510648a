//! Tokens, roles, the second person and the audit log, over the API.

use serde_json::{Value, json};
use tidegate_control::token::Scope;

use crate::harness::{Answer, TestControl};

/// A token that the API makes for somebody.
async fn token(control: &TestControl, label: &str, scopes: &[&str], roles: &[&str]) -> String {
    let body = json!({"label": label, "scopes": scopes, "roles": roles});
    let made = control.call("POST", "/v1/tokens", body).await.expect(201);
    made.body["token"].as_str().expect("its text").to_owned()
}

#[tokio::test]
async fn a_token_made_over_the_api_may_do_what_it_says_until_it_ends_or_is_revoked() {
    let control = TestControl::start_at(std::time::SystemTime::now()).await;
    let body = json!({"label": "ci", "scopes": ["purge"], "lifetime": "1h"});
    let made = control.call("POST", "/v1/tokens", body).await.expect(201);
    let text = made.body["token"].as_str().expect("its text");
    let order = || json!({"kind": "key", "key": "k"});
    control.call_as(text, "POST", "/v1/purges", order()).await.expect(202);
    control.call_as(text, "GET", "/v1/tokens", Value::Null).await.expect(403);
    let list = control.call("GET", "/v1/tokens", Value::Null).await.expect(200);
    assert!(!list.body.to_string().contains(text.rsplit('_').next().expect("a secret")));
    control.clock.advance(std::time::Duration::from_secs(3600));
    control.call_as(text, "POST", "/v1/purges", order()).await.expect(401);

    let lasting = token(&control, "bob", &[], &["viewer"]).await;
    let me = control.call_as(&lasting, "GET", "/v1/whoami", Value::Null).await.expect(200);
    assert_eq!((&me.body["label"], &me.body["scopes"]), (&json!("bob"), &json!(["read"])));
    let path = format!("/v1/tokens/{}", me.body["id"].as_str().expect("an id"));
    control.call("DELETE", &path, Value::Null).await.expect(204);
    control.call_as(&lasting, "GET", "/v1/whoami", Value::Null).await.expect(401);
    control.call("DELETE", &path, Value::Null).await.expect(404);
}

#[tokio::test]
async fn nobody_hands_on_what_they_do_not_hold() {
    let control = TestControl::start().await;
    let makers = token(&control, "maker", &["token:write", "read", "purge:property/a"], &[]).await;
    let make = async |scopes: Value, roles: Value| {
        let body = json!({"label": "maker", "scopes": scopes, "roles": roles});
        let request = control.request("POST", "/v1/tokens").bearer_auth(&makers).json(&body);
        Answer::of(request).await
    };
    make(json!(["read"]), json!([])).await.expect(201);
    make(json!(["purge:property/a"]), json!([])).await.expect(201);
    make(json!(["purge"]), json!([])).await.expect(403);
    make(json!(["admin"]), json!([])).await.expect(403);
    make(json!([]), json!(["operator"])).await.expect(403);
    make(json!([]), json!(["nobody"])).await.expect(404);
    make(json!(["fly"]), json!([])).await.expect(422);
    make(json!([]), json!([])).await.expect(422);
    let role = json!({"name": "all", "scopes": ["admin"]});
    control.call_as(&makers, "PUT", "/v1/roles/all", role).await.expect(403);
}

#[tokio::test]
async fn a_changed_role_changes_its_tokens_at_once() {
    let control = TestControl::start().await;
    let role = |scopes: Value| json!({"name": "shop", "scopes": scopes});
    control.call("PUT", "/v1/roles/shop", role(json!(["read"]))).await.expect(200);
    let shop = token(&control, "shop", &[], &["shop"]).await;
    let can = async |verb: &str, target: &str| {
        let question = json!({"verb": verb, "target": target});
        let answer = control.call_as(&shop, "POST", "/v1/can-i", question).await.expect(200);
        answer.body["allowed"].as_bool().expect("a bool")
    };
    assert!(can("read", "").await && !can("purge", "property/a").await);
    control.call("PUT", "/v1/roles/shop", role(json!(["purge:property/a"]))).await.expect(200);
    assert!(!can("read", "").await && can("purge", "property/a").await);
    assert!(!can("purge", "property/b").await);
    control
        .call("PUT", "/v1/roles/viewer", json!({"name": "viewer", "scopes": []}))
        .await
        .expect(422);
    control.call("DELETE", "/v1/roles/shop", Value::Null).await.expect(204);
    assert!(!can("purge", "property/a").await);
}

#[tokio::test]
async fn what_is_dangerous_needs_a_second_person_where_there_is_one() {
    let control = TestControl::start_with(|config| config.api.purge_all_rate.burst = 100.0).await;
    let all = || json!({"kind": "all"});
    // Alone: nobody could approve.
    control.call("POST", "/v1/purges", all()).await.expect(202);
    let bob = token(&control, "bob", &[], &["operator", "approver"]).await;

    let asked = control.call("POST", "/v1/purges", all()).await.expect(409);
    assert_eq!(asked.body["type"], "/problem/approval-needed");
    let id = asked.body["approval"].as_str().expect("an approval").to_owned();
    let again = control.call("POST", "/v1/purges", all()).await.expect(409);
    assert_eq!(again.body["approval"], asked.body["approval"], "one approval for one question");
    let send = async |token: &str, body: Value| {
        let request = control.request("POST", "/v1/purges").bearer_auth(token).json(&body);
        Answer::of(request.header("tidegate-approval", &id)).await
    };
    send(&control.admin, all()).await.expect(403);
    let approve = format!("/v1/approvals/{id}/approve");
    control.call("POST", &approve, Value::Null).await.expect(403);
    control.call_as(&bob, "POST", &approve, Value::Null).await.expect(200);
    control.call_as(&bob, "POST", &approve, Value::Null).await.expect(403);

    send(&control.admin, json!({"kind": "all", "soft": true})).await.expect(403);
    send(&bob, all()).await.expect(403);
    send(&control.admin, all()).await.expect(202);
    send(&control.admin, all()).await.expect(403);

    let breakglass = ["admin".to_owned(), "breakglass".to_owned()];
    let glass = control.token_of(&breakglass, "carol").await;
    control.call_as(&glass, "POST", "/v1/purges", all()).await.expect(202);
    let rows = control.call("GET", "/v1/audit", Value::Null).await.expect(200).body.to_string();
    assert!(rows.contains("BREAKGLASS purge_all") && rows.contains("by bob"), "{rows}");
}

#[tokio::test]
async fn one_person_cannot_become_two() {
    let control = TestControl::start().await;
    let bob = token(&control, "bob", &["approve"], &[]).await;
    let sock = json!({"label": "sock-puppet", "scopes": ["approve"]});
    control.call("POST", "/v1/tokens", sock).await.expect(409);
    let role = json!({"name": "puppet", "scopes": ["approve"]});
    control.call("PUT", "/v1/roles/puppet", role).await.expect(409);
    // Nor alone, by taking the other's token away.
    let me = control.call_as(&bob, "GET", "/v1/whoami", Value::Null).await.expect(200);
    let path = format!("/v1/tokens/{}", me.body["id"].as_str().expect("an id"));
    control.call("DELETE", &path, Value::Null).await.expect(409);
    // Another token of one's own is no second person.
    let second = control.token(&[Scope::Admin]).await;
    let asked = control.call("POST", "/v1/purges", json!({"kind": "all"})).await.expect(409);
    let id = asked.body["approval"].as_str().expect("an approval");
    let approve = format!("/v1/approvals/{id}/approve");
    control.call_as(&second, "POST", &approve, Value::Null).await.expect(403);
}

#[tokio::test]
async fn every_change_leaves_a_row_and_the_chain_is_whole() {
    let control = TestControl::start().await;
    let request = control.request("PUT", "/v1/pops/fra").bearer_auth(&control.admin);
    let request = request.header("tidegate-reason", "new PoP").json(&json!({"role": "edge"}));
    Answer::of(request).await.expect(201);
    let read = control.token(&[Scope::Read]).await;
    control.call_as(&read, "DELETE", "/v1/pops/fra", Value::Null).await.expect(403);
    control.call_as("tga_1_1", "DELETE", "/v1/pops/fra", Value::Null).await.expect(401);
    let list = control.call_as(&read, "GET", "/v1/audit", Value::Null).await.expect(200);
    let items = list.body["items"].as_array().expect("a list");
    let what: Vec<_> = items
        .iter()
        .map(|item| (item["row"]["action"].as_str().expect("text"), item["row"]["status"].clone()))
        .collect();
    let expected = [
        ("token create", json!(0)),
        ("PUT /v1/pops/fra", json!(201)),
        ("token create", json!(0)),
        ("DELETE /v1/pops/fra", json!(403)),
    ];
    assert_eq!(what, expected);
    assert_eq!(
        (&items[1]["row"]["reason"], &items[1]["row"]["label"]),
        (&json!("new PoP"), &json!("test"))
    );
    let verdict = control.call_as(&read, "GET", "/v1/audit/verify", Value::Null).await.expect(200);
    assert_eq!((&verdict.body["ok"], &verdict.body["to"]), (&json!(true), &json!(4)));
    assert_eq!(verdict.body["hash"], list.body["head"]["hash"]);
    let control = control.restart().await;
    control.edge("ams").await;
    let verdict = control.call("GET", "/v1/audit/verify?after=2", Value::Null).await.expect(200);
    assert_eq!(verdict.body["ok"], json!(true), "{}", verdict.body);
    let page = control.call("GET", "/v1/audit?after=1&limit=2", Value::Null).await.expect(200);
    assert_eq!(page.body["items"].as_array().expect("a list").len(), 2);
}
