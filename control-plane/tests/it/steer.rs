//! What operators ask of geo nodes beside the map: resolvers with a subnet, players, zones, keys, who lands where.

use std::path::Path;

use serde_json::{Value, json};
use tidegate_contract::geo_feed::Question;

use crate::{
    anycast, geo,
    harness::{Feed, Ran, TestControl, operators_program, tidegate, until},
};

/// An operator at a command line.
struct Operator {
    home: tempfile::TempDir,
    server: String,
    token: std::path::PathBuf,
    ca: std::path::PathBuf,
}

impl Operator {
    fn of(control: &TestControl) -> Self {
        Self {
            home: tempfile::tempdir().expect("a folder"),
            server: format!("https://localhost:{}", control.api.port()),
            token: control.file("t", &control.admin),
            ca: control.file("ca.pem", &control.ca_pem),
        }
    }

    async fn run(&self, words: &[&str]) -> Ran {
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        let (token, ca) = (text(&self.token), text(&self.ca));
        let place = ["--server", &self.server, "--token-file", &token, "--ca", &ca];
        tidegate(self.home.path(), &[&place[..], words].concat()).await
    }
}

/// Answers so many questions.
async fn answers(
    control: &TestControl,
    feed: &mut Feed,
    count: usize,
    answer: impl Fn(&Question) -> Value,
) -> Vec<Question> {
    let token = feed.token().to_owned();
    let mut asked = Vec::new();
    for _ in 0..count {
        let (id, question) = feed.question().await;
        Feed::answer(control, &token, id, answer(&question)).await.expect(204);
        asked.push(question);
    }
    asked
}

#[tokio::test]
async fn a_geo_node_of_an_older_build_is_asked_nothing_that_would_end_its_feed() {
    let (control, _lanes) = geo::fleet().await;
    let operator = Operator::of(&control);
    let token = control.token_of(&["geo".to_owned()], "old").await;
    let mut old = Feed::open_older(&control, &token, "old").await;
    old.fleet(|_| true).await;
    let subnet = ["dns", "resolve", "cdn.example", "--ecs", "198.51.100.0/24"];
    let refused = operator.run(&subnet).await.expect(9);
    assert!(refused.stderr.contains("old is of an older build"), "{refused:?}");
    let listed = operator.run(&["dns", "zone", "list"]).await.expect(1);
    assert!(listed.stderr.contains("older build") && listed.stdout.contains("cdn.example"));

    // It still answers what it knows; a newer one is asked the rest, wherever it stands in the list.
    let plain = ["dns", "resolve", "cdn.example", "--client", "198.51.100.7"];
    let pop = json!({"pop": "fra", "reason": "nearest", "ttl_seconds": 20});
    let (asked, told) =
        tokio::join!(answers(&control, &mut old, 1, |_| pop.clone()), operator.run(&plain));
    told.expect(0);
    assert!(matches!(asked[0], Question::Resolve { subnet: None, .. }), "{asked:?}");
    let mut new = geo::follow(&control, "new").await;
    new.fleet(|_| true).await;
    let mut older_again = Feed::open_older(&control, &token, "older").await;
    older_again.fleet(|_| true).await;
    let answer = json!({
        "subnet": "198.51.100.0/24",
        "answer": {"code": "No Error", "scope": 16, "answers": ["cdn.example. 20 IN A 192.0.2.1"]},
        "explanation": pop,
    });
    let (asked, told) =
        tokio::join!(answers(&control, &mut new, 1, |_| answer.clone()), operator.run(&subnet));
    let told = told.expect(0);
    assert!(told.stderr.contains("198.51.100.0/24, true for its first 16 bits"), "{told:?}");
    let subnet = "198.51.100.0/24".parse().ok();
    let client = [198, 51, 100, 0].into();
    let (name, record) = ("cdn.example".to_owned(), "A".to_owned());
    assert_eq!(asked, [Question::Resolve { name, record, client, subnet }]);
    operator.run(&["dns", "resolve", "cdn.example"]).await.expect(2);
    for bad in ["ecs=0.0.0.0/0", "", "ecs=nonsense", "ecs=192.0.2.0/33", "client=me"] {
        let path = format!("/v1/dns/resolve?name=cdn.example&{bad}");
        control.call("GET", &path, Value::Null).await.expect(422);
    }
}

