//! Nodes of the DNS follow the fleet: what they are told and when, what they are asked, who holds the map.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_contract::{
    geo_feed::{FeedLine, PopCondition, Question, Reached, RoundTrips, SubnetRoundTrips},
    id::PopId,
    telemetry::{Report, SelfTest},
};
use tokio::sync::watch;

use crate::harness::{Answer, Feed, TelemetryLane, TestControl, condition, tidegate, until};

const ZONE: &str =
    "$TTL 60\n@ SOA ns1 admin 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n_steer TXT \"\"\n";

/// Two PoPs that have a place and one that has none, a zone, a policy; each PoP with a node that finds itself good.
pub(super) async fn fleet() -> (TestControl, Vec<TelemetryLane>) {
    let control = TestControl::start_with(|config| {
        let times = &mut config.drain;
        (times.dns, times.steering) = (Duration::ZERO, Duration::ZERO);
        (times.goaway, times.bgp) = (Duration::ZERO, Duration::ZERO);
    })
    .await;
    let mut lanes = Vec::new();
    for pop in ["fra", "nyc"] {
        control.edge(pop).await;
        lanes.push(control.node(pop, "n1").await.telemetry_lane().await.expect("enrolled"));
    }
    control.edge("lab").await;
    let site = |longitude: i32, address: &str| {
        let place = json!({"latitude": 50, "longitude": longitude});
        let site = json!({"place": place, "capacity_mbps": 5000, "addresses": [address]});
        json!({"role": "edge", "site": site})
    };
    let policy = json!({"ttl": "20s", "pathways": [{"id": "a", "pops": ["fra"]}]});
    let puts = json!([
        {"kind": "pop", "name": "fra", "spec": site(8, "192.0.2.1")},
        {"kind": "pop", "name": "nyc", "spec": site(-74, "192.0.2.2")},
        {"kind": "dns_zone", "name": "cdn.example", "spec": {"zone": ZONE}},
        {"kind": "steering_policy", "name": "all", "spec": policy},
    ]);
    let change = json!({"title": "places", "reason": "a fleet", "puts": puts});
    let made = control.call("POST", "/v1/changes", change).await.expect(201);
    let path = format!("/v1/changes/{}/publish", made.body["id"].as_str().expect("an id"));
    control.call("POST", &path, json!({"stage": "fast", "reason": "a fleet"})).await.expect(200);
    (control, lanes)
}

async fn is_good(lane: &TelemetryLane, is_good: bool) {
    let self_test = SelfTest { is_good, ..SelfTest::default() };
    lane.report(&Report { self_test, ..Report::default() }).await;
}

pub(super) async fn follow(control: &TestControl, node: &str) -> Feed {
    let token = control.token_of(&["geo".to_owned()], node).await;
    Feed::open(control, &token, node).await
}

fn batch(pop: &str) -> RoundTrips {
    let subnet = "192.0.2.0/24".parse().expect("a network");
    let centroids = vec![(12.0, 30.0)];
    let at = [203, 0, 113, 1].into();
    let reached = vec![Reached { at, connections: 3, sent_bytes: 9 }];
    let one = SubnetRoundTrips { subnet, centroids, sent_bytes: 9, reached };
    RoundTrips { pop: PopId::parse(pop).ok(), period_ms: 10_000, subnets: vec![one] }
}

