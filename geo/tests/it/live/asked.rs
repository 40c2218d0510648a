//! What operators ask through the feed beside the map: resolvers with a subnet, players, who lands where, zones.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_contract::{
    geo_feed::{
        FeedLine, FleetView, PopCondition, Question, Reached, RoundTrips, SubnetRoundTrips,
    },
    resource::ResourceName,
    zone_keys::{KeyProposal, ProvenSet},
};
use tidegate_geo::config::Config;

use super::{
    control::{FakeControl, token_file},
    node::{Settings, TestNode, id, view_of_none},
};
use crate::dnssec_node::{SignedNode, has};

/// Questions one after the other: only so many are answered at one time.
async fn ask(node: &TestNode, control: &FakeControl, questions: Vec<Question>) -> Vec<Value> {
    let mut answers = Vec::new();
    for question in questions {
        let id = 1000 + control.answers().len() as u64;
        control.tell(&FeedLine::Question { id, question });
        let is_answered = |_: &TestNode| control.answers().iter().any(|(known, _)| *known == id);
        node.until("an answer", is_answered).await;
        let all = control.answers();
        answers.extend(all.into_iter().find(|(known, _)| *known == id).map(|(_, answer)| answer));
    }
    answers
}

#[tokio::test]
async fn operators_see_what_a_resolver_with_a_subnet_and_a_player_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    let mut settings = Settings::following(&[control.url()], folder.path());
    let policy = json!({"ttl": "20s", "pathways": [
        {"id": "main", "pops": []},
        {"id": "b", "pops": ["b"], "host": "b.v.example"},
        {"id": "c", "pops": ["c"], "host": "c.v.example"},
    ]});
    let name = ResourceName::parse("video").expect("a name");
    settings.policies = [(name, serde_json::from_value(policy).expect("good"))].into();
    let node = settings.start();
    let mut view = view_of_none(1, 3);
    control.tell_fleet(&view);
    node.until_pop("10.2.0.1", "c").await;

    // The resolver is near b, its client near c; beyond a /24 nothing is honoured.
    let resolver = "10.1.0.1".parse().expect("an address");
    let resolve = |subnet: Option<&str>| Question::Resolve {
        name: "www.v.example".to_owned(),
        record: "A".to_owned(),
        client: resolver,
        subnet: subnet.map(|subnet| subnet.parse().expect("a network")),
    };
    let questions = vec![resolve(None), resolve(Some("10.2.3.77/32")), resolve(Some("0.0.0.0/0"))];
    let told = ask(&node, &control, questions).await;
    let seen = |answer: &Value| {
        let record = answer["answer"]["answers"][0].as_str().expect("a record").to_owned();
        let address = record.rsplit(' ').next().expect("an address").to_owned();
        (address, answer["explanation"]["pop"].clone(), answer["explanation"]["client"].clone())
    };
    assert_eq!(seen(&told[0]), ("192.0.2.2".into(), json!("b"), json!("10.1.0.1")));
    assert_eq!(seen(&told[1]), ("192.0.2.3".into(), json!("c"), json!("10.2.3.0")));
    // Nothing is told of the client: the resolver itself is answered, for everybody.
    assert_eq!(seen(&told[2]), ("192.0.2.2".into(), json!("b"), json!("10.1.0.1")));
    let scope = |answer: &Value| answer["answer"]["scope"].as_u64().expect("a number");
    assert!((1..=24).contains(&scope(&told[1])) && scope(&told[2]) == 0, "{told:?}");

    let steer = |asset: &str, pathway: Option<&str>| Question::Steer {
        asset: asset.to_owned(),
        policy: None,
        pathway: pathway.map(str::to_owned),
        client: "10.2.0.1".parse().expect("an address"),
    };
    let questions = vec![
        steer("/v/1/main.m3u8", None),
        steer("https://steer.v.example/steering/video?_HLS_pathway=b", None),
        steer("/v/1/main.m3u8", Some("nowhere")),
    ];
    let told = ask(&node, &control, questions).await;
    let order = |answer: &Value| answer["manifest"]["PATHWAY-PRIORITY"].clone();
    assert_eq!(
        (order(&told[0]), &told[0]["policy_by"]),
        (json!(["main", "c", "b"]), &json!("only"))
    );
    // Where it is, is fine.
    assert_eq!(
        (order(&told[1]), &told[1]["outcome"]),
        (json!(["b", "main", "c"]), &json!("stayed"))
    );
    assert_eq!(
        (&told[0]["explanation"]["pop"], &told[1]["policy_by"]),
        (&json!("c"), &json!("asset"))
    );
    assert!(told[2]["error"].as_str().is_some_and(|text| text.contains("main, b, c")), "{told:?}");

    // A PoP that drains: the session is told to leave, and why can be seen.
    view.version = 2;
    view.pops[1].state = PopCondition::Draining;
    control.tell_fleet(&view);
    node.until_pop("10.1.0.1", "a").await;
    let told = ask(&node, &control, vec![steer("/steering/video", Some("b"))]).await;
    assert_eq!(
        (order(&told[0]), &told[0]["outcome"]),
        (json!(["c", "main", "b"]), &json!("moved"))
    );
    let pathways = &told[0]["pathways"];
    assert_eq!(
        (&pathways[0]["standing"], &pathways[1]["standing"]),
        (&json!("partly"), &json!("leaving"))
    );
    assert_eq!(pathways[1]["not_up"], json!({"b": "draining"}));
}

