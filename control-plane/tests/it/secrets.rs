//! Secrets of properties: nodes get them, nobody reads them, and who sends back what was read destroys none.

use serde_json::{Value, json};
use tidegate_control::token::Scope;

use crate::harness::TestControl;

/// 32 bytes in base64url, one letter again and again.
fn secret(letter: char) -> String {
    letter.to_string().repeat(43)
}

fn guarded(keys: &Value) -> Value {
    json!({
        "id": "demo", "hosts": ["a.org"], "origins": [{"authority": "127.0.0.1:1"}],
        "guard": {"tokens": {"keys": keys}},
    })
}

fn keys_of(property: &Value) -> &Value {
    &property["guard"]["tokens"]["keys"]
}

const PATH: &str = "/v1/properties/demo";

#[tokio::test]
async fn whoever_reads_a_property_sees_fingerprints_and_nodes_get_the_secrets() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let keys = json!([
        {"id": "a", "algorithm": "HS256", "secret": secret('A')},
        {"id": "b", "algorithm": "HS256", "secret": secret('Q')},
    ]);
    control.call("PUT", PATH, guarded(&keys)).await.expect(201);
    let reader = control.token(&[Scope::Read]).await;
    for token in [&reader, &control.admin] {
        for path in [PATH, "/v1/properties"] {
            let answer = control.call_as(token, "GET", path, Value::Null).await.expect(200);
            let text = answer.body.to_string();
            assert!(!text.contains(&secret('A')) && !text.contains(&secret('Q')), "{text}");
            assert_eq!(text.matches("[redacted ").count(), 2, "{text}");
        }
    }
    let shown = control.call("GET", PATH, Value::Null).await.expect(200).body;
    let keys = keys_of(&shown["property"]);
    assert_eq!(keys[0]["id"], "a");
    assert_ne!(keys[0]["secret"], keys[1]["secret"], "fingerprints tell keys apart");

    let mut lane = control.node("fra", "n1").await.config_lane(0, b"").await.expect("enrolled");
    let sent = lane.release().await.config;
    let sent: Value = serde_json::from_slice(&sent.to_bytes()).expect("json");
    assert_eq!(keys_of(&sent["properties"][0])[0]["secret"], secret('A'));
}

#[tokio::test]
async fn what_was_read_can_be_sent_back_and_keeps_the_secrets() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let keys = json!([{"id": "a", "algorithm": "HS256", "secret": secret('A')}]);
    control.call("PUT", PATH, guarded(&keys)).await.expect(201);
    let shown = control.call("GET", PATH, Value::Null).await.expect(200).body["property"].clone();

    let same = control.call("PUT", PATH, shown.clone()).await.expect(200);
    assert_eq!(same.body["changed"], false, "nothing is different");
    let mut more = shown.clone();
    more["hosts"] = json!(["a.org", "b.org"]);
    let new = json!({"id": "b", "algorithm": "HS256", "secret": secret('Q')});
    more["guard"]["tokens"]["keys"].as_array_mut().expect("a list").push(new);
    control.call("PUT", PATH, more).await.expect(200);

    let mut lane = control.node("fra", "n1").await.config_lane(0, b"").await.expect("enrolled");
    let sent = lane.release().await.config;
    let sent: Value = serde_json::from_slice(&sent.to_bytes()).expect("json");
    let property = &sent["properties"][0];
    assert_eq!(property["hosts"], json!(["a.org", "b.org"]));
    assert_eq!(keys_of(property)[0]["secret"], secret('A'));
    assert_eq!(keys_of(property)[1]["secret"], secret('Q'));
}

#[tokio::test]
async fn a_fingerprint_of_nothing_that_is_stored_is_refused_with_the_key_in_the_answer() {
    let control = TestControl::start().await;
    let keys = json!([{"id": "a", "algorithm": "HS256", "secret": secret('A')}]);
    control.call("PUT", PATH, guarded(&keys)).await.expect(201);
    let shown = control.call("GET", PATH, Value::Null).await.expect(200).body["property"].clone();
    // The secret changed in between.
    let keys = json!([{"id": "a", "algorithm": "HS256", "secret": secret('Q')}]);
    control.call("PUT", PATH, guarded(&keys)).await.expect(200);
    let refused = control.call("PUT", PATH, shown.clone()).await.expect(422);
    let detail = refused.body["detail"].as_str().expect("text");
    assert!(detail.contains("\"a\"") && detail.contains("redacted"), "{detail}");

    control.call("DELETE", PATH, Value::Null).await.expect(200);
    control.call("PUT", PATH, shown).await.expect(422);
}