#[tokio::test]
async fn zones_are_listed_with_what_nodes_serve_and_shown_as_master_files() {
    let (control, _lanes) = geo::fleet().await;
    let operator = Operator::of(&control);
    // Without a geo node there is still what is released.
    let list = operator.run(&["dns", "zone", "list", "-o", "json"]).await.expect(0).json();
    assert_eq!(
        (&list["items"][0]["zone"], &list["items"][0]["serial"], &list["items"][0]["steered"]),
        (&json!("cdn.example"), &json!(1), &json!(1))
    );
    let mut one = geo::follow(&control, "geo-1").await;
    let mut other = geo::follow(&control, "geo-2").await;
    one.fleet(|view| !view.zones.is_empty()).await;
    other.fleet(|view| !view.zones.is_empty()).await;
    let standing = |serial: u32, error: Value| {
        json!({"zones": [
            {"source": "cdn.example of the control plane", "zone": "cdn.example.", "serial": serial,
                "records": 3, "signed": true, "error": error},
            {"source": "/zones/own.example.zone", "zone": "own.example.", "serial": 9,
                "records": 4, "signed": false, "error": null},
        ]})
    };
    let (good, bad) = (standing(1, json!(null)), standing(0, json!("line 3: no address")));
    let ask = async |words: &[&str], of_other: &Value, one: &mut Feed, other: &mut Feed| {
        let (first, second, ran) = tokio::join!(
            answers(&control, one, 1, |_| good.clone()),
            answers(&control, other, 1, |_| of_other.clone()),
            operator.run(words),
        );
        assert_eq!((&first[0], &second[0]), (&Question::Zones {}, &Question::Zones {}));
        ran
    };
    let listed = ask(&["dns", "zone", "list"], &good, &mut one, &mut other).await.expect(0);
    let line = |ran: &Ran, name: &str| {
        let line = ran.stdout.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line(&listed, "cdn.example"), ["cdn.example", "1", "3", "1", "yes", "2/2", "1"]);
    assert_eq!(line(&listed, "own.example"), ["own.example", "-", "-", "-", "no", "2/2", "9"]);
    let wide = ["dns", "zone", "list", "-o", "wide"];
    let listed = ask(&wide, &bad, &mut one, &mut other).await.expect(1);
    assert!(listed.stdout.contains("geo-1:1 geo-2:0"), "{listed:?}");
    assert!(listed.stderr.contains("cdn.example at geo-2: line 3: no address"), "{listed:?}");

    let shown = operator.run(&["dns", "zone", "show", "cdn.example"]).await.expect(0);
    let records = [
        "cdn.example. 60 IN SOA ns1.cdn.example. admin.cdn.example. 1 2 3 4 5",
        "cdn.example. 60 IN NS ns1.cdn.example.",
        "_steer.cdn.example. 0 IN TXT \"alpn=h3,h2\" \"port=443\"",
        "ns1.cdn.example. 60 IN A 192.0.2.53",
    ];
    assert_eq!(shown.stdout.lines().collect::<Vec<_>>(), records);
    let only =
        ["dns", "zone", "show", "CDN.example.", "--type", "a", "--name", "ns1", "-o", "json"];
    let only = operator.run(&only).await.expect(0).json();
    let record = json!({"name": "ns1.cdn.example.", "ttl": 60, "type": "A", "data": "192.0.2.53"});
    assert_eq!((&only["records"], &only["serial"]), (&json!([record]), &json!(1)));
    operator.run(&["dns", "zone", "show", "cdn.example", "--type", "MX"]).await.expect(1);
    operator.run(&["dns", "zone", "show", "cdn.example", "--type", "A B"]).await.expect(6);
    operator.run(&["dns", "zone", "show", "other.example"]).await.expect(3);
}

#[tokio::test]
async fn keys_are_shown_with_what_comes_next_and_nodes_that_have_others_stand_out() {
    let (control, _lanes) = geo::fleet().await;
    let operator = Operator::of(&control);
    let words = ["dns", "sign", "status", "cdn.example"];
    operator.run(&words).await.expect(9);
    let mut one = geo::follow(&control, "geo-1").await;
    let mut other = geo::follow(&control, "geo-2").await;
    one.fleet(|_| true).await;
    other.fleet(|_| true).await;
    let keys = |state: &str| {
        json!({"zones": [{
            "zone": "cdn.example.",
            "keys": [{"tag": 4711, "kind": "csk", "algorithm": "13 ECDSAP256SHA256", "state": state,
                "since": "2026-11-01T00:00:00Z", "ds": "cdn.example. IN DS 4711 13 2 AB"}],
            "next": [{"kind": "csk", "step": "publish", "from": null, "text": "a new key may be published",
                "command": "tidegate dns sign roll cdn.example. --kind csk"}],
        }]})
    };
    let (active, retired) = (keys("active"), keys("retired"));
    for (of_other, code, nodes) in [(&active, 0, "2/2"), (&retired, 1, "1/2")] {
        let (asked, _, told) = tokio::join!(
            answers(&control, &mut one, 1, |_| active.clone()),
            answers(&control, &mut other, 1, |_| of_other.clone()),
            operator.run(&words),
        );
        assert_eq!(asked, [Question::Signing { zone: Some("cdn.example".to_owned()) }]);
        let told = told.expect(code);
        assert!(told.stdout.contains(nodes) && told.stdout.contains("4711"), "{told:?}");
        assert!(told.stdout.contains("cdn.example. IN DS 4711 13 2 AB"), "{told:?}");
        assert!(
            told.stderr.contains("`tidegate dns sign roll cdn.example. --kind csk`"),
            "{told:?}"
        );
        assert_eq!(told.stderr.contains("different keys"), code == 1, "{told:?}");
    }
    let nothing = json!({"zones": []});
    let (_, _, told) = tokio::join!(
        answers(&control, &mut one, 1, |_| nothing.clone()),
        answers(&control, &mut other, 1, |_| nothing.clone()),
        operator.run(&["dns", "sign", "status"]),
    );
    assert!(told.expect(3).stderr.contains("no zone is signed"));
}