#[tokio::test]
async fn operators_see_who_lands_at_an_anycast_address_and_how_far_from_where_they_belong() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    control.tell_fleet(&view_of_none(1, 3));
    let node = Settings::following(&[control.url()], folder.path()).start();
    node.until_pop("10.2.0.1", "c").await;
    let tell = |pop: usize, subnet: &str, ms: f64, at: &str, connections: u32| {
        let reached = Reached {
            at: at.parse().expect("an address"),
            connections,
            sent_bytes: u64::from(connections) * 1000,
        };
        let one = SubnetRoundTrips {
            subnet: subnet.parse().expect("a network"),
            centroids: vec![(ms, 10.0)],
            sent_bytes: reached.sent_bytes,
            reached: vec![reached],
        };
        let pop = Some(id(pop));
        control.tell(&FeedLine::RoundTrips(RoundTrips {
            pop,
            period_ms: 10_000,
            subnets: vec![one],
        }));
    };
    let catchment = |pop: Option<usize>| Question::Catchment {
        blocks: vec!["203.0.113.0/24".parse().expect("a network")],
        pop: pop.map(id),
        networks: 5,
    };
    let none = ask(&node, &control, vec![catchment(None)]).await;
    assert_eq!((&none[0]["pops"], &none[0]["left_out"]), (&json!([]), &json!(0)));
    tell(1, "10.1.7.0/24", 8.0, "203.0.113.1", 30);
    tell(0, "10.1.8.0/24", 50.0, "203.0.113.1", 10);
    // To a PoP's own address: of DNS, not of anycast.
    tell(0, "10.1.9.0/24", 50.0, "192.0.2.1", 99);
    tell(2, "192.168.9.0/24", 3.0, "203.0.113.9", 60);
    let is_there = |node: &TestNode| node.metric("geo_feed_lines_total", "round_trips") >= 4.0;
    node.until("it is heard", is_there).await;
    // It is heard before it is taken in.
    let begun = Instant::now();
    let told = loop {
        let told = ask(&node, &control, vec![catchment(None)]).await.remove(0);
        if told["connections"] == json!(100.0) {
            break told;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{told}");
    };
    let pops = told["pops"].as_array().expect("a list");
    let read: Vec<_> = pops.iter().map(|pop| (&pop["pop"], &pop["connections_share"])).collect();
    assert_eq!(
        read,
        [(&json!("a"), &json!(0.1)), (&json!("b"), &json!(0.3)), (&json!("c"), &json!(0.6))]
    );
    assert_eq!(
        (&pops[0]["as_mapped_share"], &pops[1]["as_mapped_share"]),
        (&json!(0.0), &json!(1.0))
    );
    let stray = &pops[0]["networks"][0];
    assert_eq!((&stray["mapped_to"], &stray["rtt_ms"]), (&json!("b"), &json!(50.0)));
    // Where c's clients are is not known, so nothing is said of where they belong.
    assert_eq!(
        (&pops[2]["as_mapped_share"], &pops[2]["networks"][0]["country"]),
        (&json!(null), &json!(null))
    );
    let only = ask(&node, &control, vec![catchment(Some(1))]).await;
    assert_eq!(only[0]["pops"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn operators_see_which_zones_a_node_serves_and_that_none_is_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    control.tell_fleet(&view_of_none(1, 2));
    let node = Settings::following(&[control.url()], folder.path()).start();
    node.until_pop("10.1.0.1", "b").await;
    let questions = vec![
        Question::Zones {},
        Question::Signing { zone: None },
        Question::Signing { zone: Some("a..b".to_owned()) },
    ];
    let told = ask(&node, &control, questions).await;
    let zone = &told[0]["zones"][0];
    assert_eq!((&zone["zone"], &zone["signed"]), (&json!("v.example."), &json!(false)));
    assert!(zone["serial"].is_u64() && zone["error"].is_null(), "{zone}");
    assert_eq!(told[1]["zones"], json!([]));
    assert!(told[2]["error"].is_string(), "{told:?}");
}

#[test]
fn a_whole_node_tells_its_zones_and_where_its_keys_stand_as_they_are_rolled_over() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let control = runtime.block_on(FakeControl::start());
    control.tell_fleet(&view_of_none(1, 2));
    let node = SignedNode::start(|config| {
        config.fleet.file = None;
        config.control.urls = vec![control.url()];
        config.control.token_file = Some(token_file(folder.path()));
    });
    let ask = |question: Question| {
        let id = 1000 + control.answers().len() as u64;
        control.tell(&FeedLine::Question { id, question });
        let told = || control.answers().into_iter().find(|(known, _)| *known == id);
        node.wait("an answer", || told().is_some());
        told().expect("it is there").1
    };
    let zones = ask(Question::Zones {});
    let signed = |name: &str| {
        let zones = zones["zones"].as_array().expect("a list");
        zones.iter().find(|zone| zone["zone"] == name).expect("served")["signed"].clone()
    };
    assert_eq!((signed("example."), signed("child.example.")), (json!(true), json!(false)));
    let signing =
        || ask(Question::Signing { zone: Some("example".to_owned()) })["zones"][0].clone();
    let one = signing();
    assert_eq!(
        (&one["keys"][0]["state"], &one["next"][0]["step"]),
        (&json!("active"), &json!("publish"))
    );
    // What the parent is to have is what the node's own tool says.
    let ds = one["keys"][0]["ds"].as_str().expect("a record");
    assert_eq!(node.keys(&["ds", "example"]).trim(), ds);
    node.keys(&["roll", "example"]);
    node.wait("the new key is known", || signing()["keys"].as_array().map(Vec::len) == Some(2));
    let two = signing();
    let states: Vec<_> =
        two["keys"].as_array().expect("a list").iter().map(|key| &key["state"]).collect();
    assert_eq!(states, [&json!("active"), &json!("published")]);
    assert_eq!(two["next"][0]["step"], "ds");
    let missing = ask(Question::Signing { zone: Some("child.example".to_owned()) });
    assert_eq!(missing["zones"], json!([]));
}

/// A control plane that asks one node for a step and tells it to all, as the real one does.
struct Rolling<'a> {
    control: &'a FakeControl,
    nodes: [&'a SignedNode; 2],
    revision: u64,
}

impl Rolling<'_> {
    fn ask(&self, node: &SignedNode, question: Question) -> Value {
        let id = 1000 + self.control.answers().len() as u64;
        self.control.tell(&FeedLine::Question { id, question });
        let told = || self.control.answers().into_iter().find(|(known, _)| *known == id);
        node.wait("an answer", || told().is_some());
        told().expect("it is there").1
    }

    /// Takes the next step once it is due, and waits until both sign with its keys.
    fn roll(&mut self, ds_seen: bool) -> String {
        let question = Question::RollKeys {
            zone: "Example".to_owned(),
            kind: None,
            ds_seen,
            revision: self.revision,
        };
        let proposed = || {
            let answer = self.ask(self.nodes[0], question.clone());
            serde_json::from_value::<KeyProposal>(answer).expect("a proposal")
        };
        let begun = Instant::now();
        let due = loop {
            let proposal = proposed();
            if proposal.set.is_some() {
                break proposal;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{proposal:?}");
        };
        let set = due.set.expect("it is due");
        let read = set.read().expect("a good set");
        assert!(read.revision > self.revision);
        self.revision = read.revision;
        let keys = [("example.".to_owned(), set)].into();
        let version = self.revision + 1;
        self.control.tell_fleet(&FleetView { keys, ..view_of_none(version, 2) });
        for node in self.nodes {
            let taken = || node.metric("geo_dnssec_key_sets_taken_total", &[]);
            node.wait("it is taken", || taken() as u64 == self.revision);
        }
        due.step
    }
}

#[test]
fn a_key_is_rolled_over_at_two_nodes_and_validates_at_every_stage() {
    if !has("delv", "bind9-dnsutils") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let control = runtime.block_on(FakeControl::start());
    control.tell_fleet(&view_of_none(1, 2));
    let settings = |config: &mut Config| {
        let second = Duration::from_secs(1);
        let dnssec = &mut config.dnssec;
        (dnssec.dnskey_ttl, dnssec.ds_ttl) = (second, second);
        (dnssec.ttl_max, dnssec.margin) = (second, Duration::ZERO);
        // What is told is taken at once, whenever the folder is looked at.
        dnssec.look_every = Duration::from_secs(3600);
        config.fleet.file = None;
        config.control.urls = vec![control.url()];
        config.control.token_file = Some(token_file(folder.path()));
    };
    let one = SignedNode::start(settings);
    let two = one.start_another(settings);
    let old = one.anchors("old");
    let mut rolling = Rolling { control: &control, nodes: [&one, &two], revision: 0 };
    // Who has cached anything of either is not stranded by the other: the anchors are what the parent may have.
    let check = |anchors: &Path, stage: &str| {
        for node in [&one, &two] {
            for (name, expected) in [
                ("video.example", "; fully validated"),
                ("nope.example", "; negative response, fully validated"),
                ("example", "; negative response, fully validated"),
            ] {
                let said = node.delv(anchors, name, "A");
                assert!(said.contains(expected), "{stage}: {name}: {said}");
            }
        }
    };
    check(&old, "one key");
    assert_eq!(rolling.roll(false), "publish");
    let both = one.anchors("both");
    check(&old, "published, the parent does not know it yet");
    check(&both, "published, the parent knows both");
    assert_eq!(rolling.roll(true), "ds");
    assert_eq!(rolling.roll(false), "activate");
    let new = two.anchors("new");
    check(&old, "the new key signs, who cached the old DS record holds on to it");
    check(&new, "the new key signs, the parent knows it alone");
    assert_eq!(rolling.roll(false), "remove");
    check(&new, "the old key is gone");
    assert_ne!(std::fs::read(&old).expect("there"), std::fs::read(&new).expect("there"));
    let told = rolling.ask(&one, Question::Signing { zone: None });
    let zone = &told["zones"][0];
    assert_eq!((&zone["revision"], &zone["refused"]), (&json!(4), &json!(null)));
    assert_eq!(zone["next"][0]["command"], "tidegate dns sign roll example. --kind csk");

    // A set that nobody proved changes nothing, and the node says so.
    let forged = ProvenSet { text: "{}".to_owned(), proof: String::new() };
    let keys = [("example.".to_owned(), forged)].into();
    control.tell_fleet(&FleetView { keys, ..view_of_none(9, 2) });
    for node in [&one, &two] {
        let refused = || node.metric("geo_dnssec_key_sets_refused_total", &[]);
        node.wait("it is refused", || refused() >= 1.0);
    }
    check(&new, "a forged set was told");
    let told = rolling.ask(&one, Question::Signing { zone: None });
    assert!(told["zones"][0]["refused"]["why"].is_string(), "{told}");
    // A step by hand goes on from there.
    one.keys(&["roll", "example"]);
    assert_eq!(one.keys(&["ds", "example"]).lines().count(), 2);
}
