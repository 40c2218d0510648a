//! Purges: in order, without holes, to everybody, whatever happens in between.

use futures::future::join_all;
use serde_json::json;
use tidegate_contract::{
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};
use tidegate_control::wire::purge_down;

use crate::harness::{TestControl, until, within};

fn key(name: &str) -> PurgeOrder {
    let key = SurrogateKey::parse(name).expect("a key");
    PurgeOrder { target: PurgeTarget::Key { key }, soft: false }
}

#[tokio::test]
async fn a_node_gets_what_it_missed_and_then_what_comes() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    for name in ["one", "two", "three"] {
        control.purge(name).await;
    }
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(Some(1)).await.expect("enrolled");
    assert_eq!(lane.head, 3);
    assert_eq!(lane.batch().await, [(2, key("two")), (3, key("three"))]);
    assert_eq!(control.purge("four").await, 4);
    assert_eq!(lane.batch().await, [(4, key("four"))]);
}

#[tokio::test]
async fn a_node_with_an_empty_cache_starts_at_the_head() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    control.purge("before").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(None).await.expect("enrolled");
    assert_eq!(lane.head, 1);
    control.purge("after").await;
    assert_eq!(lane.batch().await, [(2, key("after"))]);
}

#[tokio::test]
async fn a_node_resumes_where_it_stood_even_after_the_control_plane_restarted() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(Some(0)).await.expect("enrolled");
    control.purge("one").await;
    lane.until(0, 1).await;
    drop(lane);
    control.purge("two").await;
    let control = control.restart().await;
    let mut lane = node.at(&control).purge_lane(Some(1)).await.expect("still enrolled");
    assert_eq!(lane.batch().await, [(2, key("two"))]);
    assert_eq!(control.purge("three").await, 3, "offsets go on");
    assert_eq!(lane.batch().await, [(3, key("three"))]);
}

#[tokio::test]
async fn a_drain_tells_nodes_to_come_back() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(None).await.expect("enrolled");
    let (_, end) = tokio::join!(control.restart(), lane.end());
    assert_eq!(end.code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_node_that_was_away_for_too_long_is_told_so() {
    let control = TestControl::start_with(|config| {
        config.purge.keep_entries_max = 2;
        config.purge.tail_entries_max = 1;
    })
    .await;
    control.edge("fra").await;
    for name in ["one", "two", "three", "four"] {
        control.purge(name).await;
    }
    assert_eq!(control.purges.trim().await.expect("writable"), 2);
    let node = control.node("fra", "n1").await;

    let mut in_time = node.purge_lane(Some(2)).await.expect("enrolled");
    in_time.until(2, 4).await;

    let mut late = node.purge_lane(Some(1)).await.expect("enrolled");
    match late.next().await.expect("open") {
        purge_down::Message::Trimmed(trimmed) => assert_eq!(trimmed.head, 4),
        other => panic!("{other:?}"),
    }
    control.purge("five").await;
    assert_eq!(late.batch().await, [(5, key("five"))], "it goes on from there");
}

#[tokio::test]
async fn a_node_that_knows_more_than_a_restored_log_starts_anew() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    control.purge("one").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(Some(40)).await.expect("enrolled");
    assert_eq!(lane.head, 1);
    assert!(matches!(lane.next().await, Ok(purge_down::Message::Trimmed(_))));
    let waited = control.purge_and_wait("two", "50ms").await;
    assert_eq!(waited.body["complete"], false, "40 of the old log confirms nothing");
}

#[tokio::test]
async fn a_node_that_does_not_read_holds_up_nobody_and_misses_nothing() {
    let control = TestControl::start_with(|config| config.purge.tail_entries_max = 64).await;
    control.edge("fra").await;
    control.edge("nyc").await;
    let slow = control.node("fra", "n1").await;
    let mut slow = slow.purge_lane(Some(0)).await.expect("enrolled");
    let quick = control.node("nyc", "n1").await;
    let mut quick = quick.purge_lane(Some(0)).await.expect("enrolled");

    // Far more than the windows of a connection hold.
    let path = format!("/{}", "x".repeat(2000));
    let order = |n| PurgeOrder {
        target: PurgeTarget::Url { host: "a.org".into(), path: format!("{path}?{n}") },
        soft: false,
    };
    let accepted = join_all((0..2000).map(|n| control.purges.accept(order(n), None)));
    let (accepted, ()) = tokio::join!(accepted, quick.until(0, 2000));
    assert!(accepted.iter().all(Result::is_ok));
    slow.until(0, 2000).await;
}

