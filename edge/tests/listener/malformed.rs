//! Requests that break the protocol: refused before the app sees them.

use bytesize::ByteSize;

use crate::{
    harness::{Edge, Wire, raw_h1, raw_h2},
    ill_formed::{self, GET},
};

#[tokio::test]
async fn malformed_requests_never_reach_the_app_over_h2() {
    const PROTOCOL_ERROR: u32 = 1;
    let edge = Edge::with(|config| config.limits.malformed_requests_max = 1_000).await;
    let mut connection = raw_h2::connect(&edge).await;
    for (what, fields) in ill_formed::requests() {
        let stream = connection.request(&fields).await;
        let outcome = connection.outcome(stream).await;
        assert_eq!(outcome, raw_h2::Outcome::Reset(PROTOCOL_ERROR), "{what}");
    }
    assert_eq!(edge.app.requests(), 0);

    let stream = connection.request(&GET).await;
    assert_eq!(connection.outcome(stream).await, raw_h2::Outcome::Answered);
    assert_eq!(edge.app.requests(), 1, "the table differs from this only by its faults");
}

/// The long table stands beside the parser; these go all the way.
#[tokio::test]
async fn malformed_requests_never_reach_the_app_over_h1() {
    let edge = Edge::start().await;
    for (status, text) in [
        (400, "GET / HTTP/1.1\nhost: a\n\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        (400, "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET /\r\n\r\n"),
        (501, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"),
        (501, "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n"),
        (505, "GET / HTTP/3.0\r\nhost: a\r\n\r\n"),
        (417, "POST / HTTP/1.1\r\nhost: a\r\nexpect: a-pony\r\ncontent-length: 5\r\n\r\nhello"),
    ] {
        let mut client = raw_h1::connect(edge.http).await;
        // What follows must not be taken for a request.
        client.say(format!("{text}GET /bytes/1 HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let (answer, _) = client.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{text:?}: {answer}");
    }
    assert_eq!(edge.app.requests(), 0);
}

#[tokio::test]
async fn a_client_with_too_many_malformed_requests_loses_its_connection() {
    let edge = Edge::with(|config| config.limits.malformed_requests_max = 4).await;
    let mut connection = raw_h2::connect(&edge).await;
    let mut last = 0;
    for _ in 0..8 {
        last = connection.request(&[&GET[..], &[("host", "elsewhere.test")]].concat()).await;
    }
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    assert_eq!(connection.outcome(last).await, raw_h2::Outcome::GoAway(ENHANCE_YOUR_CALM));
    edge.expect_metric(
        "edge_requests_refused_total",
        &[("protocol", "h2"), ("reason", "malformed")],
        4.0,
    )
    .await;
}

#[tokio::test]
async fn heads_above_the_limits_are_refused() {
    let edge = Edge::with(|config| {
        config.limits.header_bytes_max = ByteSize::kib(8);
        config.limits.target_bytes_max = ByteSize::kib(4);
        config.limits.headers_max = 50;
    })
    .await;
    let long = "a".repeat(10_000);
    for wire in [Wire::H1, Wire::H2] {
        let client = edge.client(wire).await;
        let mut request = client.request(http::Method::GET, "/bytes/5");
        request.headers_mut().insert("x-long", long.parse().unwrap());
        let response = client.send(request, bytes::Bytes::new()).await.unwrap();
        assert_eq!(response.status, 431, "{wire:?}");

        let client = edge.client(wire).await;
        let response = client.get(&format!("/{}", &long[..5_000])).await;
        assert_eq!(response.status, 414, "{wire:?}");

        let client = edge.client(wire).await;
        let mut request = client.request(http::Method::GET, "/bytes/5");
        for n in 0..60 {
            request.headers_mut().append("x-many", n.into());
        }
        let response = client.send(request, bytes::Bytes::new()).await.unwrap();
        assert_eq!(response.status, 431, "{wire:?}");
    }
    assert_eq!(edge.app.requests(), 0);
}
