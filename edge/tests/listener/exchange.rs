//! Ordinary exchanges: the same on both protocols.

use bytes::Bytes;
use futures::future::join_all;
use http::Method;

use crate::harness::{ALL, Edge, Wire, pattern, within};

#[tokio::test]
async fn get_returns_every_byte_and_says_who_asked() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for path in ["/bytes/0", "/bytes/1", "/bytes/1000000", "/chunked/0", "/chunked/300000"] {
            let response = client.get(path).await;
            let length = path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(response.status, 200);
            assert!(response.body == pattern(length), "{wire:?} {path} {}", response.body.len());
            assert_eq!(response.header("x-protocol"), name(wire));
            assert_eq!(response.header("x-tls"), "true");
            assert_eq!(response.header("cache-control"), "max-age=60");
            assert!(response.header("x-client").starts_with("127.0.0.1:"));
            let length =
                response.headers.get("content-length").map(|value| value.to_str().unwrap());
            let expected = path.strip_prefix("/bytes/");
            assert_eq!(length, expected, "{wire:?} {path}");
        }
    }
    edge.expect_metric("edge_connections_total", &[("protocol", "h2")], 1.0).await;
    edge.expect_metric("edge_connections", &[("protocol", "h2")], 0.0).await;
    edge.expect_metric("edge_tls_handshakes_total", &[("version", "1.3"), ("kind", "full")], 2.0)
        .await;
}

#[tokio::test]
async fn plain_http_speaks_h1_without_tls() {
    let edge = Edge::start().await;
    let stream = tokio::net::TcpStream::connect(edge.http).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("/bytes/10").header("host", "a.test");
        let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
        within(sender.ready()).await.unwrap();
        let response = within(sender.send_request(request)).await.unwrap();
        assert_eq!(response.headers()["x-tls"], "false");
        assert_eq!(response.headers()["x-protocol"], "http/1.1");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        assert_eq!(body.to_bytes(), pattern(10));
    }
    edge.expect_metric("edge_connections_total", &[("protocol", "http/1.1")], 1.0).await;
}

#[tokio::test]
async fn some_responses_have_no_body_whatever_they_say() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for path in ["/bytes/5000", "/chunked/5000"] {
            let request = client.request(Method::HEAD, path);
            let response = client.send(request, Bytes::new()).await.unwrap();
            assert_eq!((response.status.as_u16(), response.body.len()), (200, 0), "{wire:?}");
            let expected = if path == "/bytes/5000" { "5000" } else { "" };
            assert_eq!(response.header("content-length"), expected, "{wire:?}");
        }
        for status in [204, 304, 404] {
            let response = client.get(&format!("/status/{status}")).await;
            assert_eq!((response.status.as_u16(), response.body.len()), (status, 0), "{wire:?}");
            let expected = if status == 404 { "0" } else { "" };
            assert_eq!(response.header("content-length"), expected, "{wire:?} {status}");
        }
        assert_eq!(client.get("/bytes/7").await.body.len(), 7, "the connection goes on");
    }
}

#[tokio::test]
async fn post_carries_its_body_to_the_app() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for length in [0, 1, 700_000] {
            let request = client.request(Method::POST, "/echo?a=b");
            let response = client.send(request, pattern(length)).await.unwrap();
            assert!(response.body == pattern(length), "{wire:?} {length}");
            assert_eq!(response.header("x-method"), "POST");
            assert_eq!(response.header("x-target"), "/echo?a=b");
            assert_eq!(response.header("x-host"), format!("localhost:{}", edge.https.port()));
        }
    }
}

#[tokio::test]
async fn requests_without_body_announce_none_to_the_app() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
            let request = client.request(method.clone(), "/echo");
            let response = client.send(request, Bytes::new()).await.unwrap();
            // hyper says `content-length: 0` with OPTIONS.
            let framing = response.header("x-framing");
            assert!(matches!(framing, "empty" | "known 0"), "{wire:?} {method}: {framing}");
        }
    }
}

#[tokio::test]
async fn twenty_streams_share_one_connection() {
    let edge = Edge::start().await;
    let client = edge.client(Wire::H2).await;
    let sizes = (0..20).map(|i| 1_000 + i * 13_337);
    let responses = join_all(sizes.map(async |size| {
        let response = client.get(&format!("/bytes/{size}")).await;
        response.body == pattern(size)
    }))
    .await;
    assert_eq!(responses, vec![true; 20]);
    assert_eq!(edge.app.requests(), 20);
}

#[tokio::test]
async fn the_way_to_the_client_is_known() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        assert_eq!(client.get("/way").await.header("x-way"), "true", "{wire:?}");
    }
}

fn name(wire: Wire) -> &'static str {
    match wire {
        Wire::H1 => "http/1.1",
        Wire::H2 => "h2",
    }
}
