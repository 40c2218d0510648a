//! What players say with CMCD: counted, and without influence on what they get.

use tidegate_contract::property::{CachePolicy, QueryPolicy};

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, client::Ask, eventually, noise, reply};

const VERSION_1: &str = "CMCD=bl%3D21300%2Cbs%2Cmtp%3D48100%2Cot%3Dv%2Csid%3D%22s%22";
const VERSION_2: &str = "CMCD=bl%3D%28900%3Bv%29%2Cot%3Dv%2Csta%3Dr%2Cv%3D2";

#[tokio::test]
async fn players_are_counted_by_what_they_say_in_the_query_and_in_headers() {
    let origin = FakeOrigin::start().await;
    origin.on("/v/1.m4s", reply(200).cache_control("max-age=60").body(noise(5000)));
    let edge = TestEdge::before(&origin).start().await;
    for protocol in PROTOCOLS {
        let by_header = Ask::get("/v/1.m4s")
            .header("cmcd-request", "bl=900,su")
            .header("cmcd-object", "ot=v")
            .header("cmcd-status", "bs");
        edge.ask(protocol, &by_header).await.expect_body(noise(5000));
        edge.get_by(protocol, &format!("/v/1.m4s?{VERSION_1}")).await.expect_body(noise(5000));
        edge.get_by(protocol, &format!("/v/1.m4s?{VERSION_2}")).await.expect_body(noise(5000));
        edge.get_by(protocol, "/v/1.m4s?CMCD=%22").await.expect_body(noise(5000));
        edge.get_by(protocol, "/v/1.m4s?CMCD=bl%3Dx").await.expect_body(noise(5000));
    }
    let count = |labels: &[&str]| edge.metric("edge_cmcd_requests_total", labels);
    let is_counted = || {
        count(&["1", "video", "startup"]) == 3.0
            && count(&["1", "video", "none"]) == 3.0
            && count(&["2", "video", "rebuffering"]) == 3.0
            && count(&["1", "none"]) == 6.0
            && edge.metric("edge_cmcd_starved_total", &["video"]) == 6.0
            && edge.metric("edge_cmcd_invalid_total", &["all"]) == 3.0
            && edge.metric("edge_cmcd_invalid_total", &["member"]) == 3.0
            && edge.metric("edge_cmcd_buffer_seconds", &[]) == 9.0
            && edge.metric("edge_cmcd_throughput_bits_per_second", &[]) == 3.0
    };
    // A client may have its whole answer before the exchange is counted.
    eventually("every word of them is counted", is_counted).await;
    assert_eq!(origin.count("/v/1.m4s"), 1, "one key, whatever they say");
}

#[tokio::test]
async fn what_players_say_reaches_neither_key_nor_origin_under_any_query_policy() {
    for query in [
        QueryPolicy::All,
        QueryPolicy::Sorted,
        QueryPolicy::Drop,
        QueryPolicy::Keep(vec!["a".into(), "CMCD".into()]),
    ] {
        let origin = FakeOrigin::start().await;
        let path = if query == QueryPolicy::Drop { "/v/1.m4s" } else { "/v/1.m4s?a=1" };
        origin.on(path, reply(200).cache_control("max-age=60").body(noise(5000)));
        let edge = TestEdge::before(&origin)
            .policy(CachePolicy { query: query.clone(), ..CachePolicy::default() })
            .start()
            .await;
        for said in [VERSION_1, VERSION_2, "CMC%44=br%3D1", "CMCD=%22"] {
            for protocol in PROTOCOLS {
                let answer = edge.get_by(protocol, &format!("/v/1.m4s?{said}&a=1")).await;
                answer.expect_status(200).expect_body(noise(5000));
            }
        }
        assert_eq!(origin.count(path), 1, "{query:?}");
    }
}

#[tokio::test]
async fn a_shield_does_not_count_what_the_edge_before_it_has_counted() {
    let origin = FakeOrigin::start().await;
    origin.on("/v/1.m4s", reply(200).cache_control("max-age=60").body(noise(5000)));
    let shield = TestEdge::before(&origin)
        .pop("shield")
        .role(tidegate_contract::snapshot::PopRole::Shield)
        .start()
        .await;
    let edge = TestEdge::before(&origin).shield(shield.as_shield("shield")).start().await;
    edge.ask(PROTOCOLS[1], &Ask::get("/v/1.m4s").header("cmcd-object", "ot=v"))
        .await
        .expect_body(noise(5000));
    eventually("both have ended the exchange", || {
        edge.metric("edge_requests_total", &[]) == 1.0
            && shield.metric("edge_requests_total", &[]) == 1.0
    })
    .await;
    edge.expect_metric("edge_cmcd_requests_total", &[], 1.0).await;
    assert_eq!(shield.metric("edge_cmcd_requests_total", &[]), 0.0);
}
