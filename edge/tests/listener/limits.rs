//! Limits on connections and on their time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Edge, Wire, raw_h3, within};

#[tokio::test]
async fn a_connection_above_the_limit_is_closed_at_once() {
    let edge = Edge::with(|config| config.limits.connections_max = 2).await;
    let first = edge.client(Wire::H1).await;
    let second = edge.client(Wire::H3).await;
    assert_eq!(first.get("/bytes/3").await.body.len(), 3);
    assert_eq!(second.get("/bytes/3").await.body.len(), 3);

    let mut refused = TcpStream::connect(edge.http).await.unwrap();
    expect_closed(&mut refused).await;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "limit")], 1.0).await;

    drop(first);
    edge.expect_metric("edge_connections", &[("protocol", "http/1.1")], 0.0).await;
    assert_eq!(edge.client(Wire::H2).await.get("/bytes/3").await.body.len(), 3);
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_dropped() {
    let edge =
        Edge::with(|config| config.limits.handshake_timeout = Duration::from_millis(200)).await;
    let mut silent = TcpStream::connect(edge.https).await.unwrap();
    expect_closed(&mut silent).await;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "handshake")], 1.0).await;
}

#[tokio::test]
async fn a_header_that_comes_too_slowly_ends_the_connection() {
    let edge = Edge::with(|config| config.limits.header_timeout = Duration::from_millis(300)).await;

    let mut slow = TcpStream::connect(edge.http).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    expect_closed(&mut slow).await;

    let connection = raw_h3::connect(&edge).await;
    let begun = &raw_h3::request("GET", "/bytes/5", &[])[..10];
    let (_send, recv) = raw_h3::open(&connection, begun).await;
    const REQUEST_INCOMPLETE: u32 = 0x10d;
    let outcome = raw_h3::outcome(recv).await;
    assert_eq!(outcome, raw_h3::Outcome::Reset(REQUEST_INCOMPLETE.into()));
    assert_eq!(edge.origin.requests(), 0);
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let edge = Edge::with(|config| {
        // H1 counts in whole seconds.
        config.limits.idle_timeout = Duration::from_secs(1);
    })
    .await;
    let mut clients = Vec::new();
    for wire in crate::harness::ALL {
        clients.push(edge.client(wire).await);
    }
    let waiting = futures::future::join_all(clients.iter().map(|client| client.get("/wait")));
    let mut waiting = Box::pin(waiting);
    tokio::select! {
        answered = &mut waiting => panic!("{answered:?}"),
        () = edge.origin.expect_waiting(3) => {}
    }
    // A fourth connection tells when the idle time is over for those that are idle.
    let mut idle = edge.client(Wire::H2).await;
    tokio::select! {
        answered = &mut waiting => panic!("{answered:?}"),
        () = idle.closed() => {}
    }
    edge.origin.go_on();
    for response in within(waiting).await {
        assert_eq!(response.body, "at last");
    }
    for mut client in clients {
        client.closed().await;
    }
}

#[tokio::test]
async fn a_new_client_proves_its_address_when_many_shake_hands() {
    let edge = Edge::with(|config| config.quic.retry_above = 0).await;
    assert_eq!(edge.client(Wire::H3).await.get("/bytes/3").await.body.len(), 3);
    edge.expect_metric("edge_connections_refused_total", &[("reason", "retry")], 1.0).await;
}

async fn expect_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 16];
    // A reset and a clean end are both a close.
    let read = within(stream.read(&mut buffer)).await.unwrap_or(0);
    assert_eq!(read, 0, "nothing is said: {:?}", &buffer[..read]);
}
