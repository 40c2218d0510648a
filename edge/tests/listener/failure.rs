//! Broken responses, clients that leave, clients that are slow.

use std::time::Duration;

use bytes::Bytes;

use crate::harness::{ALL, Edge, Wire, pattern, raw_h1, within};

#[tokio::test]
async fn a_response_that_was_broken_off_never_looks_complete() {
    let edge = Edge::start().await;
    for wire in ALL {
        for path in ["/abort/50000", "/abort-chunked/50000", "/abort/0", "/panic"] {
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
async fn a_client_that_disconnects_ends_its_exchange() {
    let edge = Edge::start().await;
    for wire in ALL {
        let client = edge.client(wire).await;
        tokio::select! {
            answered = client.get("/wait") => panic!("{answered:?}"),
            () = edge.app.expect_waiting(1) => {}
        }
        drop(client);
        edge.app.expect_waiting(0).await;
    }
    let mut plain = raw_h1::connect(edge.http).await;
    plain.say("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    edge.app.expect_waiting(1).await;
    drop(plain);
    edge.app.expect_waiting(0).await;
}

#[tokio::test]
async fn a_client_that_resets_a_stream_ends_its_exchange() {
    let edge = Edge::start().await;
    let (mut sender, _connection) = h2_client(&edge).await;
    let request = http::Request::get("https://localhost/wait").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    edge.app.expect_waiting(1).await;
    drop(response);
    edge.app.expect_waiting(0).await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_on_its_own_connection() {
    let edge = Edge::start().await;
    let (mut sender, _connection) = h2_client(&edge).await;
    let request =
        |path: &str| http::Request::get(format!("https://localhost{path}")).body(()).unwrap();
    let (slow, _) = sender.send_request(request("/bytes/20000000"), true).unwrap();
    let mut slow = within(slow).await.unwrap().into_body();
    // The stream's window closes first, so the connection has room left for others.
    let (quick, _) = sender.send_request(request("/bytes/20000"), true).unwrap();
    assert_eq!(taken(&mut within(quick).await.unwrap().into_body(), 20_000).await, 20_000);
    assert_eq!(
        taken(&mut slow, 20_000_000).await,
        20_000_000,
        "and it gets all of its own in the end"
    );
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let edge = Edge::with(|config| config.limits.write_timeout = Duration::from_millis(300)).await;
    let (mut sender, _connection) = h2_client(&edge).await;
    let request = http::Request::get("https://localhost/bytes/20000000").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut body = within(response).await.unwrap().into_body();
    let mut cut = None;
    // What was in flight comes first; nothing is given back, so no more follows.
    while let (None, Some(piece)) = (&cut, within(body.data()).await) {
        cut = piece.err();
    }
    assert_eq!(cut.unwrap().reason(), Some(h2::Reason::INTERNAL_ERROR));

    let mut plain = raw_h1::connect(edge.http).await;
    plain.say("GET /bytes/20000000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    edge.expect_metric(
        "edge_connections_cut_total",
        &[("protocol", "http/1.1"), ("reason", "slow")],
        1.0,
    )
    .await;
    let (answer, is_clean) = plain.rest().await;
    assert!(!is_clean && answer.len() < 20_000_000);
}

#[tokio::test]
async fn a_client_below_the_rate_is_cut_although_it_always_moves_something() {
    let edge = Edge::with(|config| {
        config.limits.rate_min = bytesize::ByteSize::kib(512);
        config.limits.rate_grace = Duration::from_millis(400);
    })
    .await;
    // Takes a little of a response now and then.
    let (mut sender, _connection) = h2_client(&edge).await;
    let request = http::Request::get("https://localhost/bytes/20000000").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut body = within(response).await.unwrap().into_body();
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let cut = loop {
        pause.tick().await;
        // One byte of window now and then.
        let _ = body.flow_control().release_capacity(1);
        match futures::FutureExt::now_or_never(body.data()) {
            Some(Some(Err(error))) => break error,
            Some(None) => panic!("complete"),
            Some(Some(Ok(_))) | None => {}
        }
    };
    assert_eq!(cut.reason(), Some(h2::Reason::INTERNAL_ERROR));

    // Sends a little of a body now and then.
    let mut plain = raw_h1::connect(edge.http).await;
    plain.say("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await;
    let answer = within(async {
        loop {
            pause.tick().await;
            plain.say("x").await;
            let mut seen = [0; 64];
            if let Ok(read @ 1..) = plain.io.try_read(&mut seen) {
                break String::from_utf8_lossy(&seen[..read]).into_owned();
            }
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

async fn taken(body: &mut h2::RecvStream, length: usize) -> usize {
    let (mut taken, whole) = (0, pattern(length));
    while let Some(piece) = within(body.data()).await {
        let piece = piece.unwrap();
        assert!(piece == whole.slice(taken..taken + piece.len()), "at {taken}");
        taken += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    taken
}

/// A client whose connection lives as long as the guard.
async fn h2_client(edge: &Edge) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let tcp = tokio::net::TcpStream::connect(edge.https).await.unwrap();
    let config = std::sync::Arc::new(crate::harness::client_of_anyone(&[b"h2"]));
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    let mut settings = h2::client::Builder::new();
    // Room for others when one stream takes nothing.
    settings.initial_connection_window_size(1 << 20);
    let (sender, connection) = settings.handshake(tls).await.unwrap();
    (sender, tokio::spawn(async { drop(connection.await) }))
}
