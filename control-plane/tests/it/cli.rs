//! `tidegate` as an operator uses it: the real program, its output and its exit codes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_control::token::Scope;

use crate::harness::{Ran, TestControl, TestNode, tidegate, until};

/// An operator with a home of their own and a context for one control plane.
struct Operator {
    home: tempfile::TempDir,
}

impl Operator {
    async fn new(control: &TestControl) -> Self {
        Self::with_token(control, &control.admin).await
    }

    async fn with_token(control: &TestControl, token: &str) -> Self {
        let operator = Self { home: tempfile::tempdir().expect("a folder") };
        let token = control.file("token", &format!("{token}\n"));
        let ca = control.file("ca.pem", &control.ca_pem);
        let server = format!("https://localhost:{}", control.api.port());
        let (token, ca) = (token.to_str().expect("text"), ca.to_str().expect("text"));
        let words =
            ["context", "add", "test", "--server", &server, "--token-file", token, "--ca", ca];
        operator.run(&words).await.expect(0);
        operator
    }

    async fn run(&self, words: &[&str]) -> Ran {
        tidegate(self.home.path(), words).await
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.to_str().expect("text").to_owned()
    }
}

#[tokio::test]
async fn an_operator_brings_up_a_pop() {
    let control = TestControl::start().await;
    let operator = Operator::new(&control).await;
    let ca = control.ca_pem.clone();
    let ca = operator.file("shield-ca.pem", &ca);
    let added = operator.run(&["pop", "add", "fra", "--role", "edge"]).await.expect(0);
    assert_eq!(added.stdout, "pop fra created, generation 1\n");
    let words = [
        "pop",
        "add",
        "shield-1",
        "--role",
        "shield",
        "--shield-authority",
        "10.0.0.1:443",
        "--shield-ca",
        &ca,
        "--shield-server-name",
        "shield",
    ];
    operator.run(&words).await.expect(0);
    operator.run(&["pop", "status", "fra"]).await.expect(1);

    let token = operator.run(&["pop", "enrol", "fra"]).await.expect(0);
    let node = TestNode::enrol(&control, token.stdout.trim(), "n1").await.expect("a good token");
    let _purges = node.purge_lane(None).await.expect("enrolled");
    let mut config = node.config_lane(0, b"").await.expect("enrolled");
    let release = config.applied().await;
    assert!(release.config.shields[0].upstream.tls.is_some());
    config.health(true, false).await;
    until(async || (operator.run(&["pop", "status", "fra"]).await.code == 0).then_some(())).await;

    let list = operator.run(&["pop", "list"]).await.expect(0);
    let lines: Vec<_> = list.stdout.lines().collect();
    assert!(lines[0].starts_with("POP       ROLE    STATE  NODES  GENERATION"), "{list:?}");
    assert!(lines[1].starts_with("fra       edge    up     1/1    2/2"), "{list:?}");
    assert!(lines[2].starts_with("shield-1  shield  empty  0/0    -/2"), "{list:?}");
    let status = operator.run(&["pop", "status", "fra", "-o", "json"]).await.expect(0).json();
    assert_eq!(status["nodes"][0]["health"]["requests_total"], 1000);
    let status = operator.run(&["pop", "status", "fra"]).await.expect(0);
    assert!(status.stdout.contains("95.0 %"), "{status:?}");

    config.ack(release.generation, Some("no such host")).await;
    let refused = until(async || {
        let ran = operator.run(&["pop", "status", "fra"]).await;
        (ran.code == 6).then_some(ran)
    })
    .await;
    assert!(refused.stderr.contains("no such host"), "{refused:?}");
    operator.run(&["pop", "remove", "fra", "--node", "n1"]).await.expect(0);
    operator.run(&["pop", "remove", "fra"]).await.expect(0);
    operator.run(&["pop", "status", "fra"]).await.expect(3);
}

