//! Tokens that live on: renewed the way they came, and as a cookie after they came in a URL.

use tidegate_contract::guard_policy::{GuardPolicy, RenewalPolicy, SessionCookie, TokenPolicy};

use crate::harness::{
    Answer, FakeOrigin, PROTOCOLS, TestEdge,
    client::Ask,
    log, reply,
    token::{cat, key, renewable},
};

const NAME: &str = "cta-common-access-token";

async fn edge(origin: &FakeOrigin, session: Option<SessionCookie>) -> TestEdge {
    let tokens = TokenPolicy {
        keys: vec![key("a", 1)],
        renewal: Some(RenewalPolicy::default()),
        session,
        ..TokenPolicy::default()
    };
    TestEdge::before(origin)
        .guard(GuardPolicy { tokens: Some(tokens), ..GuardPolicy::default() })
        .config(|config| config.access_log = true)
        .start()
        .await
}

/// A token in its last minute, which asks to be renewed this way.
fn ending(edge: &TestEdge, way: i64) -> String {
    let now = edge.now_s();
    cat(&key("a", 1), "/v/", now + 30, renewable(way, now - 100))
}

/// The token in a cookie that is set.
fn set_cookie(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie");
    let (token, attributes) =
        cookie.strip_prefix(&format!("{NAME}=")).unwrap().split_once(';').unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite=None"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    token.to_owned()
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed_the_way_it_came_on_all_protocols() {
    let origin = FakeOrigin::start().await;
    let path = "/v/1/renewed.m4s";
    origin.on(path, reply(200).cache_control("max-age=6000").body("x"));
    let edge = edge(&origin, None).await;
    let mut fresh = Vec::new();
    for protocol in PROTOCOLS {
        let token = ending(&edge, 0);
        let by_header = edge.ask(protocol, &Ask::get(path).header(NAME, &token)).await;
        fresh.push(by_header.expect_status(200).header(NAME).to_owned());

        let cookie = format!("{NAME}={token}");
        let by_cookie = edge.ask(protocol, &Ask::get(path).header("cookie", &cookie)).await;
        fresh.push(set_cookie(&by_cookie.expect_status(200)));

        let by_query = edge.get_by(protocol, &format!("{path}?cat={token}&x=1")).await;
        let location = by_query.expect_status(307).header("location").to_owned();
        let rest = location.strip_prefix(&format!("{path}?cat=")).unwrap();
        fresh.push(rest.strip_suffix("&x=1").unwrap().to_owned());
    }
    edge.expect_metric("edge_guard_tokens_total", &["renewed"], 9.0).await;
    // The old ones are over by then, the new ones are not.
    edge.advance(300);
    for (protocol, token) in PROTOCOLS.iter().cycle().zip(&fresh) {
        edge.ask(*protocol, &Ask::get(path).header(NAME, token)).await.expect_status(200);
    }
    edge.advance(400);
    edge.ask(PROTOCOLS[0], &Ask::get(path).header(NAME, &fresh[0])).await.expect_status(401);
    assert_eq!(origin.count(path), 1);
    let log = log::written();
    assert!(fresh.iter().all(|token| !log.contains(&token[token.len() - 24..])));
}

#[tokio::test]
async fn a_renewed_token_is_for_the_one_client_and_not_stored_with_the_answer() {
    let origin = FakeOrigin::start().await;
    let path = "/v/1/first.m4s";
    origin.on(path, reply(200).cache_control("max-age=600").body("x"));
    let edge = edge(&origin, None).await;
    // The one whose request fills the cache is renewed; the others get the same object, not its token.
    let first = Ask::get(path).header(NAME, &ending(&edge, 0));
    let first = edge.ask(PROTOCOLS[0], &first).await.expect_cache("fwd=uri-miss");
    assert!(!first.header(NAME).is_empty());
    let steady = cat(&key("a", 1), "/v/", edge.now_s() + 500, vec![]);
    for protocol in PROTOCOLS {
        let other = edge.ask(protocol, &Ask::get(path).header(NAME, &steady)).await;
        let other = other.expect_status(200).expect_cache("hit");
        assert_eq!((other.header(NAME), other.header("set-cookie")), ("", ""));
    }
}

#[tokio::test]
async fn a_token_in_the_url_of_a_playlist_goes_on_as_a_cookie() {
    let origin = FakeOrigin::start().await;
    origin.on("/v/1/p.m3u8", reply(200).cache_control("max-age=60").body("#EXTM3U\n1.m4s\n"));
    origin.on("/v/1/1.m4s", reply(200).cache_control("max-age=60").body("x"));
    let edge =
        edge(&origin, Some(SessionCookie { path: "/v/".into(), ..Default::default() })).await;
    for protocol in PROTOCOLS {
        let token = cat(&key("a", 1), "/v/", edge.now_s() + 500, vec![]);
        let playlist = edge.get_by(protocol, &format!("/v/1/p.m3u8?cat={token}")).await;
        let cookie = set_cookie(&playlist.expect_status(200));
        assert_eq!(cookie, token);
        edge.get_by(protocol, "/v/1/1.m4s").await.expect_status(401);
        let ask = Ask::get("/v/1/1.m4s").header("cookie", &format!("{NAME}={cookie}"));
        let segment = edge.ask(protocol, &ask).await.expect_status(200);
        assert_eq!(segment.header("set-cookie"), "", "it has it already");
    }
    assert_eq!((origin.count("/v/1/p.m3u8"), origin.count("/v/1/1.m4s")), (1, 1));
}
