//! `apply --wait`: until a release is where it shall be, and what is said when it does not get there.

use crate::{
    harness::{Person, TestControl},
    releases::quick,
};

fn origin(authority: &str) -> String {
    format!("kind: origin\nname: main\nspec: {{authority: \"{authority}\"}}\n")
}

#[tokio::test]
async fn who_applies_waits_for_every_stage_for_a_canary_or_learns_who_refused() {
    let control = TestControl::start_with(quick).await;
    for pop in ["ams", "fra"] {
        control.edge(pop).await;
    }
    let mut lanes = Vec::new();
    for pop in ["ams", "fra"] {
        let mut lane = control.node(pop, "n1").await.config_lane(0, b"").await.expect("enrolled");
        lane.applied().await;
        lanes.push(lane);
    }
    let [mut ams, mut fra] = <[_; 2]>::try_from(lanes).unwrap_or_else(|_| panic!("two"));
    let ann = Person::with_token(&control, &control.admin).await;
    let apply = async |authority: &str, more: &[&str]| {
        let file = ann.file("main.yaml", &origin(authority));
        ann.run(&[&["apply", "-f", &file, "--wait"], more].concat()).await
    };
    let nodes = async {
        fra.applied().await;
        ams.applied().await;
    };
    let (all, ()) = tokio::join!(apply("a:1", &[]), nodes);
    let all = all.expect(0);
    assert!(all.stdout.contains("published") && all.stderr.contains("is everywhere"), "{all:?}");

    // Nobody takes it: the deadline is told, with what it waits for, and the release goes on.
    let late = apply("b:1", &["--deadline", "1s", "-o", "json"]).await.expect(7);
    let error: serde_json::Value =
        serde_json::from_str(late.stderr.lines().last().expect("a line")).expect("json");
    assert_eq!(error["code"], 7);
    assert!(error["message"].as_str().expect("text").contains("fra/n1"), "{error}");
    assert!(late.json()["version"].is_u64(), "the version is data");
    fra.applied().await;
    ams.applied().await;

    let canary = async {
        fra.applied().await;
    };
    ann.run(&["release", "status", "-w"]).await.expect(0);
    let (ran, ()) = tokio::join!(apply("c:1", &["--stage", "canary"]), canary);
    let ran = ran.expect(0);
    assert!(ran.stderr.contains("runs on fra; tidegate release promote"), "{ran:?}");
    ann.run(&["release", "resume"]).await.expect(0);
    ams.applied().await;
    ann.run(&["release", "status", "-w"]).await.expect(0);

    let refuses = async {
        let release = fra.release().await;
        fra.ack(release.generation, Some("no room")).await;
    };
    let (ran, ()) = tokio::join!(apply("d:1", &[]), refuses);
    let ran = ran.expect(6);
    assert!(ran.stderr.contains("no room") || ran.stderr.contains("taken back"), "{ran:?}");
    apply("e:1", &["--no-publish"]).await.expect(2);
}