#[tokio::test]
async fn an_operator_purges_and_sees_who_has_applied_it() {
    let control = TestControl::start_with(|config| {
        config.purge.lease = std::time::Duration::from_secs(60);
    })
    .await;
    control.edge("fra").await;
    let mut lane = control.node("fra", "n1").await.purge_lane(None).await.expect("enrolled");
    let operator = Operator::new(&control).await;

    let words = ["purge", "url", "https://a.org:8443/x", "https://a.org/y", "--soft", "-o", "json"];
    let ordered = operator.run(&words).await.expect(0).json();
    // The two are sent at the same time, so that either may be the first in the log.
    let offsets = ordered["purges"].as_array().expect("a list").iter().map(|p| &p["offset"]);
    let offsets: BTreeSet<_> = offsets.filter_map(Value::as_u64).collect();
    assert_eq!(offsets, BTreeSet::from([1, 2]));
    lane.until(0, 2).await;
    lane.ack(2).await;

    let wait = ["purge", "key", "video-1", "--wait", "--deadline", "30s", "-o", "json"];
    let node = async {
        lane.until(2, 3).await;
        lane.ack(3).await;
    };
    let (ran, ()) = tokio::join!(operator.run(&wait), node);
    let waited = ran.expect(0).json();
    assert_eq!(
        (&waited["complete"], &waited["purges"][0]["complete"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(waited["purges"][0]["pops"][0]["state"], "applied");
    assert!(waited["purges"][0]["pops"][0]["ms"].is_u64());
    let id = waited["purges"][0]["id"].as_str().expect("an id").to_owned();
    let status = operator.run(&["purge", "status", &id]).await.expect(0);
    assert!(status.stdout.contains("applied"), "{status:?}");

    let late = operator.run(&["purge", "key", "video-2", "--wait", "--deadline", "20ms"]).await;
    let late = late.expect(7);
    assert!(late.stdout.contains("pending"), "{late:?}");
    let id = late.stdout.lines().nth(1).and_then(|line| line.split(' ').next()).expect("an id");
    assert!(late.stderr.contains(id), "{late:?}");
    operator.run(&["purge", "status", id]).await.expect(1);

    let lag = operator.run(&["purge", "lag", "-o", "json"]).await.expect(0).json();
    assert_eq!(
        (&lag["items"][0]["applied"], &lag["head"], &lag["items"][0]["lag"]),
        (&json!(3), &json!(4), &json!(1))
    );
    let log = operator.run(&["purge", "log", "--since", "1h"]).await.expect(0).stdout;
    assert!(log.contains("video-1") && log.contains("a.org/x") && log.contains("soft"), "{log}");
    let share = ["purge", "key", "video-3", "--wait=1%", "--deadline", "20ms"];
    operator.run(&share).await.expect(7);
    operator.run(&["purge", "key", "a", "--wait=some"]).await.expect(2);
    // The share is never taken for one more key.
    let spaced = ["purge", "key", "video-4", "--wait", "1%", "--deadline", "20ms", "-o", "json"];
    let spaced = operator.run(&spaced).await.expect(7).json();
    assert_eq!(spaced["purges"].as_array().map(Vec::len), Some(1), "{spaced}");
    let before = ["purge", "key", "--wait", "video-4"];
    assert!(operator.run(&before).await.expect(2).stderr.contains("a share from 1%"));
    operator.run(&["purge", "all"]).await.expect(8);
    operator.run(&["purge", "all", "--yes"]).await.expect(0);
}

#[tokio::test]
async fn an_operator_replaces_a_manifest_with_the_purge() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    control.property("demo", "a.org").await.expect(201);
    let mut lane = control.node("fra", "n1").await.purge_lane(None).await.expect("enrolled");
    let operator = Operator::new(&control).await;
    let file = operator.file("new.m3u8", "#EXTM3U\n");
    let words = [
        "purge",
        "url",
        "https://a.org/v/main.m3u8",
        "--replace",
        &file,
        "--header",
        "Cache-Control: max-age=2",
        "--wait",
        "--deadline",
        "30s",
        "-o",
        "json",
    ];
    let node = async {
        let arrived = lane.purges().await;
        lane.ack(arrived[0].offset).await;
        arrived
    };
    let (ran, arrived) = tokio::join!(operator.run(&words), node);
    let ordered = ran.expect(0).json();
    assert_eq!(ordered["complete"], true);
    assert_eq!(ordered["purges"][0]["replacement"]["bytes"], 8);
    let new = arrived[0].replacement.as_ref().expect("a body");
    assert_eq!(&new.body[..], b"#EXTM3U\n");
    assert_eq!(new.headers["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(new.headers["cache-control"], "max-age=2");

    let replace = async |more: &[&str]| {
        let words = ["purge", "url", "https://a.org/x", "--replace", &file];
        operator.run(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await
    };
    let untyped = replace(&[]).await.expect(2);
    assert!(untyped.stderr.contains("--content-type"), "{untyped:?}");
    let short = ["--content-type", "text/plain", "--header", "Cache-Control: max-age=2"];
    replace(&short).await.expect(0);
    replace(&short[..2]).await.expect(6);
    replace(&["--content-type", "text/plain", "--soft"]).await.expect(2);
    replace(&["--content-type", "text/plain", "https://a.org/y"]).await.expect(2);
    replace(&["--content-type", "text/plain", "--header", "Vary: accept"]).await.expect(6);
    operator.run(&["purge", "url", "https://a.org/x", "--header", "A: b"]).await.expect(2);
    let large = operator.file("large", &"x".repeat(256 * 1024 + 1));
    let words = ["purge", "url", "https://a.org/x.mpd", "--replace", &large];
    operator.run(&words).await.expect(6);
    let words = ["purge", "url", "https://b.org/x.mpd", "--replace", &file];
    assert!(operator.run(&words).await.expect(6).stderr.contains("b.org"));
}

#[tokio::test]
async fn what_an_operator_is_shown_can_be_applied_again_and_keeps_its_secrets() {
    let control = TestControl::start().await;
    let operator = Operator::new(&control).await;
    let secret = "A".repeat(43);
    let toml = format!(
        "id = \"demo\"\nhosts = [\"a.org\"]\n[[origins]]\nauthority = \"127.0.0.1:1\"\n\
         [[guard.tokens.keys]]\nid = \"k\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n"
    );
    let file = operator.file("demo.toml", &toml);
    operator.run(&["property", "apply", "-f", &file]).await.expect(0);
    let shown = operator.run(&["property", "show", "demo"]).await.expect(0);
    assert!(!shown.stdout.contains(&secret) && shown.stdout.contains("[redacted "), "{shown:?}");
    let file = operator.file("shown.json", &shown.stdout);
    let again = operator.run(&["property", "apply", "-f", &file]).await.expect(0);
    assert_eq!(again.stdout, "property demo unchanged, generation 1\n");

    let changed = operator.file("changed.json", &shown.stdout.replace("a.org", "b.org"));
    operator.run(&["property", "apply", "-f", &changed]).await.expect(0);
    operator.run(&["property", "apply", "-f", &file]).await.expect(5);
}

#[tokio::test]
async fn an_operator_changes_a_property() {
    let control = TestControl::start().await;
    let operator = Operator::new(&control).await;
    let toml = "id = \"demo\"\nhosts = [\"a.org\"]\n[[origins]]\nauthority = \"127.0.0.1:1\"\n";
    let file = operator.file("demo.toml", toml);
    let apply = async |more: &[&str]| {
        let words: Vec<_> =
            ["property", "apply", "-f", &file].into_iter().chain(more.iter().copied()).collect();
        operator.run(&words).await
    };
    let dry = apply(&["--dry-run"]).await.expect(0);
    assert_eq!(dry.stdout, "property demo would be created, generation 1\n");
    operator.run(&["property", "show", "demo"]).await.expect(3);
    assert_eq!(apply(&[]).await.expect(0).stdout, "property demo created, generation 1\n");
    assert_eq!(apply(&[]).await.expect(0).stdout, "property demo unchanged, generation 1\n");
    let shown = operator.run(&["property", "show", "demo"]).await.expect(0).json();
    assert_eq!(shown["property"]["hosts"], json!(["a.org"]));
    let list = operator.run(&["property", "list"]).await.expect(0);
    assert_eq!(
        list.stdout,
        "PROPERTY  GENERATION  HOSTS  ORIGINS\ndemo      1           a.org  127.0.0.1:1\n"
    );

    let twice = operator
        .file("twice.json", r#"{"id":"b","hosts":["a.org"],"origins":[{"authority":"b:1"}]}"#);
    operator.run(&["property", "apply", "-f", &twice]).await.expect(6);
    let junk = operator.file("junk.toml", "surprise = 1");
    operator.run(&["property", "apply", "-f", &junk]).await.expect(6);
    operator.run(&["property", "apply", "-f", "/no/such/file"]).await.expect(2);
    operator.run(&["property", "delete", "demo"]).await.expect(0);
    operator.run(&["property", "delete", "demo"]).await.expect(3);
}

#[tokio::test]
async fn an_operator_waits_until_a_property_runs_and_learns_who_refused_it() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let _purges = node.purge_lane(None).await.expect("enrolled");
    let mut lane = node.config_lane(0, b"").await.expect("enrolled");
    lane.applied().await;
    let operator = Operator::new(&control).await;
    let apply = async |host: &str, deadline: &str| {
        let toml =
            format!("id = \"demo\"\nhosts = [\"{host}\"]\n[[origins]]\nauthority = \"a:1\"\n");
        let file = operator.file("demo.toml", &toml);
        operator.run(&["property", "apply", "-f", &file, "--wait", "--deadline", deadline]).await
    };
    let node = async {
        lane.applied().await;
    };
    let (ran, ()) = tokio::join!(apply("a.org", "30s"), node);
    ran.expect(0);
    let late = apply("b.org", "20ms").await.expect(7);
    assert!(late.stderr.contains("fra/n1"), "{late:?}");
    let node = async {
        // The one that nobody waited for any more.
        lane.applied().await;
        let release = lane.release().await;
        lane.ack(release.generation, Some("no room")).await;
    };
    let (ran, ()) = tokio::join!(apply("c.org", "30s"), node);
    assert!(ran.expect(6).stderr.contains("no room"));
}

#[tokio::test]
async fn exit_codes_tell_scripts_what_went_wrong() {
    let control = TestControl::start().await;
    let read = control.token(&[Scope::Read]).await;
    let reader = Operator::with_token(&control, &read).await;
    reader.run(&["pop", "list"]).await.expect(0);
    reader.run(&["purge", "key", "a"]).await.expect(4);
    let stranger = Operator::with_token(&control, "tga_00_00").await;
    let refused = stranger.run(&["-o", "json", "pop", "list"]).await.expect(4);
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let error: Value = serde_json::from_str(&refused.stderr).expect("json");
    assert_eq!((&error["code"], &error["type"]), (&json!(4), &json!("/problem/unauthenticated")));

    let operator = Operator::new(&control).await;
    operator.run(&["purge", "status", "nothing"]).await.expect(3);
    operator.run(&["purge", "url", "ftp://a/b"]).await.expect(2);
    operator.run(&["purge", "key", "a b"]).await.expect(2);
    operator.run(&["pop", "frobnicate"]).await.expect(2);
    operator.run(&["--context", "other", "pop", "list"]).await.expect(3);
    let dead = operator.run(&["--server", "https://localhost:1", "pop", "list"]).await.expect(9);
    assert!(dead.stdout.is_empty() && !dead.stderr.is_empty(), "{dead:?}");
    operator.run(&["--server", "http://localhost:1", "pop", "list"]).await.expect(2);
    let homeless = tempfile::tempdir().expect("a folder");
    tidegate(homeless.path(), &["pop", "list"]).await.expect(2);
}

#[tokio::test]
async fn contexts_are_added_chosen_listed_and_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let run = async |words: &[&str]| tidegate(home.path(), words).await;
    run(&["context", "add", "a", "--server", "https://a"]).await.expect(0);
    run(&["context", "add", "b", "--server", "https://b"]).await.expect(0);
    run(&["context", "add", "c"]).await.expect(2);
    run(&["context", "use", "a"]).await.expect(0);
    run(&["context", "use", "z"]).await.expect(3);
    let list = run(&["context", "list"]).await.expect(0);
    assert_eq!(
        list.stdout,
        "CURRENT  NAME  SERVER\n*        a     https://a\n         b     https://b\n"
    );
    run(&["context", "remove", "a"]).await.expect(0);
    let list = run(&["context", "list", "-o", "json"]).await.expect(0).json();
    assert_eq!(list, json!([{"name": "b", "current": false, "server": "https://b"}]));
}

#[tokio::test]
async fn the_authority_is_replaced_and_the_operator_is_not_cut_off() {
    let control = TestControl::start().await;
    let operator = Operator::new(&control).await;
    let old = control.file("old-ca.pem", &control.ca_pem);
    let old = old.to_str().expect("text");
    let step =
        async |name| operator.run(&["ca", "rotate", name, "--reason", "a story", "--yes"]).await;
    assert_ne!(step("finish").await.code, 0, "nothing was begun");
    operator.run(&["--dry-run", "ca", "rotate", "begin"]).await.expect(0);
    let none = operator.run(&["ca", "rotate", "status"]).await.expect(0);
    assert!(!none.stdout.contains("next"), "a dry run begins nothing: {}", none.stdout);
    assert!(step("begin").await.expect(0).stdout.contains("next"));
    operator.run(&["ca", "trust"]).await.expect(0);
    assert!(step("switch").await.expect(0).stdout.contains("old"));
    operator.run(&["pop", "list"]).await.expect(0);
    let stranger = operator.run(&["--ca", old, "pop", "list"]).await;
    assert_ne!(stranger.code, 0, "who was not told does not believe it");
    step("finish").await.expect(0);
    operator.run(&["pop", "list"]).await.expect(0);
    // A control plane that begins anew goes on with the new one.
    let ca = control.data_dir().join("ca-2.pem");
    let control = control.restart().await;
    assert_eq!(control.ca_pem, std::fs::read_to_string(ca).expect("there"));
    control.call("GET", "/v1/pops", Value::Null).await.expect(200);
}
