//! Broken upstreams, clients that leave, clients that are slow.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Method;

use crate::harness::{ALL, Client, Edge, Wire, pattern, raw_h3, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_the_origin_broke_off_never_looks_complete() {
    let edge = Edge::start().await;
    for wire in ALL {
        for path in ["/abort/50000", "/abort-chunked/50000"] {
            let client = edge.client(wire).await;
            let broken = client.try_get(path).await;
            assert!(broken.is_err(), "{wire:?} {path}: {:?}", broken.map(|r| r.body.len()));
            if wire != Wire::H1 {
                assert_eq!(client.get("/bytes/9").await.body.len(), 9, "only the stream is cut");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_a_stream_ends_the_request_at_the_origin() {
    let edge = Edge::start().await;
    let client = edge.client(Wire::H3).await;
    let mut stream = client.begin_h3(client.request(Method::GET, "/wait")).await;
    edge.origin.expect_waiting(1).await;
    stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
    edge.origin.expect_waiting(0).await;
    assert_eq!(client.get("/bytes/9").await.body.len(), 9, "the connection goes on");
}

#[tokio::test]
async fn a_client_that_disconnects_ends_the_request_at_the_origin() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        tokio::select! {
            answered = client.get("/wait") => panic!("{answered:?}"),
            () = edge.origin.expect_waiting(1) => {}
        }
        if let Some(quic) = &client.quic {
            quic.close(0u32.into(), b"bye");
        }
        drop(client);
        edge.origin.expect_waiting(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_up_nobody_on_its_own_connection() {
    let edge = Edge::start().await;
    let client = edge.client(Wire::H3).await;
    let mut slow = client.begin_h3(client.request(Method::GET, "/bytes/20000000")).await;
    within(slow.recv_response()).await.unwrap();
    assert_eq!(client.get("/bytes/100000").await.body, pattern(100_000));

    let mut received = 0;
    while let Some(mut piece) = within(slow.recv_data()).await.unwrap() {
        let piece = piece.copy_to_bytes(piece.remaining());
        received += piece.len();
    }
    assert_eq!(received, 20_000_000, "and it gets all of its own in the end");
}

/// The first client's pace must not become the pace of the fill that everybody waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_first_client_does_not_slow_the_fill_for_others() {
    let edge = Edge::start().await;
    for (first, path) in
        [(Wire::H2, "/cached/a/bytes/8000000"), (Wire::H3, "/cached/b/bytes/8000000")]
    {
        let stalled = Stalled::begin(&edge, first, path).await;
        for wire in ALL {
            let response = edge.client(wire).await.get(path).await;
            assert!(response.body == pattern(8_000_000), "{first:?} first, then {wire:?}");
        }
        drop(stalled);
    }
    assert_eq!(edge.origin.requests(), 2, "one fill each");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_after_the_write_timeout() {
    let edge = Edge::with(|config| config.limits.write_timeout = Duration::from_millis(300)).await;
    let connection = raw_h3::connect(&edge).await;
    let request = raw_h3::request("GET", "/bytes/20000000", &[]);
    let (_send, mut recv) = raw_h3::open(&connection, &request).await;
    // Received, but not read: the window stays closed until the edge gives up.
    let reset = within(recv.received_reset()).await.unwrap();
    assert_eq!(reset, Some(0x102u32.into()), "H3_INTERNAL_ERROR");
}

#[tokio::test]
async fn a_request_body_against_its_length_is_refused_over_h3() {
    let edge = Edge::start().await;
    for (length, body) in [("50", "short"), ("3", "longer than that")] {
        let connection = raw_h3::connect(&edge).await;
        let mut bytes = raw_h3::request("POST", "/echo", &[("content-length", length)]);
        bytes.extend(raw_h3::frame(raw_h3::DATA, body.as_bytes()));
        let (mut send, recv) = raw_h3::open(&connection, &bytes).await;
        send.finish().unwrap();
        let outcome = raw_h3::outcome(recv).await;
        assert_eq!(outcome, raw_h3::Outcome::Reset(raw_h3::MESSAGE_ERROR.into()), "{length}");
    }
    // Sent to the origin is at most the beginning; nothing of it stays on a shared connection.
    assert_eq!(edge.client(Wire::H1).await.get("/bytes/9").await.body, pattern(9));
}

/// A client that has asked for something and takes none of the body.
enum Stalled {
    H2 { _body: h2::RecvStream, _sender: h2::client::SendRequest<Bytes> },
    H3 { _stream: Box<dyn std::any::Any + Send>, _client: Client },
}

impl Stalled {
    async fn begin(edge: &Edge, wire: Wire, path: &str) -> Self {
        if wire == Wire::H3 {
            let client = edge.client(Wire::H3).await;
            let mut stream = client.begin_h3(client.request(Method::GET, path)).await;
            within(stream.recv_response()).await.unwrap();
            return Self::H3 { _stream: Box::new(stream), _client: client };
        }
        let tcp = tokio::net::TcpStream::connect(edge.https).await.unwrap();
        let config = std::sync::Arc::new(crate::harness::trusting(&[b"h2"]));
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("https://localhost:{}{path}", edge.https.port());
        let request = http::Request::get(uri).body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let body = within(response).await.unwrap().into_body();
        Self::H2 { _body: body, _sender: sender }
    }
}