#[tokio::test]
async fn an_operator_sees_the_steering_manifest_of_a_player_and_why() {
    let (control, _lanes) = geo::fleet().await;
    let operator = Operator::of(&control);
    let mut feed = geo::follow(&control, "geo-1").await;
    feed.fleet(|_| true).await;
    let manifest = json!({"VERSION": 1, "TTL": 20, "PATHWAY-PRIORITY": ["b", "a"]});
    let told = |outcome: &str| {
        json!({
            "manifest": manifest, "policy": "all", "policy_by": "only", "outcome": outcome,
            "pathways": [{"id": "a", "standing": "leaving", "rank": null, "host": null,
                "is_troubled": false, "not_up": {"fra": "draining"}}],
            "explanation": {"pop": "nyc", "reason": "nearest", "unit": {"country": "US"},
                "candidates": [{"pop": "nyc", "rtt_ms": 9.0}]},
        })
    };
    let words = ["steer", "manifest", "--client", "198.51.100.7", "--asset", "/v/1/main.m3u8"];
    let whole = [&words[..], &["--pathway", "a", "--explain"]].concat();
    let (asked, ran) =
        tokio::join!(answers(&control, &mut feed, 1, |_| told("moved")), operator.run(&whole),);
    let question = Question::Steer {
        asset: "/v/1/main.m3u8".to_owned(),
        policy: None,
        pathway: Some("a".to_owned()),
        client: [198, 51, 100, 7].into(),
    };
    assert_eq!(asked, [question]);
    let ran = ran.expect(0);
    for text in ["\"PATHWAY-PRIORITY\"", "fra=draining", "leaving", "nyc"] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    for text in ["is told to leave", "is not checked", "country=US", "the DNS says nyc"] {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
    let (names, as_json) =
        ([&words[..], &["-o", "name"]].concat(), [&words[..], &["-o", "json"]].concat());
    let (_, ran) =
        tokio::join!(answers(&control, &mut feed, 1, |_| told("began")), operator.run(&names),);
    assert_eq!(ran.expect(0).stdout, "b\na\n");
    let (_, ran) = tokio::join!(
        answers(&control, &mut feed, 1, |_| told("unserved")),
        operator.run(&as_json),
    );
    assert_eq!(ran.expect(1).json()["answer"]["manifest"], manifest);
    let (_, ran) = tokio::join!(
        answers(&control, &mut feed, 1, |_| json!({"error": "there are live, video"})),
        operator.run(&words),
    );
    assert!(ran.expect(6).stderr.contains("live, video"));
    for bad in ["asset=", &format!("asset={}", "a".repeat(2049)), "asset=a&policy="] {
        let path = format!("/v1/steering/manifest?client=192.0.2.1&{bad}");
        control.call("GET", &path, Value::Null).await.expect(422);
    }
    let purger = control.token_of(&["purge".to_owned()], "p").await;
    let path = "/v1/steering/manifest?client=192.0.2.1&asset=a";
    control.call_as(&purger, "GET", path, Value::Null).await.expect(403);
}

#[tokio::test]
async fn an_operator_sees_who_lands_where_and_where_they_would_go() {
    let (control, _nodes) = anycast::fleet().await;
    let operator = Operator::of(&control);
    let words = ["bgp", "catchment", "video"];
    operator.run(&words).await.expect(9);
    let mut feed = geo::follow(&control, "geo-1").await;
    feed.fleet(|_| true).await;
    let seen = json!({"halves_after_seconds": 60, "connections": 40.0, "left_out": 2, "pops": [{
        "pop": "lon", "connections": 40.0, "connections_share": 1.0, "bytes": 4e6, "bytes_share": 1.0,
        "units": 1, "as_mapped_share": 0.0, "further_ms": 12.5,
        "networks": [{"country": "NL", "asn": 64500, "latitude": 52.4, "longitude": 4.9,
            "connections": 40.0, "share": 1.0, "rtt_ms": 18.0, "mapped_to": "ams",
            "mapped_rtt_ms": 5.5, "mapped_source": "unit", "further_ms": 12.5}],
    }]});
    let (asked, ran) =
        tokio::join!(answers(&control, &mut feed, 1, |_| seen.clone()), operator.run(&words),);
    let blocks = ["192.0.2.0/25", "192.0.2.128/25"].map(|block| block.parse().expect("a network"));
    assert_eq!(asked, [Question::Catchment { blocks: blocks.into(), pop: None, networks: 10 }]);
    let ran = ran.expect(0);
    let line = |name: &str| {
        let line = ran.stdout.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert!(line("lon").contains("40.0 100 % 4000000.0 100 % 1 0 % 12.5 ams"), "{ran:?}");
    // Nothing was told of it, and nothing is made up; where its clients would go is the ladder's guess.
    assert!(line("sin").starts_with("sin - - - - - - - nyc"), "{ran:?}");
    assert!(ran.stderr.contains("2 connections found no room"), "{ran:?}");

    let one = [&words[..], &["--pop", "lon", "--networks", "3"]].concat();
    let (asked, ran) =
        tokio::join!(answers(&control, &mut feed, 1, |_| seen.clone()), operator.run(&one));
    assert!(
        matches!(&asked[0], Question::Catchment { pop: Some(pop), networks: 3, .. } if pop.as_str() == "lon")
    );
    let ran = ran.expect(0);
    assert!(ran.stdout.contains("64500") && ran.stdout.contains("52.4 4.9"), "{ran:?}");
    let as_json = [&words[..], &["-o", "json"]].concat();
    let (_, ran) = tokio::join!(
        answers(&control, &mut feed, 1, |_| json!({"pops": []})),
        operator.run(&as_json),
    );
    let json = ran.expect(1).json();
    let sites: Vec<_> = json["withdrawals"].as_array().expect("a list").iter().collect();
    assert_eq!((sites.len(), &json["prefixes"][0]["block"]), (5, &json!("192.0.2.0/25")));
    assert!(sites.iter().all(|site| site["lands"][1]["to"].is_string()), "{json}");
    operator.run(&["bgp", "catchment", "none"]).await.expect(3);
    operator.run(&[&words[..], &["--pop", "xxx"]].concat()).await.expect(3);
    operator.run(&[&words[..], &["--networks", "101"]].concat()).await.expect(2);
    let path = "/v1/anycast/video/catchment?networks=101";
    control.call("GET", path, Value::Null).await.expect(422);
}

#[tokio::test]
async fn what_is_announced_is_watched_and_narrowed_to_a_group_and_a_pop() {
    let (control, _nodes) = anycast::fleet().await;
    let operator = Operator::of(&control);
    let one = operator.run(&["bgp", "status", "--pop", "lon", "-o", "json"]).await.expect(0).json();
    assert_eq!(one[0]["pops"].as_array().map(Vec::len), Some(1));
    operator.run(&["bgp", "status", "--group", "video"]).await.expect(0);
    operator.run(&["bgp", "status", "--group", "none"]).await.expect(3);
    operator.run(&["bgp", "status", "--pop", "none"]).await.expect(3);

    // Whoever watches sees it change.
    let (token, ca) = (operator.token.clone(), operator.ca.clone());
    let words: Vec<String> =
        ["--server", &operator.server, "--token-file"].map(str::to_owned).into();
    let words =
        [words, vec![token.display().to_string(), "--ca".to_owned(), ca.display().to_string()]];
    let mut words = words.concat();
    words.extend(["bgp", "status", "-w", "--pop", "ams"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = operators_program(operator.home.path(), &words);
    let out = tempfile::NamedTempFile::new().expect("a file");
    command.stdout(out.reopen().expect("ours")).kill_on_drop(true);
    let mut watching = command.spawn().expect("the program");
    let sees = async |word: &str| {
        until(async || std::fs::read_to_string(out.path()).ok()?.contains(word).then_some(()))
            .await;
    };
    sees("ams").await;
    let body = json!({"pop": "ams", "level": "prepend-2", "reason": "a test"});
    control.call("POST", "/v1/anycast/video/level", body).await.expect(200);
    sees("prepend-2").await;
    watching.kill().await.expect("it was still watching");
}