#[tokio::test]
async fn who_follows_is_told_the_fleet_first_and_every_change_of_it() {
    let (control, lanes) = fleet().await;
    let stranger = control.token_of(&["read".to_owned()], "a viewer").await;
    control.call_as(&stranger, "GET", "/v1/geo/feed", Value::Null).await.expect(403);
    let (well, is_well) = watch::channel(true);
    // Both say every moment how they are, as nodes do.
    tokio::spawn(async move {
        loop {
            is_good(&lanes[0], true).await;
            let is_nyc_well = *is_well.borrow();
            is_good(&lanes[1], is_nyc_well).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let mut feed = follow(&control, "geo-1").await;
    assert!(matches!(feed.next().await, Some(FeedLine::Fleet(_))), "the fleet comes first");
    let mut again = follow(&control, "geo-2").await;
    let up = Some((PopCondition::Up, 1.0));
    let view =
        again.fleet(|view| condition(view, "fra") == up && condition(view, "nyc") == up).await;
    assert_eq!(view.pops.len(), 2, "what has no place is nowhere on the map");
    assert_eq!((view.pops[0].capacity_mbps, view.pops[0].port), (5000.0, 443));
    assert_eq!(view.zones["cdn.example"], ZONE);
    assert_eq!((view.steering.len(), view.frozen), (1, None));
    let nodes = control.call("GET", "/v1/dns/nodes", Value::Null).await.expect(200);
    let names: Vec<_> = nodes.body["items"].as_array().expect("a list").iter().collect();
    assert_eq!((&names[0]["node"], &names[1]["node"]), (&json!("geo-1"), &json!("geo-2")));
    assert_eq!(names[1]["version"], view.version);

    // A drain is told as soon as its DNS stage has begun; nobody has to ask for it.
    let body = json!({"reason": "new switches", "to_level": "dns"});
    control.call("POST", "/v1/pops/fra/drain", body).await.expect(202);
    feed.fleet(|view| condition(view, "fra") == Some((PopCondition::Draining, 1.0))).await;
    control.call("DELETE", "/v1/pops/fra/drain?slow_start=1h", Value::Null).await.expect(200);
    let is_returning = |(state, weight)| state == PopCondition::Up && weight < 0.2;
    feed.fleet(|view| condition(view, "fra").is_some_and(is_returning)).await;

    // Its own word is enough to be taken out.
    well.send_replace(false);
    let is_down = |(state, _)| state == PopCondition::Down;
    feed.fleet(|view| condition(view, "nyc").is_some_and(is_down)).await;
    drop((feed, again));
    until(async || {
        let nodes = control.call("GET", "/v1/dns/nodes", Value::Null).await.expect(200);
        nodes.body["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_follows_counts_as_somebody_whom_drains_wait_for_until_they_were_told() {
    let (control, lanes) = fleet().await;
    is_good(&lanes[0], true).await;
    let standing = |revision| {
        let now = control.drains.anycast().now_unix_ms();
        control.drains.readers().standing(revision, now)
    };
    assert_eq!(standing(0), (false, true), "nobody follows");
    let mut feed = follow(&control, "geo-1").await;
    feed.fleet(|_| true).await;
    control.call("POST", "/v1/pops/fra/drain", json!({"reason": "a look"})).await.expect(202);
    let is_draining = |(state, _)| state == PopCondition::Draining;
    feed.fleet(|view| condition(view, "fra").is_some_and(is_draining)).await;
    // Being told is enough: the node need not say that it was.
    let revision = *control.drains.head().borrow();
    until(async || (standing(revision) == (true, true)).then_some(())).await;
    assert_eq!(standing(revision + 1_000_000), (true, false), "of what is to come nobody was told");
}

#[tokio::test]
async fn a_batch_is_of_the_pop_whose_certificate_sent_it_and_a_bad_one_ends_the_lane() {
    let (control, mut lanes) = fleet().await;
    let (mut one, mut other) = (follow(&control, "geo-1").await, follow(&control, "geo-2").await);
    one.fleet(|_| true).await;
    other.fleet(|_| true).await;
    lanes[0].round_trips(&batch("nyc")).await;
    for feed in [&mut one, &mut other] {
        let heard = feed.round_trips().await;
        assert_eq!(heard.pop.as_ref().map(PopId::as_str), Some("fra"), "not the one that it names");
        assert_eq!((heard.subnets, heard.period_ms), (batch("fra").subnets, 10_000));
    }
    let mut single = batch("fra");
    single.subnets[0].subnet = "192.0.2.7/32".parse().expect("a network");
    lanes[0].round_trips(&single).await;
    let end = lanes[0].end().await;
    assert!(end.message().contains("192.0.2.7/32"), "{end:?}");
}

#[tokio::test]
async fn a_question_is_answered_by_who_was_asked() {
    let (control, _lanes) = fleet().await;
    let path = "/v1/dns/resolve?name=cdn.example&client=198.51.100.7";
    let nobody = control.call("GET", path, Value::Null).await.expect(503);
    assert!(nobody.body["detail"].as_str().expect("text").contains("no geo node"));
    for bad in ["name=&client=192.0.2.1", "name=a&client=192.0.2.1&type=A%20B"] {
        control.call("GET", &format!("/v1/dns/resolve?{bad}"), Value::Null).await.expect(422);
    }
    let mut feed = follow(&control, "geo-1").await;
    feed.fleet(|_| true).await;
    let other = control.token_of(&["geo".to_owned()], "another").await;
    let node = async {
        let (id, question) = feed.question().await;
        let resolve = Question::Resolve {
            name: "cdn.example".into(),
            record: "A".into(),
            client: [198, 51, 100, 7].into(),
            subnet: None,
        };
        assert_eq!(question, resolve);
        Feed::answer(&control, &other, id, json!({"pop": "nyc"})).await.expect(404);
        let token = feed.token().to_owned();
        Feed::answer(&control, &token, id, json!({"pop": "fra"})).await.expect(204);
        Feed::answer(&control, &token, id, json!({"pop": "fra"})).await.expect(404);
        let (id, question) = feed.question().await;
        assert_eq!(question, Question::MapDiff { ago_seconds: 90 });
        Feed::answer(&control, &token, id, json!({"error": "that is too long ago"}))
            .await
            .expect(204);
    };
    let operator = async {
        let answer = control.call("GET", path, Value::Null).await.expect(200);
        assert_eq!(answer.body, json!({"node": "geo-1", "answer": {"pop": "fra"}}));
        let diff = control.call("GET", "/v1/dns/map/diff?ago=90s", Value::Null).await.expect(422);
        assert_eq!(diff.body["detail"], "that is too long ago");
    };
    tokio::join!(node, operator);
}

#[tokio::test]
async fn the_map_is_held_with_a_reason_over_a_restart_until_somebody_lets_it_go() {
    let (control, lanes) = fleet().await;
    drop(lanes);
    let mut feed = follow(&control, "geo-1").await;
    feed.fleet(|view| view.frozen.is_none()).await;
    let reason = json!({"reason": "a fibre is cut"});
    let network = control.token_of(&["dns:write".to_owned(), "read".to_owned()], "net").await;
    control.call("POST", "/v1/dns/map/thaw", reason.clone()).await.expect(404);
    control.call("POST", "/v1/dns/map/freeze", json!({"reason": " "})).await.expect(422);
    let viewer = control.token_of(&["read".to_owned()], "viewer").await;
    control.call_as(&viewer, "POST", "/v1/dns/map/freeze", reason.clone()).await.expect(403);
    // Another person may approve, so another person must.
    let freeze = async |approval: &str| {
        let request = control.request("POST", "/v1/dns/map/freeze").bearer_auth(&network);
        Answer::of(request.header("tidegate-approval", approval).json(&reason)).await
    };
    let asked = control.call_as(&network, "POST", "/v1/dns/map/freeze", reason.clone()).await;
    let id = asked.expect(409).body["approval"].as_str().expect("an id").to_owned();
    control.call("POST", &format!("/v1/approvals/{id}/approve"), json!({})).await.expect(200);
    let frozen = freeze(&id).await.expect(200);
    assert_eq!(frozen.body["frozen"]["by"], "net");
    feed.fleet(|view| view.frozen.as_deref() == Some("a fibre is cut")).await;
    let audit = control.call("GET", "/v1/audit?limit=500", Value::Null).await.expect(200);
    assert!(audit.body.to_string().contains("freeze the DNS map"), "{}", audit.body);

    let token = feed.token().to_owned();
    let (restarted, ()) =
        tokio::join!(control.restart(), async { while feed.next().await.is_some() {} });
    let mut feed = Feed::open(&restarted, &token, "geo-1").await;
    feed.fleet(|view| view.frozen.as_deref() == Some("a fibre is cut")).await;
    restarted.call("POST", "/v1/dns/map/thaw", reason).await.expect(200);
    let view = feed.fleet(|view| view.frozen.is_none()).await;
    assert_eq!(view.zones.len(), 1);
    // A token that is revoked follows no more.
    let id = token.split('_').nth(1).expect("an id");
    restarted.call("DELETE", &format!("/v1/tokens/{id}"), Value::Null).await.expect(204);
    while feed.next().await.is_some() {}
}

#[tokio::test]
async fn a_zone_that_no_node_would_serve_is_refused_with_its_line() {
    let control = TestControl::start().await;
    let put = async |zone: &str| {
        let spec = json!({"kind": "dns_zone", "name": "cdn.example", "spec": {"zone": zone}});
        control.call("PUT", "/v1/resources/dns_zone/cdn.example", spec).await
    };
    put(ZONE).await.expect(201);
    for (zone, reason) in [
        (format!("{ZONE}www A 192.0.2.300\n"), "line 6"),
        (format!("{ZONE}$INCLUDE /etc/hostname\n"), "$INCLUDE"),
        (format!("{ZONE}_steer.a TXT \"ttl=3\"\n"), "there is no option"),
        ("@ A 192.0.2.1".to_owned(), ""),
    ] {
        let refused = put(&zone).await.expect(422);
        let detail = refused.body["detail"].as_str().expect("text");
        assert!(
            detail.starts_with("dns_zone/cdn.example: ") && detail.contains(reason),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn only_so_many_follow_one_replica() {
    let control = TestControl::start().await;
    let token = control.token_of(&["geo".to_owned()], "geo").await;
    let mut feeds = Vec::new();
    for number in 0..64 {
        feeds.push(Feed::open(&control, &token, &format!("n{number}")).await);
    }
    control.call_as(&token, "GET", "/v1/geo/feed", Value::Null).await.expect(503);
    feeds.pop();
    let mut feed = until(async || {
        let request = control.request("GET", "/v1/geo/feed?node=again").bearer_auth(&token);
        let response = request.send().await.expect("an answer");
        (response.status() == 200).then_some(response)
    })
    .await;
    assert!(feed.chunk().await.expect("open").is_some_and(|line| line.starts_with(b"{\"fleet\"")));
}

#[tokio::test]
async fn an_operator_asks_the_dns_from_the_command_line() {
    let (control, _lanes) = fleet().await;
    let home = tempfile::tempdir().expect("a folder");
    let (token, ca) = (control.file("t", &control.admin), control.file("ca.pem", &control.ca_pem));
    let server = format!("https://localhost:{}", control.api.port());
    let run = async |words: &[&str]| {
        let (token, ca) = (token.to_str().expect("text"), ca.to_str().expect("text"));
        let place = ["--server", &server, "--token-file", token, "--ca", ca];
        tidegate(home.path(), &[&place[..], words].concat()).await
    };
    run(&["dns", "nodes"]).await.expect(1);
    let resolve = ["dns", "resolve", "cdn.example", "--client", "198.51.100.7", "--explain"];
    let nobody = run(&resolve).await.expect(9);
    assert!(nobody.stderr.contains("no geo node follows"), "{nobody:?}");
    let mut feed = follow(&control, "geo-1").await;
    feed.fleet(|_| true).await;
    let listed = run(&["dns", "nodes"]).await.expect(0);
    assert!(listed.stdout.contains("geo-1"), "{listed:?}");
    let node = async {
        let token = feed.token().to_owned();
        for _ in 0..6 {
            let (id, question) = feed.question().await;
            let answer = match question {
                Question::Resolve { .. } => json!({
                    "answer": {"code": "No Error", "answers": ["cdn.example. 20 IN A 192.0.2.1"]},
                    "explanation": {
                        "pop": "fra", "reason": "nearest", "ttl_seconds": 20,
                        "candidates": [{"pop": "fra", "rtt_ms": 12.0, "measured_ms": 12.0}],
                    },
                }),
                Question::Map {} => json!({"round": 3, "pops": [{"pop": "fra", "share": 0.75}]}),
                Question::MapDiff { .. } => json!({"moves": [{"from": "fra", "to": "nyc"}]}),
                other => panic!("nobody asked that: {other:?}"),
            };
            Feed::answer(&control, &token, id, answer).await.expect(204);
        }
    };
    let operator = async {
        let told = run(&resolve).await.expect(0);
        for words in ["cdn.example. 20 IN A 192.0.2.1", "fra: nearest, for 20 s", "12.0"] {
            assert!(told.stdout.contains(words), "{told:?}");
        }
        let json = run(&[&resolve[..], &["-o", "json"]].concat()).await.expect(0).json();
        assert_eq!(json["answer"]["explanation"]["pop"], "fra");
        for words in [&resolve[..], &["dns", "map", "show"]] {
            let names = run(&[words, &["-o", "name"]].concat()).await.expect(0);
            assert_eq!(names.stdout, "fra\n");
        }
        let map = run(&["dns", "map", "show"]).await.expect(0);
        assert!(map.stdout.contains("75 %") && map.stderr.contains("round: 3"), "{map:?}");
        let diff = run(&["dns", "map", "diff", "--ago", "1h"]).await.expect(0);
        assert!(diff.stdout.contains("nyc"), "{diff:?}");
    };
    tokio::join!(node, operator);
    run(&["dns", "map", "freeze", "--yes"]).await.expect(2);
    run(&["dns", "map", "freeze", "--reason", "x"]).await.expect(8);
    run(&["dns", "map", "freeze", "--reason", "a cut", "--dry-run"]).await.expect(0);
    run(&["dns", "map", "thaw", "--reason", "none", "--yes"]).await.expect(3);
    run(&["dns", "map", "freeze", "--reason", "a cut", "--yes"]).await.expect(0);
    feed.fleet(|view| view.frozen.as_deref() == Some("a cut")).await;
    let thawed = run(&["dns", "map", "thaw", "--reason", "mended", "--yes"]).await.expect(0);
    assert!(thawed.stdout.contains("not frozen"), "{thawed:?}");
}
