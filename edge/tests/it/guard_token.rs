//! Playback tokens on all protocols: what opens, what does not, and that nothing of them is seen behind the door.

use http::Method;
use prometheus::TextEncoder;
use tidegate_contract::guard_policy::{Carriers, GuardPolicy, TokenKey, TokenPolicy};

use crate::harness::{
    FakeOrigin, PROTOCOLS, TestEdge,
    client::Ask,
    eventually, log, noise, reply,
    token::{cat, jwt, key},
};

fn with_keys(keys: Vec<TokenKey>) -> GuardPolicy {
    let tokens = TokenPolicy { keys, ..TokenPolicy::default() };
    GuardPolicy { tokens: Some(tokens), ..GuardPolicy::default() }
}

async fn edge(origin: &FakeOrigin, guard: GuardPolicy) -> TestEdge {
    TestEdge::before(origin).guard(guard).config(|config| config.access_log = true).start().await
}

/// The same request with a token in each of the places where one may stand.
fn carried(path: &str, token: &str) -> [Ask; 3] {
    [
        Ask::get(&format!("{path}?cat={token}")),
        Ask::get(path).header("cta-common-access-token", token),
        Ask::get(path).header("cookie", &format!("theme=1; cta-common-access-token={token}")),
    ]
}

/// Nothing of these tokens stands in the log, in a metric, or in a request to the origin.
fn expect_no_trace(edge: &TestEdge, origin: &FakeOrigin, tokens: &[String]) {
    let log = log::written();
    let mine = origin.everything();
    let path = mine[0].path.split('?').next().unwrap();
    assert!(log.contains(&format!("path=\"{path}\"")), "no line of the access log at all");
    let metrics = TextEncoder::new().encode_to_string(&edge.registry.gather()).unwrap();
    let requests = format!("{mine:?}");
    for token in tokens {
        // The signature alone is worth as much as the whole; the beginning is the same for many.
        let telling = &token[token.len() - 24..];
        for (place, text) in [("log", &log), ("metrics", &metrics), ("upstream", &requests)] {
            assert!(!text.contains(telling), "{telling} in {place}");
        }
    }
}

#[tokio::test]
async fn a_token_of_either_kind_opens_its_path_and_no_other_wherever_it_stands() {
    let origin = FakeOrigin::start().await;
    let path = "/v/1/kinds.m4s";
    origin.on(path, reply(200).cache_control("max-age=600").body(noise(9000)));
    let edge = edge(&origin, with_keys(vec![key("a", 1)])).await;
    let end = edge.now_s() + 100;
    let good = [cat(&key("a", 1), "/v/1/", end, vec![]), jwt(&key("a", 1), "/v/1/", end)];
    let elsewhere = [cat(&key("a", 1), "/v/2/", end, vec![]), jwt(&key("a", 1), "/v/2/", end)];
    let forged = [cat(&key("a", 2), "/v/1/", end, vec![]), jwt(&key("a", 2), "/v/1/", end)];
    for protocol in PROTOCOLS {
        for token in &good {
            for ask in carried(path, token) {
                edge.ask(protocol, &ask).await.expect_status(200).expect_body(noise(9000));
            }
        }
        for (tokens, status, kind) in
            [(&elsewhere, 403, "token-path"), (&forged, 401, "token-signature")]
        {
            for ask in tokens.iter().flat_map(|token| carried(path, token)) {
                let refused = edge.ask(protocol, &ask).await.expect_status(status);
                let body = String::from_utf8_lossy(refused.whole_body()).into_owned();
                assert!(body.contains(kind), "{body}");
                assert_eq!(refused.header("cache-control"), "no-store");
            }
        }
        let bare = edge.get_by(protocol, path).await.expect_status(401);
        assert_eq!(bare.header("www-authenticate"), "Bearer realm=\"playback\"");
        edge.get_by(protocol, &format!("{path}?cat=nonsense")).await.expect_status(401);
    }
    assert_eq!(origin.count(path), 1, "one copy for all tokens");
    let all = [good, elsewhere, forged].concat();
    expect_no_trace(&edge, &origin, &all);
    let refusals = edge.metric("edge_guard_refusals_total", &["token-path"]);
    assert_eq!(refusals, 18.0, "three protocols, two kinds, three places");
}

