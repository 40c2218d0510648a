//! Five sites with obedient nodes: drains go through their stages, interlocks hold, operators see all of it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tidegate_contract::{
    anycast::Level,
    telemetry::{Load, Orders, Report, SelfTest, SpeakerReport},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::harness::{Person, TelemetryLane, TestControl, tidegate, until};

/// A node that does as it is told and says so.
pub(super) struct Obedient {
    orders: watch::Receiver<Orders>,
    task: JoinHandle<()>,
}

impl Obedient {
    fn start(mut lane: TelemetryLane) -> Self {
        let (told, orders) = watch::channel(Orders::default());
        let task = tokio::spawn(async move {
            let mut levels: BTreeMap<_, _> =
                ["p1", "p2"].map(|id| (id.parse().expect("good"), Level::Normal)).into();
            loop {
                tokio::select! {
                    orders = lane.orders() => {
                        for (prefix, order) in &orders.levels {
                            levels.insert(prefix.clone(), order.level.clone());
                        }
                        told.send_replace(orders);
                    }
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
                let (levels, is_leaving) = (levels.clone(), told.borrow().is_leaving);
                let speaker = SpeakerReport { is_up: true, levels, ..SpeakerReport::default() };
                lane.report(&Report {
                    self_test: SelfTest { is_good: true, ..SelfTest::default() },
                    load: Load { connections: 3, ..Load::default() },
                    speaker: Some(speaker),
                    is_leaving,
                    ..Report::default()
                })
                .await;
            }
        });
        Self { orders, task }
    }
}

impl Drop for Obedient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Five sites in one group of two prefixes, all of them good.
pub(super) async fn fleet() -> (TestControl, Vec<Obedient>) {
    let control = TestControl::start_with(|config| {
        let times = &mut config.drain;
        (times.dns, times.steering) = (Duration::ZERO, Duration::ZERO);
        (times.goaway, times.bgp) = (Duration::ZERO, Duration::ZERO);
    })
    .await;
    let mut puts = vec![
        json!({"kind": "prefix", "name": "p1", "spec": {"block": "192.0.2.0/25"}}),
        json!({"kind": "prefix", "name": "p2", "spec": {"block": "192.0.2.128/25"}}),
        json!({"kind": "anycast_group", "name": "video", "spec": {"prefixes": ["p1", "p2"]}}),
    ];
    let mut nodes = Vec::new();
    for (number, pop) in SITES.iter().enumerate() {
        control.edge(pop).await;
        let longitude = (number * number) as f64;
        let site = json!({
            "place": {"latitude": 50.0, "longitude": longitude}, "capacity_mbps": 1000,
            "addresses": [format!("192.0.2.{number}")], "anycast_groups": ["video"],
        });
        puts.push(json!({"kind": "pop", "name": pop, "spec": {"role": "edge", "site": site}}));
        let node = control.node(pop, "n1").await;
        nodes.push(Obedient::start(node.telemetry_lane().await.expect("enrolled")));
    }
    let change = json!({"title": "sites", "reason": "a fleet", "puts": puts});
    let made = control.call("POST", "/v1/changes", change).await.expect(201);
    let path = format!("/v1/changes/{}/publish", made.body["id"].as_str().expect("an id"));
    let publish = json!({"stage": "fast", "reason": "a fleet"});
    control.call("POST", &path, publish).await.expect(200);
    until(async || {
        let list = control.call("GET", "/v1/health", Value::Null).await.expect(200);
        let items = list.body["items"].as_array().expect("a list").clone();
        items.iter().all(|pop| pop["health"] == "good").then_some(())
    })
    .await;
    (control, nodes)
}

async fn stage(control: &TestControl, pop: &str) -> (String, Value) {
    let path = format!("/v1/pops/{pop}/drain");
    let answer = control.call("GET", &path, Value::Null).await.expect(200);
    (answer.body["stage"].as_str().expect("a stage").to_owned(), answer.body)
}

async fn share(control: &TestControl, pop: &str) -> u64 {
    let fleet = control.call("GET", "/v1/fleet", Value::Null).await.expect(200);
    let items = fleet.body["items"].as_array().expect("a list").clone();
    let item = items.iter().find(|item| item["pop"] == pop).expect("there");
    item["weight_percent"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_pop_is_drained_to_the_end_and_comes_back_and_a_second_one_has_to_wait() {
    let (control, nodes) = fleet().await;
    assert_eq!(share(&control, "ams").await, 100);
    let path = "/v1/pops/ams/drain";
    let body = json!({"reason": "new switches"});
    let plan =
        control.call("POST", &format!("{path}?dry_run=true"), body.clone()).await.expect(200);
    assert_eq!(plan.body[0]["changes"]["p1"], json!(["normal", "withdrawn"]));
    control.call("GET", path, Value::Null).await.expect(404);
    control.call("POST", path, json!({"reason": " "})).await.expect(422);
    control.call("POST", path, body.clone()).await.expect(202);
    control.call("POST", path, body.clone()).await.expect(412);
    until(async || (stage(&control, "ams").await.0 == "withdrawn").then_some(())).await;
    assert_eq!(share(&control, "ams").await, 0);
    let is_gone = |orders: &Orders| {
        let levels = &orders.levels;
        orders.is_leaving
            && levels.len() == 2
            && levels.values().all(|o| o.level == Level::Withdrawn)
    };
    nodes[0].orders.clone().wait_for(is_gone).await.expect("told");
    assert!(nodes[1].orders.borrow().levels.is_empty(), "the neighbour was told nothing");

    // Another fifth of the capacity is too much.
    let refused = control.call("POST", "/v1/pops/lon/drain", body.clone()).await.expect(423);
    assert!(refused.body["detail"].as_str().expect("text").contains("40 %"), "{}", refused.body);
    // But DNS alone is no matter of routes.
    let gentle = json!({"reason": "a look", "to_level": "dns"});
    control.call("POST", "/v1/pops/lon/drain", gentle).await.expect(202);
    until(async || (stage(&control, "lon").await.1["is_done"] == true).then_some(())).await;

    control.call("DELETE", &format!("{path}?slow_start=1h"), Value::Null).await.expect(200);
    let is_back = |orders: &Orders| {
        !orders.is_leaving && orders.levels.values().all(|order| order.level == Level::Normal)
    };
    nodes[0].orders.clone().wait_for(is_back).await.expect("told");
    assert_eq!(stage(&control, "ams").await.0, "returning");
    assert!(share(&control, "ams").await < 100);
}

#[tokio::test]
async fn no_drain_waits_for_a_reader_that_is_gone_but_every_one_for_those_that_are_here() {
    let (control, _nodes) = fleet().await;
    let fleet = control.call("GET", "/v1/fleet?reader=geo-1&seen=0", Value::Null).await.expect(200);
    let body = json!({"reason": "a look"});
    control.call("POST", "/v1/pops/fra/drain", body).await.expect(202);
    until(async || (stage(&control, "fra").await.0 == "dns").then_some(())).await;
    let seen = format!("/v1/fleet?reader=geo-1&seen={}", fleet.body["revision"]);
    control.call("GET", &seen, Value::Null).await.expect(200);
    // Each stage is a new state, which the reader has to say that it has seen.
    until(async || {
        let fleet = control.call("GET", "/v1/fleet", Value::Null).await.expect(200);
        let seen = format!("/v1/fleet?reader=geo-1&seen={}", fleet.body["revision"]);
        control.call("GET", &seen, Value::Null).await.expect(200);
        (stage(&control, "fra").await.0 == "withdrawn").then_some(())
    })
    .await;
}

#[tokio::test]
async fn levels_are_set_by_hand_within_the_interlock() {
    let (control, nodes) = fleet().await;
    let path = "/v1/anycast/video/level";
    let body = |pop: &str, level: &str| json!({"pop": pop, "level": level, "reason": "a test"});
    let set = control.call("POST", path, body("ams", "prepend-2")).await.expect(200);
    assert_eq!(set.body["epoch"], 1);
    let is_told = |orders: &Orders| orders.levels.values().any(|o| o.level == Level::Prepend(2));
    nodes[0].orders.clone().wait_for(is_told).await.expect("told");
    control.call("POST", path, body("ams", "prepend-9")).await.expect(400);
    control.call("POST", path, body("nowhere", "normal")).await.expect(423);
    control.call("POST", "/v1/anycast/none/level", body("ams", "normal")).await.expect(404);

    let frozen = json!({"is_frozen": true});
    control.call("PUT", "/v1/anycast/video/interlock", frozen).await.expect(200);
    control.call("POST", path, body("lon", "gshut")).await.expect(423);
    control.call("POST", path, body("ams", "normal")).await.expect(200);
    let interlock =
        control.call("GET", "/v1/anycast/video/interlock", Value::Null).await.expect(200);
    assert_eq!(interlock.body["min_announcing"], 2);

    // Ten operators at once: the record is compared and swapped, so that no more than a fifth goes.
    control.call("PUT", "/v1/anycast/video/interlock", json!({})).await.expect(200);
    let all =
        SITES.iter().chain(&SITES).map(|pop| control.call("POST", path, body(pop, "withdrawn")));
    let answers = futures::future::join_all(all).await;
    let list = control.call("GET", "/v1/anycast", Value::Null).await.expect(200);
    let pops = list.body["items"][0]["pops"].as_array().expect("a list").clone();
    let gone = pops.iter().filter(|pop| pop["told"]["p1"]["level"] == "withdrawn").count();
    assert_eq!(gone, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_operator_drains_a_pop_from_the_command_line() {
    let (control, _nodes) = fleet().await;
    let home = tempfile::tempdir().expect("a folder");
    let (token, ca) = (control.file("t", &control.admin), control.file("ca.pem", &control.ca_pem));
    let server = format!("https://localhost:{}", control.api.port());
    let run = async |words: &[&str]| {
        let (token, ca) = (token.to_str().expect("text"), ca.to_str().expect("text"));
        let place = ["--server", &server, "--token-file", token, "--ca", ca];
        tidegate(home.path(), &[&place[..], words].concat()).await
    };
    let drain = ["pop", "drain", "ams", "--reason", "new switches"];
    let asked = run(&drain).await.expect(8);
    assert!(asked.stderr.contains("plan: video p1 at ams: normal -> withdrawn"), "{asked:?}");
    let shown = run(&[&drain[..], &["--dry-run"]].concat()).await.expect(0);
    assert!(shown.stderr.contains("is expected at"), "{shown:?}");
    let ann = Person::with_token(&control, &control.admin).await;
    let mut watching = ann.watch(&["bgp", "status", "-w"]);
    watching.sees("normal").await;
    let done = run(&[&drain[..], &["--yes", "--wait"]].concat()).await.expect(0);
    assert!(done.stdout.contains("withdrawn"), "{done:?}");
    run(&["pop", "drain", "lon", "--reason", "too", "--yes"]).await.expect(8);
    watching.sees("withdrawn").await;
    assert_eq!(watching.interrupt().await, 130);
    let status = run(&["bgp", "status"]).await.expect(0);
    assert!(status.stdout.contains("withdrawn"), "{status:?}");
    run(&["health", "summary"]).await.expect(0);
    run(&["health", "probe", "ams"]).await.expect(0);
    run(&["bgp", "interlock", "show", "video"]).await.expect(0);
    run(&["bgp", "withdraw", "video", "--pop", "lon", "--reason", "x", "--yes"]).await.expect(8);
    run(&["bgp", "configure", "--pop", "lon", "--undo-after", "30s"]).await.expect(0);
    run(&["bgp", "confirm", "--pop", "lon"]).await.expect(0);
    let set = ["bgp", "interlock", "set", "video", "--min-announcing", "4"];
    let plan = run(&[&set[..], &["--dry-run", "-o", "json"]].concat()).await.expect(0);
    assert_eq!(plan.json()["min_announcing"], 4, "{plan:?}");
    let stays = run(&["bgp", "interlock", "show", "video", "-o", "json"]).await.expect(0).json();
    assert_ne!(stays["min_announcing"], 4, "{stays}");
    let undrain = ["pop", "undrain", "ams", "--slow-start", "1h"];
    let plan = run(&[&undrain[..], &["--dry-run"]].concat()).await.expect(0);
    for said in ["plan: video p1 at ams: withdrawn -> normal", "grows for 1h"] {
        assert!(plan.stderr.contains(said), "{said}: {plan:?}");
    }
    run(&["pop", "undrain", "lon", "--dry-run"]).await.expect(3);
    let status = run(&["bgp", "status"]).await.expect(0);
    assert!(status.stdout.contains("withdrawn"), "nothing came back: {status:?}");
    run(&undrain).await.expect(0);
    run(&["pop", "undrain", "lon"]).await.expect(3);
}

const SITES: [&str; 5] = ["ams", "lon", "fra", "nyc", "sin"];
