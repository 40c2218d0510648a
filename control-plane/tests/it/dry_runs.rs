//! What the control plane says it would do, and that it then has done nothing.

use serde_json::{Value, json};
use tidegate_control::token::Scope;

use crate::harness::{Person, TestControl, property};

async fn audit_head(control: &TestControl) -> Value {
    control.call("GET", "/v1/audit?limit=1", Value::Null).await.expect(200).body["head"].clone()
}

async fn purges(control: &TestControl) -> Value {
    control.call("GET", "/v1/purges", Value::Null).await.expect(200).body["purges"].clone()
}

#[tokio::test]
async fn a_planned_purge_says_where_it_goes_and_purges_nothing() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    control.edge("nyc").await;
    control.property("demo", "a.org").await.expect(201);
    let (here, _away) = (control.node("fra", "n1").await, control.node("fra", "n2").await);
    let _lane = here.purge_lane(None).await.expect("enrolled");
    let ann = Person::with_token(&control, &control.admin).await;
    let before = audit_head(&control).await;

    let words = ["purge", "url", "https://a.org/x?sig=s3cret", "https://b.org/y", "--dry-run"];
    let ran = ann.run(&[&words[..], &["-o", "json"]].concat()).await.expect(0);
    let plans = ran.json()["plans"].clone();
    assert_eq!(plans[0]["properties"], json!(["demo"]), "{plans}");
    assert_eq!(plans[1]["properties"], json!([]), "{plans}");
    assert_eq!(plans[0]["pops"], json!([{"pop": "fra", "nodes": 2, "connected": 1}]));
    assert_eq!(plans[0]["limits"][0]["limit"], "purge_rate");
    for said in ["1 of 2 nodes are connected", "not connected: fra 1;", "is meant by b.org/y:"] {
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
    }
    let table = ann.run(&words).await.expect(0);
    assert!(table.stdout.contains("a.org/x") && !table.stdout.contains("s3cret"), "{table:?}");
    let names = ann.run(&["purge", "key", "k1", "k2", "--soft", "--dry-run", "-o", "name"]).await;
    assert_eq!(names.expect(0).stdout, "k1\nk2\n");
    let file = ann.file("new.m3u8", "#EXTM3U\n");
    let replace = ["purge", "url", "https://b.org/y.m3u8", "--replace", &file, "--dry-run"];
    let refused = ann.run(&replace).await.expect(6);
    assert!(refused.stderr.contains("no property serves host b.org"), "{refused:?}");

    assert_eq!(purges(&control).await, json!([]));
    let after = audit_head(&control).await;
    let rows = |head: &Value| head["number"].as_u64().expect("a number");
    assert_eq!(rows(&after), rows(&before) + 1, "the refused one alone: {before} {after}");

    // A wide one shows the same plan before it is done.
    let done = ann.run(&["purge", "property", "demo", "demi"]).await.expect(0);
    for said in ["plan: hard purge of 2 times property, in 1 PoPs", "is meant by demi:"] {
        assert!(done.stderr.contains(said), "{said}: {done:?}");
    }
    assert_eq!(purges(&control).await.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_plan_takes_nothing_from_a_limit_and_needs_what_the_purge_needs() {
    let control = TestControl::start_with(|config| {
        config.api.purge_all_rate = tidegate_control::rate::Rate { per_second: 0.001, burst: 1.0 };
    })
    .await;
    let reader = control.token(&[Scope::Read]).await;
    let order = json!({"kind": "all"});
    let path = "/v1/purges?dry_run=true";
    control.call_as(&reader, "POST", path, order.clone()).await.expect(403);
    control.call("POST", path, json!({"kind": "all", "sfot": true})).await.expect(422);
    for _ in 0..3 {
        let plan = control.call("POST", path, order.clone()).await.expect(200).body;
        assert_eq!(
            (&plan["limits"][0]["left"], &plan["limits"][0]["wait_ms"]),
            (&json!(1), &json!(0))
        );
        assert_eq!((&plan["needs_approval"], &plan["dry_run"]), (&json!(false), &json!(true)));
    }
    control.call("POST", "/v1/purges", order.clone()).await.expect(202);
    let ann = Person::with_token(&control, &control.admin).await;
    let bob = ann.invite(&control, "bob", &["--role", "approver"]).await;
    let plan = ann.run(&["purge", "all", "--dry-run=server"]).await.expect(0);
    for said in ["purge_all_rate lets 0 of 1 pass now, the next in", "a second person must approve"]
    {
        assert!(plan.stderr.contains(said), "{said}: {plan:?}");
    }
    // Nobody was asked to approve a plan.
    let waiting = bob.run(&["approval", "list", "-o", "json"]).await.expect(0).json();
    assert_eq!(waiting, json!([]));
    let asked = ann.run(&["purge", "all"]).await.expect(8);
    assert!(asked.stderr.contains("plan: hard purge of everything"), "{asked:?}");
}

#[tokio::test]
async fn pops_and_properties_are_planned_and_stay_as_they_are() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let add = ["pop", "add", "fra", "--role", "edge"];
    let plan = ann.run(&[&add[..], &["--dry-run"]].concat()).await.expect(0);
    assert!(plan.stdout.contains("would be created"), "{plan:?}");
    ann.run(&["get", "pop/fra"]).await.expect(3);
    ann.run(&add).await.expect(0);
    control.node("fra", "n1").await;
    control.call("PUT", "/v1/properties/demo", property("demo", "a.org")).await.expect(201);
    let head = audit_head(&control).await;

    let plan = ann.run(&["pop", "remove", "fra", "--dry-run"]).await.expect(0);
    assert!(plan.stdout.contains("fra/n1") && plan.stderr.contains("plan: pop fra"), "{plan:?}");
    let node = ["pop", "remove", "fra", "--node", "n1"];
    let plan = ann.run(&[&node[..], &["--dry-run", "-o", "name"]].concat()).await.expect(0);
    assert_eq!(plan.stdout, "fra/n1\n");
    ann.run(&["pop", "remove", "nyc", "--dry-run"]).await.expect(3);
    ann.run(&["pop", "remove", "fra", "--node", "n2", "--dry-run"]).await.expect(3);
    let plan = ann.run(&["property", "delete", "demo", "--dry-run"]).await.expect(0);
    assert!(plan.stdout.contains("property demo would be deleted"), "{plan:?}");
    ann.run(&["property", "delete", "other", "--dry-run"]).await.expect(3);
    ann.run(&["get", "property/demo"]).await.expect(0);
    ann.run(&["node", "list"]).await.expect(0);
    let rows = ann.run(&["audit", "list", "-o", "json"]).await.expect(0).json();
    let refused = rows.as_array().expect("rows").iter().filter(|row| row["row"]["status"] == 404);
    assert_eq!(refused.count(), 3, "those that were refused are written down: {rows}");
    let now = audit_head(&control).await;
    assert_eq!(now["number"], json!(head["number"].as_u64().expect("a number") + 3), "{now}");

    let done = ann.run(&node).await.expect(0);
    assert!(done.stderr.contains("plan: node fra/n1 is removed"), "{done:?}");
    ann.run(&["pop", "remove", "fra"]).await.expect(0);
    control.call("GET", "/v1/pops/fra", Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_decision_is_planned_by_who_may_make_it() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let bob = ann.invite(&control, "bob", &["--role", "approver"]).await;
    ann.run(&["purge", "all", "--yes", "--reason", "bad deploy"]).await.expect(8);
    let waiting = bob.run(&["approval", "list", "-o", "json"]).await.expect(0).json();
    let id = waiting[0]["id"].as_str().expect("an id");
    ann.run(&["approval", "approve", id, "--dry-run"]).await.expect(8);
    for verb in ["approve", "reject"] {
        let plan = bob.run(&["approval", verb, id, "--dry-run"]).await.expect(0);
        assert!(plan.stdout.contains("pending: purge_all"), "{plan:?}");
    }
    bob.run(&["approval", "approve", "none", "--dry-run"]).await.expect(3);
    bob.run(&["approval", "approve", id]).await.expect(0);
    bob.run(&["approval", "reject", id, "--dry-run"]).await.expect(8);
}