#[tokio::test]
async fn what_passes_the_cache_by_carries_no_token_either() {
    let origin = FakeOrigin::start().await;
    origin.on("/v/1/posted", reply(200).body("taken"));
    origin.on("/v/1/posted?b=1", reply(200).body("taken"));
    let edge = edge(&origin, with_keys(vec![key("a", 1)])).await;
    let token = jwt(&key("a", 1), "/v/1/", edge.now_s() + 100);
    for protocol in PROTOCOLS {
        for ask in carried("/v/1/posted", &token) {
            let ask = ask.method(Method::POST).body("some");
            edge.ask(protocol, &ask).await.expect_status(200).expect_body("taken");
        }
        let ask = Ask::get(&format!("/v/1/posted?b=1&cat={token}")).method(Method::PUT);
        edge.ask(protocol, &ask).await.expect_status(200);
    }
    assert_eq!((origin.count("/v/1/posted"), origin.count("/v/1/posted?b=1")), (9, 3));
    let cookies = origin.all("/v/1/posted");
    assert!(cookies.iter().any(|asked| asked.header("cookie") == Some("theme=1")));
    expect_no_trace(&edge, &origin, &[token]);
}

#[tokio::test]
async fn a_bearer_that_is_the_edges_own_goes_no_further() {
    let origin = FakeOrigin::start().await;
    let path = "/v/1/bearer.m4s";
    origin.on(path, reply(200).cache_control("max-age=600").body("x"));
    let mut guard = with_keys(vec![key("a", 1)]);
    let carriers = Carriers { header: Some("authorization".into()), ..Carriers::default() };
    guard.tokens.as_mut().unwrap().carriers = carriers;
    let edge = edge(&origin, guard).await;
    let token = jwt(&key("a", 1), "/v/1/", edge.now_s() + 100);
    for protocol in PROTOCOLS {
        let ask = Ask::get(path).header("authorization", &format!("Bearer {token}"));
        edge.ask(protocol, &ask).await.expect_status(200);
    }
    assert_eq!(origin.count(path), 1, "an answer to an authorized request would not be stored");
    assert_eq!(origin.last(path).header("authorization"), None);
    expect_no_trace(&edge, &origin, &[token]);
}

#[tokio::test]
async fn a_token_ends_on_time_also_for_those_that_were_let_in_with_it() {
    let origin = FakeOrigin::start().await;
    let path = "/v/1/ends.m4s";
    origin.on(path, reply(200).cache_control("max-age=600").body("x"));
    let edge = edge(&origin, with_keys(vec![key("a", 1)])).await;
    let end = edge.now_s() + 60;
    let tokens = [cat(&key("a", 1), "/v/", end, vec![]), jwt(&key("a", 1), "/v/", end)];
    for (seconds, status) in [(0, 200), (59, 200), (10, 401)] {
        edge.advance(seconds);
        for protocol in PROTOCOLS {
            for ask in tokens.iter().flat_map(|token| carried(path, token)) {
                edge.ask(protocol, &ask).await.expect_status(status);
            }
        }
    }
    edge.expect_metric("edge_guard_refusals_total", &["token-expired"], 18.0).await;
    assert_eq!(origin.count(path), 1);
    expect_no_trace(&edge, &origin, &tokens);
}

#[tokio::test]
async fn keys_rotate_by_snapshot_without_a_gap_and_without_a_way_back() {
    let origin = FakeOrigin::start().await;
    let path = "/v/1/rotated.m4s";
    origin.on(path, reply(200).cache_control("max-age=600").body("x"));
    let (old, new) = (key("old", 1), key("new", 2));
    let edge = edge(&origin, with_keys(vec![old.clone()])).await;
    let end = edge.now_s() + 100;
    let by_old = cat(&old, "/v/", end, vec![]);
    let by_new = jwt(&new, "/v/", end);
    for (keys, old_status, new_status) in [
        (vec![old.clone()], 200, 401),
        (vec![new.clone(), old.clone()], 200, 200),
        (vec![new.clone()], 401, 200),
    ] {
        edge.change(|property| property.guard = with_keys(keys));
        for protocol in PROTOCOLS {
            for (token, status) in [(&by_old, old_status), (&by_new, new_status)] {
                for ask in carried(path, token) {
                    edge.ask(protocol, &ask).await.expect_status(status);
                }
            }
        }
    }
    eventually("every exchange was counted", || edge.metric("edge_requests_total", &[]) == 54.0)
        .await;
    expect_no_trace(&edge, &origin, &[by_old, by_new]);
}
