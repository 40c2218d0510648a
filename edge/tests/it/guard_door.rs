//! The door beside tokens, on all protocols: rates of clients and tokens, CORS, methods, countries.

use std::time::Instant;

use bytesize::ByteSize;
use futures::future::join_all;
use http::Method;
use tidegate_contract::guard_policy::{
    CorsPolicy, GeoPolicy, GuardPolicy, Rate, RatePolicy, TokenPolicy,
};

use crate::harness::{
    Answer, FakeOrigin, PROTOCOLS, TestEdge,
    client::Ask,
    eventually, noise, reply,
    token::{jwt, key},
};

async fn origin() -> FakeOrigin {
    let origin = FakeOrigin::start().await;
    origin.on("/v/a.m4s", reply(200).cache_control("max-age=600").body(noise(100_000)));
    origin
}

async fn edge(origin: &FakeOrigin, guard: GuardPolicy) -> TestEdge {
    TestEdge::before(origin).guard(guard).start().await
}

/// Refused for its rate, with a time after which it may come again.
fn expect_slowed(answer: Answer, seconds_min: u64) {
    let answer = answer.expect_status(429);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((seconds_min..=3600).contains(&wait), "{wait}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// A hundred kilobytes are worth more than a minute.
const SLOW: Rate =
    Rate { requests_per_second: 1000, burst: 1000, bytes_per_second: Some(ByteSize::kib(1)) };

#[tokio::test]
async fn a_client_that_asks_too_often_is_slowed_down_on_every_protocol() {
    let origin = origin().await;
    let rate = Rate { requests_per_second: 1, burst: 1, bytes_per_second: None };
    let rates = RatePolicy { client: Some(rate), token: None };
    let edge = edge(&origin, GuardPolicy { rates, ..GuardPolicy::default() }).await;
    for (protocol, last) in PROTOCOLS.into_iter().zip(2..) {
        // From an address of its own, so that no protocol uses up what is another's.
        let client = edge.client.from([127, 0, 0, last]);
        let began = Instant::now();
        let ask = Ask::get("/v/a.m4s");
        let asked = join_all((0..ASKS).map(|_| client.ask(protocol, &ask))).await;
        let seconds = began.elapsed().as_secs() + 1;
        let (good, slowed): (Vec<_>, Vec<_>) =
            asked.into_iter().map(Result::unwrap).partition(|answer| answer.status == 200);
        let good_max = usize::try_from(seconds).unwrap() + 1;
        assert!((1..=good_max).contains(&good.len()), "{} in {seconds} s", good.len());
        for answer in slowed {
            expect_slowed(answer, 1);
        }
    }
    assert_eq!(origin.count("/v/a.m4s"), 1);
}

#[tokio::test]
async fn a_client_that_takes_too_much_waits_and_another_does_not() {
    let origin = origin().await;
    let rates = RatePolicy { client: Some(SLOW), token: None };
    let edge = edge(&origin, GuardPolicy { rates, ..GuardPolicy::default() }).await;
    let ask = Ask::get("/v/a.m4s");
    for (protocol, last) in PROTOCOLS.into_iter().zip(2..) {
        let client = edge.client.from([127, 0, 0, last]);
        client.ask(protocol, &ask).await.unwrap().expect_body(noise(100_000));
        let sent = 100_000.0 * f64::from(last - 1);
        // What was sent is charged when the exchange ends, which the client need not wait for.
        eventually("it is charged", || edge.metric("edge_response_bytes_total", &[]) >= sent).await;
        for again in PROTOCOLS {
            expect_slowed(client.ask(again, &ask).await.unwrap(), 10);
        }
    }
    edge.get("/v/a.m4s").await.expect_status(200);
}

#[tokio::test]
async fn a_token_that_is_handed_around_is_slowed_down_wherever_it_is_used() {
    let origin = origin().await;
    let tokens = TokenPolicy { keys: vec![key("a", 1)], ..TokenPolicy::default() };
    let rates = RatePolicy { client: None, token: Some(SLOW) };
    let guard = GuardPolicy { tokens: Some(tokens), rates, ..GuardPolicy::default() };
    let edge = edge(&origin, guard).await;
    let token = |seconds| jwt(&key("a", 1), "/v/", edge.now_s() + seconds);
    let ask = |token: &str| Ask::get(&format!("/v/a.m4s?cat={token}"));
    let shared = ask(&token(100));
    edge.ask(PROTOCOLS[2], &shared).await.expect_body(noise(100_000));
    eventually("it is charged", || edge.metric("edge_response_bytes_total", &[]) > 0.0).await;
    for (protocol, last) in PROTOCOLS.into_iter().zip(2..) {
        let client = edge.client.from([127, 0, 0, last]);
        expect_slowed(client.ask(protocol, &shared).await.unwrap(), 10);
        let own = ask(&token(200 + u64::from(last)));
        client.ask(protocol, &own).await.unwrap().expect_status(200);
    }
    edge.expect_metric("edge_guard_refusals_total", &["rate-token"], 3.0).await;
}

#[tokio::test]
async fn a_page_asks_first_and_reads_answers_and_refusals() {
    let origin = origin().await;
    let cors = CorsPolicy { origins: vec!["https://*.p.org".into()], ..CorsPolicy::default() };
    let tokens = TokenPolicy { keys: vec![key("a", 1)], ..TokenPolicy::default() };
    let guard = GuardPolicy { cors: Some(cors), tokens: Some(tokens), ..GuardPolicy::default() };
    let edge = edge(&origin, guard).await;
    let token = jwt(&key("a", 1), "/v/", edge.now_s() + 100);
    let (page, stranger) = ("https://www.p.org", "https://evil.org");
    for protocol in PROTOCOLS {
        let preflight = |from: &str, headers: &str| {
            Ask::get("/v/a.m4s")
                .method(Method::OPTIONS)
                .header("origin", from)
                .header("access-control-request-method", "GET")
                .header("access-control-request-headers", headers)
        };
        let allowed = edge.ask(protocol, &preflight(page, "range,cmcd-object")).await;
        let allowed = allowed
            .expect_status(204)
            .expect_header("access-control-allow-origin", page)
            .expect_header("access-control-max-age", "86400");
        assert!(allowed.header("access-control-allow-headers").contains("cmcd-object"));
        edge.ask(protocol, &preflight(stranger, "range")).await.expect_status(403);
        edge.ask(protocol, &preflight(page, "x-own")).await.expect_status(403);

        let path = format!("/v/a.m4s?cat={token}");
        for (from, allowed) in [(page, page), (stranger, "")] {
            edge.ask(protocol, &Ask::get(&path).header("origin", from))
                .await
                .expect_status(200)
                .expect_header("access-control-allow-origin", allowed)
                .expect_header("vary", "Origin");
        }
        edge.ask(protocol, &Ask::get("/v/a.m4s").header("origin", page))
            .await
            .expect_status(401)
            .expect_header("access-control-allow-origin", page);
    }
    assert_eq!(origin.count("/v/a.m4s"), 1, "one copy for pages of all origins");
    assert_eq!(origin.last("/v/a.m4s").header("origin"), None);
}

#[tokio::test]
async fn methods_and_countries_that_are_not_let_in_reach_nobody() {
    let origin = origin().await;
    let geo = GeoPolicy {
        allow: vec!["DE".parse().unwrap()],
        places: vec!["127.0.0.1/32=DE".parse().unwrap(), "127.0.0.2/32=FR".parse().unwrap()],
        ..GeoPolicy::default()
    };
    let methods = vec!["GET".into(), "HEAD".into()];
    let edge =
        edge(&origin, GuardPolicy { methods, geo: Some(geo), ..GuardPolicy::default() }).await;
    for protocol in PROTOCOLS {
        for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
            let ask = Ask::get("/v/a.m4s").method(method);
            let refused = edge.ask(protocol, &ask).await;
            refused.expect_status(405).expect_header("allow", "GET, HEAD");
        }
        for elsewhere in [[127, 0, 0, 2], [127, 0, 0, 3]] {
            let client = edge.client.from(elsewhere);
            let refused = client.ask(protocol, &Ask::get("/v/a.m4s")).await.unwrap();
            assert!(refused.expect_status(403).body.unwrap().starts_with(b"{"));
        }
    }
    assert_eq!(origin.everything().len(), 0);
    edge.get("/v/a.m4s").await.expect_status(200);
    edge.expect_metric("edge_guard_refusals_total", &["geo"], 6.0).await;
}

/// Requests at once; answered within so many seconds, some of them are slowed down.
const ASKS: usize = 24;
