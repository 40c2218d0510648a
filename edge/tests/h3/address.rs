//! Clients that must prove their address before they cost anything, or that speak another version.

use tokio::net::UdpSocket;

use crate::harness::{Edge, client, raw, within};

#[tokio::test]
async fn under_load_a_client_proves_its_address_once() {
    let edge = Edge::with(|config| {
        config.quic.retry_above = 0;
        config.workers = 2;
    })
    .await;
    let endpoint = client::endpoint(client::trusting());
    let connection = within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap();
    assert!(raw::is_alive(&connection).await);
    let retries = || edge.metric("edge_connections_refused_total", &[("reason", "retry")]);
    assert_eq!(retries(), 1.0);
    // It was given a token for the next time (RFC 9000 8.1.3).
    let connection = within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap();
    assert!(raw::is_alive(&connection).await);
    assert_eq!(retries(), 1.0);
}

#[tokio::test]
async fn another_version_is_answered_with_ours_however_long_its_ids_are() {
    let edge = Edge::with(|config| config.workers = 2).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(edge.address).await.unwrap();
    for (destination, source) in [(8, 8), (20, 20), (21, 0), (0, 21), (255, 255)] {
        let first = |version: u32, fill: u8, size: usize| {
            let mut datagram = [&[0xc0][..], &version.to_be_bytes()].concat();
            for (length, fill) in [(destination, fill), (source, !fill)] {
                datagram.push(length as u8);
                datagram.resize(datagram.len() + length, fill);
            }
            datagram.resize(size, 0);
            datagram
        };
        // None of these is answered: what comes is for what is sent behind them.
        socket.send(&first(0x0a1a_2a3a, 0x11, 1199)).await.unwrap();
        socket.send(&first(0, 0x22, 1200)).await.unwrap();
        socket.send(&first(0x0a1a_2a3a, 0x33, 1200)).await.unwrap();
        let mut answer = [0; 1500];
        let length = within(socket.recv(&mut answer)).await.unwrap();
        let (head, rest) = answer[..length].split_at(5);
        assert!(head[0] & 0x80 != 0 && head[1..] == [0; 4], "{head:?}");
        let ids = [
            &[source as u8][..],
            &vec![!0x33; source],
            &[destination as u8],
            &vec![0x33; destination],
        ];
        let (ids, versions) = (ids.concat(), &rest[2 + source + destination..]);
        assert_eq!(rest[..ids.len()], ids, "{destination} {source}");
        assert!(versions.chunks(4).any(|version| version == [0, 0, 0, 1]), "{versions:?}");
        assert!(!versions.chunks(4).any(|version| version == [0x0a, 0x1a, 0x2a, 0x3a]));
    }
    assert!(raw::is_alive(&raw::connect(&edge).await).await);
}