#[tokio::test]
async fn a_purge_that_waits_is_answered_when_every_node_has_applied_it() {
    let control = TestControl::start().await;
    let mut lanes = Vec::new();
    for pop in ["fra", "nyc"] {
        control.edge(pop).await;
        lanes.push(control.node(pop, "n1").await.purge_lane(None).await.expect("enrolled"));
    }
    let nodes = async {
        for lane in &mut lanes {
            let offset = lane.batch().await[0].0;
            lane.ack(offset).await;
        }
    };
    let (answer, ()) = tokio::join!(control.purge_and_wait("one", "30s"), nodes);
    assert_eq!(answer.body["complete"], true);
    for (n, pop) in ["fra", "nyc"].into_iter().enumerate() {
        let node = &answer.body["pops"][n];
        assert_eq!((&node["pop"], &node["node"]), (&json!(pop), &json!("n1")));
        assert_eq!(node["state"], "applied");
        assert!(node["ms"].is_u64(), "{node}");
    }
    let id = answer.body["id"].as_str().expect("an id");
    let later = control.call("GET", &format!("/v1/purges/{id}"), json!(null)).await.expect(200);
    assert_eq!(later.body["complete"], true);
    assert_eq!(later.body["order"]["key"], "one");
    assert_eq!(later.body["pops"], answer.body["pops"]);
}

