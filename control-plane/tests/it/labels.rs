//! Labels: kept with resources, chosen by, never told to nodes.

use serde_json::{Value, json};

use crate::harness::{Person, TestControl};

const POPS: &str = "kind: pop\nname: ams\nlabels: {tier: gold, example.com/region: eu}\nspec: {role: edge}\n---\n\
                    kind: pop\nname: fra\nlabels: {tier: silver, example.com/region: eu}\nspec: {role: edge}\n---\n\
                    kind: pop\nname: nyc\nspec: {role: edge}\n";

#[tokio::test]
async fn resources_are_labelled_chosen_exported_and_deleted_by_their_labels() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let file = ann.file("pops.yaml", POPS);
    let apply = async || ann.run(&["apply", "-f", &file, "--stage", "fast"]).await.expect(0);
    apply().await;
    assert!(apply().await.stderr.contains("0 to create, 0 to change"), "twice changes nothing");
    let names = async |selector: &str| {
        let words = ["get", "pop", "-l", selector, "-o", "name"];
        ann.run(&words).await.expect(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (selector, expected) in [
        ("tier=gold", "ams"),
        ("tier!=gold", "fra nyc"),
        ("tier", "ams fra"),
        ("!tier", "nyc"),
        ("example.com/region=eu,tier=silver", "fra"),
        ("tier=bronze", ""),
    ] {
        assert_eq!(names(selector).await, expected, "{selector}");
    }
    ann.run(&["get", "pop", "-l", "a b"]).await.expect(2);
    ann.run(&["get", "pop/ams", "-l", "tier"]).await.expect(2);
    let bad = control.call("GET", "/v1/resources/pop?labels=a%20b", Value::Null).await;
    assert!(bad.expect(422).body["detail"].as_str().expect("text").contains("selector"));
    let described = ann.run(&["describe", "pop/ams"]).await.expect(0).stdout;
    assert!(described.contains("labels:\n  example.com/region: eu\n  tier: gold"), "{described}");
    let wide = ann.run(&["get", "pop", "-l", "tier", "-o", "wide"]).await.expect(0).stdout;
    assert!(wide.contains("LABELS") && wide.contains("tier=gold"), "{wide}");

    // What is written is what there is; without a word of labels they stay, and nobody else's are touched.
    let out = ann.home.path().join("out");
    let out = out.to_str().expect("text");
    ann.run(&["export", "pop", "-l", "tier=gold", "--to", out]).await.expect(0);
    assert!(!std::path::Path::new(out).join("pop/fra.yaml").exists());
    ann.run(&["diff", "-f", out]).await.expect(0);
    ann.run(&["pop", "add", "ams", "--role", "shield"]).await.expect(0);
    assert_eq!(names("tier=gold").await, "ams");
    let relabelled =
        ann.file("pops.yaml", &POPS.replace("gold", "iron").replace("tier: silver, ", ""));
    let differs = ann.run(&["diff", "-f", &relabelled]).await.expect(1).stdout;
    assert!(
        differs.contains("-tier: gold\n+tier: iron") && differs.contains("-tier: silver"),
        "{differs}"
    );
    ann.file("pops.yaml", POPS);

    let delete = ["delete", "pop", "-l", "tier=silver"];
    let dry = ann.run(&[&delete[..], &["--dry-run"]].concat()).await.expect(0);
    assert!(
        dry.stderr.contains("pop/fra is deleted") && !dry.stderr.contains("pop/nyc"),
        "{dry:?}"
    );
    ann.run(&[&delete[..], &["--yes"]].concat()).await.expect(2);
    ann.run(&[&delete[..], &["--yes", "--reason", "old"]].concat()).await.expect(0);
    assert_eq!(names("example.com/region=eu").await, "ams");
    let none = ann.run(&[&delete[..], &["--yes", "--reason", "old"]].concat()).await.expect(0);
    assert!(none.stderr.contains("chooses no pop"), "{none:?}");
}

#[tokio::test]
async fn a_label_makes_a_release_in_which_nothing_is_new_for_nodes_and_outlives_the_process() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    let before = lane.applied().await;
    let path = "/v1/resources/pop/fra";
    let body = json!({"spec": {"role": "edge"}, "labels": {"tier": "gold"}});
    let put = control.call("PUT", path, body.clone()).await.expect(200).body;
    assert_eq!(put["changed"], true);
    let after = lane.applied().await;
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.digest, before.digest, "the root says nothing of labels");
    assert!(after.message.put.is_empty() && after.message.del.is_empty());
    let again = control.call("PUT", path, body).await.expect(200).body;
    assert_eq!(again["changed"], false);
    let bad = json!({"spec": {"role": "edge"}, "labels": {"a b": "x"}});
    let refused = control.call("PUT", path, bad).await;
    assert!(refused.status == 400 || refused.status == 422, "{}", refused.status);

    let control = control.restart().await;
    let shown = control.call("GET", path, Value::Null).await.expect(200).body;
    assert_eq!(shown["labels"], json!({"tier": "gold"}));
    let back = json!({"to": before.generation, "reason": "it was bare"});
    control.call("POST", "/v1/releases/rollback", back).await.expect(200);
    let shown = control.call("GET", path, Value::Null).await.expect(200).body;
    assert!(shown.get("labels").is_none(), "{shown}");
}

