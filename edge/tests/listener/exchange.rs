//! Ordinary exchanges: the same on all three protocols.

use bytes::Bytes;
use futures::future::join_all;
use http::Method;

use crate::harness::{ALL, Edge, Wire, pattern, raw_h3, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_returns_every_byte_and_says_who_asked() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for path in ["/bytes/0", "/bytes/1", "/bytes/1000000", "/chunked/300000"] {
            let response = client.get(path).await;
            let length = path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(response.status, 200);
            assert!(response.body == pattern(length), "{wire:?} {path} {}", response.body.len());
            assert_eq!(response.header("x-protocol"), name(wire));
            assert_eq!(response.header("x-tls"), "true");
            assert!(response.header("x-client").starts_with("127.0.0.1:"));
            assert_eq!(response.header("x-early"), "false");
        }
    }
    edge.expect_metric("edge_connections_total", &[("protocol", "h3")], 1.0).await;
    edge.expect_metric("edge_connections", &[("protocol", "h2")], 0.0).await;
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
async fn head_has_a_length_and_no_body() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        let request = client.request(Method::HEAD, "/bytes/5000");
        let response = client.send(request, Bytes::new()).await.unwrap();
        assert_eq!((response.status.as_u16(), response.body.len()), (200, 0), "{wire:?}");
        assert_eq!(response.header("content-length"), "5000", "{wire:?}");
        assert_eq!(client.get("/bytes/7").await.body.len(), 7, "the connection goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_carries_its_body_to_the_origin() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for length in [0, 1, 700_000] {
            let request = client.request(Method::POST, "/echo");
            let response = client.send(request, pattern(length)).await.unwrap();
            assert!(response.body == pattern(length), "{wire:?} {length}");
            assert_eq!(response.header("x-method"), "POST");
            assert_eq!(response.header("x-host"), format!("localhost:{}", edge.https.port()));
        }
    }
}

#[tokio::test]
async fn a_body_without_length_over_h3_is_passed_on_in_chunks() {
    let edge = Edge::start().await;
    let connection = raw_h3::connect(&edge).await;
    let mut bytes = raw_h3::request("POST", "/echo", &[]);
    for piece in [&b"one "[..], b"", b"two ", b"", b"", b"three"] {
        bytes.extend(raw_h3::frame(raw_h3::DATA, piece));
        bytes.extend(raw_h3::frame(0x21, b"unknown frames are ignored"));
    }
    let (mut send, mut recv) = raw_h3::open(&connection, &bytes).await;
    send.finish().unwrap();
    let response = within(recv.read_to_end(1 << 16)).await.unwrap();
    assert!(response.ends_with(b"\x00\x0done two three"), "a DATA frame of 13 bytes: {response:?}");
}

#[tokio::test]
async fn requests_without_body_announce_none_to_the_origin() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
            let request = client.request(method.clone(), "/echo");
            let response = client.send(request, Bytes::new()).await.unwrap();
            // hyper says `content-length: 0` with OPTIONS; chunked would announce a body.
            let framing = response.header("x-framing");
            assert!(matches!(framing, "- -" | "0 -"), "{wire:?} {method}: {framing}");
        }
    }
    // The end of this one comes late; a GET without length still has no body.
    let connection = raw_h3::connect(&edge).await;
    let request = raw_h3::request("GET", "/bytes/5", &[]);
    let (_open, recv) = raw_h3::open(&connection, &request).await;
    assert!(matches!(raw_h3::outcome(recv).await, raw_h3::Outcome::Answered(n) if n > 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_streams_share_one_connection() {
    let edge = Edge::start().await;
    for wire in [Wire::H2, Wire::H3] {
        let client = edge.client(wire).await;
        let sizes = (0..20).map(|i| 1_000 + i * 13_337);
        let responses = join_all(sizes.map(async |size| {
            let response = client.get(&format!("/bytes/{size}")).await;
            response.body == pattern(size)
        }))
        .await;
        assert_eq!(responses, vec![true; 20], "{wire:?}");
    }
    assert_eq!(edge.origin.requests(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_far_above_the_frame_limit_passes_in_pieces() {
    let edge = Edge::with(|config| {
        config.limits.header_bytes_max = bytesize::ByteSize::kib(8);
        config.quic.frame_bytes_max = bytesize::ByteSize::kib(16);
    })
    .await;
    let client = edge.client(Wire::H3).await;
    let request = client.request(Method::PUT, "/echo");
    let response = client.send(request, pattern(3_000_000)).await.unwrap();
    assert!(response.body == pattern(3_000_000));
}

fn name(wire: Wire) -> &'static str {
    match wire {
        Wire::H1 => "http/1.1",
        Wire::H2 => "h2",
        Wire::H3 => "h3",
    }
}