#[tokio::test]
async fn a_deadline_that_is_over_is_no_error_and_the_purge_goes_on() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let mut lane = control.node("fra", "n1").await.purge_lane(None).await.expect("enrolled");
    let answer = control.purge_and_wait("one", "50ms").await;
    assert_eq!(answer.body["complete"], false);
    assert_eq!(answer.body["pops"][0]["state"], "pending");
    let offset = lane.batch().await[0].0;
    lane.ack(offset).await;
    let path = format!("/v1/purges/{}", answer.body["id"].as_str().expect("an id"));
    until(async || {
        let view = control.call("GET", &path, json!(null)).await.expect(200);
        (view.body["complete"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_cut_off_is_uncertain_once_its_lease_is_over() {
    let control = TestControl::start_with(|config| {
        config.sync.heartbeat = std::time::Duration::from_millis(50);
        config.purge.lease = std::time::Duration::from_secs(6);
        config.purge.lease_margin = std::time::Duration::from_secs(1);
    })
    .await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let lane = node.purge_lane(None).await.expect("enrolled");
    let first = control.purge_and_wait("one", "10ms").await;
    assert_eq!(first.body["pops"][0]["state"], "pending", "it is connected");
    drop(lane);
    let answer = control.purge_and_wait("two", "30s").await;
    assert_eq!(answer.body["complete"], true, "nobody may serve what was purged");
    assert_eq!(answer.body["pops"][0]["state"], "uncertain");

    let mut lane = node.purge_lane(Some(0)).await.expect("enrolled");
    lane.until(0, 2).await;
    lane.ack(2).await;
    let answer = within(control.purge_and_wait("three", "10ms")).await;
    assert_eq!(answer.body["pops"][0]["state"], "pending", "it is back, and has to say so");
}

#[tokio::test]
async fn a_node_that_lags_for_longer_than_its_lease_does_not_hold_up_a_purge() {
    let control = TestControl::start_with(|config| {
        config.purge.lease = std::time::Duration::from_millis(300);
        config.purge.lease_margin = std::time::Duration::from_millis(50);
    })
    .await;
    control.edge("fra").await;
    let _silent = control.node("fra", "n1").await.purge_lane(Some(0)).await.expect("enrolled");
    let answer = control.purge_and_wait("one", "30s").await;
    assert_eq!(answer.body["complete"], true, "it has to ask upstream before it serves");
    assert_eq!(answer.body["pops"][0]["state"], "uncertain");
    assert_eq!(answer.body["pops"][0]["why"], "behind by 1");
}

#[tokio::test]
async fn a_node_keeps_two_subscriptions_and_a_newer_one_ends_only_its_own_kind() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut first = node.subscribe(Some(0), 0).await.expect("enrolled");
    let mut second = node.subscribe(Some(0), 1).await.expect("enrolled");
    control.purge("one").await;
    assert_eq!(first.batch().await, second.batch().await);
    second.ack(1).await;
    let lag = async || control.call("GET", "/v1/purges/lag", json!(null)).await.expect(200).body;
    until(async || (lag().await["items"][0]["lag"] == 0).then_some(())).await;
    assert_eq!(lag().await["items"][0]["subscriptions"], 2);

    let mut newer = node.subscribe(Some(1), 1).await.expect("enrolled");
    assert_eq!(second.end().await.code(), tonic::Code::Aborted);
    control.purge("two").await;
    assert_eq!(first.batch().await, newer.batch().await);
    let behind = lag().await;
    let item = &behind["items"][0];
    assert_eq!(
        (&item["applied"], &item["lag"], &behind["head"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert!(item["behind_ms"].is_u64(), "{behind}");
}

#[tokio::test]
async fn a_heartbeat_says_which_question_it_answers() {
    let control = TestControl::start_with(|config| {
        config.sync.heartbeat = std::time::Duration::from_millis(20);
    })
    .await;
    control.edge("fra").await;
    let mut lane = control.node("fra", "n1").await.purge_lane(None).await.expect("enrolled");
    for number in 1..=3 {
        let offset = control.purge("one").await;
        assert!(lane.ask(number).await >= offset, "what was accepted before is in the answer");
    }
}

#[tokio::test]
async fn a_share_of_the_nodes_is_enough_when_that_was_asked_for() {
    let control = TestControl::start().await;
    let mut lanes = Vec::new();
    for pop in ["fra", "nyc"] {
        control.edge(pop).await;
        lanes.push(control.node(pop, "n1").await.purge_lane(None).await.expect("enrolled"));
    }
    let order = json!({"kind": "key", "key": "a", "wait": "50%", "deadline": "30s"});
    let node = async {
        let offset = lanes[0].batch().await[0].0;
        lanes[0].ack(offset).await;
    };
    let (answer, ()) = tokio::join!(control.call("POST", "/v1/purges", order), node);
    let answer = answer.expect(200).body;
    let said = (&answer["reached"], &answer["complete"], &answer["pops"][1]["state"]);
    assert_eq!(said, (&json!(true), &json!(false), &json!("pending")));
}

#[tokio::test]
async fn the_log_is_read_from_a_time_on() {
    let control = TestControl::start_at(std::time::SystemTime::now()).await;
    for name in ["one", "two", "three"] {
        control.purge(name).await;
        control.clock.advance(std::time::Duration::from_secs(60));
    }
    let since = tidegate_control::unix_time::unix_ms(control.clock.now()) - 130_000;
    let path = format!("/v1/purges?since_unix_ms={since}");
    let list = control.call("GET", &path, json!(null)).await.expect(200).body;
    let offsets: Vec<_> =
        list["purges"].as_array().expect("a list").iter().map(|p| &p["offset"]).collect();
    assert_eq!(offsets, [&json!(2), &json!(3)]);
}

#[tokio::test]
async fn what_a_node_cannot_have_applied_ends_its_lane() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let mut lane = control.node("fra", "n1").await.purge_lane(None).await.expect("enrolled");
    lane.ack(7).await;
    assert_eq!(lane.end().await.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn heartbeats_come_by_themselves_and_tell_the_head() {
    let control = TestControl::start_with(|config| {
        config.sync.heartbeat = std::time::Duration::from_millis(20);
    })
    .await;
    control.edge("fra").await;
    let mut lane = control.node("fra", "n1").await.purge_lane(None).await.expect("enrolled");
    control.purge("one").await;
    let mut seen = 0;
    until(async || {
        match lane.next().await.expect("open") {
            purge_down::Message::Heartbeat(beat) => {
                let head = beat.head["main"];
                assert!(head >= seen, "a head never goes back");
                seen = head;
            }
            purge_down::Message::Batch(_) => {}
            other => panic!("{other:?}"),
        }
        (seen == 1).then_some(())
    })
    .await;
}
