//! What nobody gets more of: connections, streams, queries, bytes and time.

use std::{pin::pin, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::client::{Trust, WAIT, exchange, framed, query, stream};
use crate::dnssec_node::SignedNode;

#[test]
fn queries_of_a_connection_are_answered_until_it_has_had_enough() {
    let node = SignedNode::start(|config| config.encrypted.queries_max = 3);
    let trust = Trust::of(&node);
    let asked = query(0, "video.example.", true);
    node.block_on(async {
        let mut tls = trust.tls(node.address("dot"), b"dot").await;
        let quic = trust.quic(node.address("doq"), b"doq").await;
        for n in 0..3 {
            assert!(exchange(&mut tls, &asked).await.is_some(), "{n}");
            assert!(stream(&quic, &framed(&asked)).await.is_some(), "{n}");
        }
        assert!(exchange(&mut tls, &asked).await.is_none());
        let closed = timeout(WAIT, quic.closed()).await.expect("it is closed");
        assert!(closed.to_string().contains("closed by peer"), "{closed}");
    });
    for transport in ["dot", "doq"] {
        let ended = [("transport", transport), ("reason", "queries")];
        assert_eq!(
            node.metric("geo_encrypted_connections_ended_total", &ended),
            1.0,
            "{transport}"
        );
    }
}

#[test]
fn a_client_has_so_many_connections() {
    let node = SignedNode::start(|config| {
        config.encrypted.connections_per_client_max = 2;
        config.encrypted.handshake = Duration::from_secs(600);
    });
    let trust = Trust::of(&node);
    let silent = node.block_on(async {
        let connect = || TcpStream::connect(node.address("dot"));
        (connect().await.expect("there"), connect().await.expect("there"))
    });
    node.wait("both are open", || open(&node, "dot") == 2.0);
    node.block_on(async {
        assert!(trust.try_tls(node.address("dot"), b"dot").await.is_err(), "a third");
    });
    expect_ended(&node, "dot", "client");
    drop(silent);
    node.wait("both are gone", || open(&node, "dot") == 0.0);

    node.block_on(async {
        let two = [
            trust.quic(node.address("doq"), b"doq").await,
            trust.quic(node.address("doq"), b"doq").await,
        ];
        // The handshake may be over at this side before it is refused at the other.
        if let Ok(third) = trust.try_quic(node.address("doq"), b"doq").await {
            let closed = timeout(WAIT, third.closed()).await.expect("it is closed");
            assert_eq!(closed.to_string(), "closed by peer: 4");
        }
        drop(two);
    });
    expect_ended(&node, "doq", "client");
}

#[test]
fn handshakes_that_do_not_come_end() {
    let node = SignedNode::start(|config| config.encrypted.handshake = Duration::from_millis(100));
    for listener in ["dot", "doh"] {
        node.block_on(async {
            let mut silent = TcpStream::connect(node.address(listener)).await.expect("there");
            let read = timeout(WAIT, silent.read(&mut [0])).await.expect("it is closed");
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        });
        expect_ended(&node, listener, "handshake");
    }
}

#[test]
fn silent_connections_end() {
    // Long enough for a handshake on a machine that is busy.
    let node = SignedNode::start(|config| config.encrypted.idle = Duration::from_secs(3));
    let trust = Trust::of(&node);
    let connections = node.block_on(async {
        let quic = trust.quic(node.address("doq"), b"doq").await;
        let h3 = trust.quic(node.address("doh3"), b"h3").await;
        let tls = trust.tls(node.address("dot"), b"dot").await;
        let https = trust.tls(node.address("doh"), b"h2").await;
        (quic, h3, tls, https)
    });
    for transport in ["dot", "doh", "doq", "doh3"] {
        let labels = [("transport", transport)];
        let open = || node.metric("geo_encrypted_connections", &labels);
        node.wait("silent connections end", || open() == 0.0);
    }
    expect_ended(&node, "dot", "idle");
    drop(connections);
}

#[test]
fn all_clients_together_have_so_many_connections() {
    let node = SignedNode::start(|config| {
        config.encrypted.connections_max = 1;
        config.encrypted.handshake = Duration::from_secs(600);
        config.encrypted.idle = Duration::from_secs(600);
    });
    let trust = Trust::of(&node);
    let held = node.block_on(async {
        let silent = TcpStream::connect(node.address("dot")).await.expect("there");
        (silent, trust.quic(node.address("doq"), b"doq").await)
    });
    node.wait("it has a place", || open(&node, "dot") == 1.0);
    node.block_on(async {
        assert!(trust.try_tls(node.address("dot"), b"dot").await.is_err());
        assert!(trust.try_quic(node.address("doq"), b"doq").await.is_err());
    });
    node.wait("both were refused", || {
        ended(&node, "dot", "full") >= 1.0 && ended(&node, "doq", "full") >= 1.0
    });
    drop(held.0);
    node.wait("the place is free", || open(&node, "dot") == 0.0);
    node.block_on(async {
        trust.tls(node.address("dot"), b"dot").await;
    });
}

#[test]
fn so_many_streams_of_a_connection_are_open_at_once() {
    let node = SignedNode::start(|config| config.encrypted.queries_at_once_max = 2);
    let trust = Trust::of(&node);
    let asked = framed(&query(0, "video.example.", true));
    node.block_on(async {
        let connection = trust.quic(node.address("doq"), b"doq").await;
        let mut begun = Vec::new();
        for _ in 0..2 {
            let (mut send, receive) = connection.open_bi().await.expect("a stream");
            send.write_all(&asked[..1]).await.expect("sent");
            begun.push((send, receive));
        }
        let mut third = pin!(connection.open_bi());
        assert!(futures::poll!(third.as_mut()).is_pending());
        let (send, receive) = &mut begun[0];
        send.write_all(&asked[1..]).await.expect("sent");
        send.finish().expect("open");
        let answer = timeout(WAIT, receive.read_to_end(70_000)).await.expect("in time");
        assert!(answer.is_ok_and(|answer| answer.len() > 12));
        timeout(WAIT, third).await.expect("there is room").expect("a stream");
    });
}

/// All at once, since each takes as long as it is waited for.
#[test]
fn whoever_is_slow_is_not_waited_for() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let asked = framed(&query(0, "video.example.", true));
    let held = node.block_on(async {
        // A query that stops in the middle.
        let mut half = trust.tls(node.address("dot"), b"dot").await;
        half.write_all(&asked[..9]).await.expect("sent");
        // One who asks and asks, and reads nothing.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a buffer");
        let connected = socket.connect(node.address("dot")).await.expect("there");
        let mut deaf = trust.tls_on(connected, b"dot").await.expect("a handshake");
        let flood = async { while deaf.write_all(&asked).await.is_ok() {} };
        timeout(WAIT, flood).await.expect("it is closed");
        // The stream is lost, and the connection is not.
        let quic = trust.quic(node.address("doq"), b"doq").await;
        let (mut send, mut receive) = quic.open_bi().await.expect("a stream");
        send.write_all(&asked[..9]).await.expect("sent");
        let read = timeout(WAIT, receive.read_to_end(70_000)).await.expect("in time");
        assert!(read.is_err(), "{read:?}");
        assert!(stream(&quic, &asked).await.is_some());
        (half, deaf)
    });
    node.wait("both are gone", || open(&node, "dot") == 0.0);
    drop(held);
}

fn open(node: &SignedNode, transport: &str) -> f64 {
    node.metric("geo_encrypted_connections", &[("transport", transport)])
}

/// It is counted a moment after the client knows of it.
fn expect_ended(node: &SignedNode, transport: &str, reason: &str) {
    node.wait("it is counted", || ended(node, transport, reason) > 0.0);
    assert_eq!(ended(node, transport, reason), 1.0);
}

fn ended(node: &SignedNode, transport: &str, reason: &str) -> f64 {
    let labels = [("transport", transport), ("reason", reason)];
    node.metric("geo_encrypted_connections_ended_total", &labels)
}