#[tokio::test]
async fn labels_that_an_older_build_swept_away_are_lost_and_nothing_else() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let path = "/v1/resources/pop/fra";
    let body = json!({"spec": {"role": "edge"}, "labels": {"tier": "gold"}});
    control.call("PUT", path, body).await.expect(200);
    // An older build takes the pages of labels for contents that no release names.
    let database = rusqlite::Connection::open(control.data_dir().join("control.sqlite"));
    let database = database.expect("a database");
    let sql = "SELECT value FROM record WHERE key LIKE 'release/version/%' ORDER BY key DESC";
    let newest: Vec<u8> = database.query_row(sql, [], |row| row.get(0)).expect("a release");
    let newest: Value = serde_json::from_slice(&newest).expect("json");
    let page = newest["labels"][0].as_str().expect("a page");
    let gone = "DELETE FROM record WHERE key LIKE ?1";
    assert_eq!(database.execute(gone, [format!("content/{page}/%")]).expect("its own"), 1);
    drop(database);
    let control = control.restart().await;
    let shown = control.call("GET", path, Value::Null).await.expect(200).body;
    assert_eq!((&shown["spec"]["role"], shown.get("labels")), (&json!("edge"), None));
    let body = json!({"spec": {"role": "edge"}, "labels": {"tier": "iron"}});
    control.call("PUT", path, body).await.expect(200);
    let chosen = control.call("GET", "/v1/resources/pop?labels=tier%3Diron", Value::Null).await;
    assert_eq!(chosen.expect(200).body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_edit_takes_labels_away_and_a_watch_sees_who_is_chosen() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let file = ann.file("pops.yaml", POPS);
    ann.run(&["apply", "-f", &file, "--stage", "fast"]).await.expect(0);
    let mut watching = ann.watch(&["get", "pop", "-l", "tier=gold", "-w"]);
    watching.sees("ams").await;
    let script = ann.file("editor", "#!/bin/sh\nset -e\nsed -i 's/silver/gold/' \"$1\"\n");
    let editor = format!("sh {script}");
    ann.run_with(&[("EDITOR", &editor)], &["edit", "pop/fra"]).await.expect(0);
    watching.sees("fra").await;
    let script = ann.file("editor", "#!/bin/sh\nset -e\nsed -i '/^labels/,/tier/d' \"$1\"\n");
    let editor = format!("sh {script}");
    let words = ["edit", "pop/fra", "--dry-run=server"];
    let dry = ann.run_with(&[("EDITOR", &editor)], &words).await.expect(0);
    assert!(dry.stderr.contains("-tier: gold") && dry.stderr.contains("would be"), "{dry:?}");
    ann.run_with(&[("EDITOR", &editor)], &["edit", "pop/fra"]).await.expect(0);
    let left = ann.run(&["get", "pop", "-l", "tier", "-o", "name"]).await.expect(0);
    assert_eq!(left.stdout, "ams\n");
}
