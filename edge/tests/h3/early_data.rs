//! 0-RTT: a client that comes back sends its request with the first packet.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use bytes::Bytes;
use http::Method;
use tokio::net::UdpSocket;

use crate::harness::{Client, Edge, client, raw, until, within};

fn returning() -> quinn::Endpoint {
    let mut tls = client::trusting();
    tls.enable_early_data = true;
    tls.resumption = rustls::client::Resumption::in_memory_sessions(8);
    client::endpoint(tls)
}

#[tokio::test]
async fn a_returning_client_may_get_but_not_post_in_early_data() {
    let edge = Edge::start().await;
    let endpoint = returning();
    let first = within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap();
    let client = Client::over(first, edge.address).await;
    assert_eq!(client.get("/echo").await.header("x-early"), "false");
    close(&client);

    let (client, _) = early(&endpoint, &edge).await;
    let response = client.get("/echo").await;
    assert_eq!((response.header("x-early"), response.header("x-fields")), ("true", "1"));
    let response = client.get("/echo").await;
    assert_eq!(response.header("x-early"), "false", "the handshake is long done");
    close(&client);

    let (client, _) = early(&endpoint, &edge).await;
    let request = client.request(Method::POST, "/echo");
    let response = client.send(request, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(response.status, 425);
    let request = client.request(Method::POST, "/echo");
    let response = client.send(request, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(response.status, 200, "the client tries again after the handshake");
    assert_eq!(edge.app.requests.load(SeqCst), 4, "the 425 never reached the app");
}

#[tokio::test]
async fn a_replayed_first_flight_is_served_once_on_whichever_worker() {
    let edge = Edge::with(|config| config.workers = 3).await;
    let endpoint = returning();
    let first = within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap();
    assert!(raw::is_alive(&first).await);
    first.close(0x100u32.into(), b"");

    // A client sends its first flight, but it does not reach the edge.
    let between = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nowhere = between.local_addr().unwrap();
    let Ok((connection, _accepted)) = endpoint.connect(nowhere, "localhost").unwrap().into_0rtt()
    else {
        panic!("no ticket")
    };
    let _response = raw::ask(&connection, &raw::request("GET", "/bytes/5", &[])).await;
    let flight = captured(&between).await;

    // Whoever caught it sends it from one place, and then from others, which other workers have.
    let mut sockets = Vec::new();
    for _ in 0..12 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for datagram in &flight {
            socket.send_to(datagram, edge.address).await.unwrap();
        }
        sockets.push(socket);
        until("served", || edge.app.requests.load(SeqCst) == 2).await;
    }
    // Every worker has gone through what was sent to it when it answers what came later.
    for _ in 0..12 {
        assert!(raw::is_alive(&raw::connect(&edge).await).await);
    }
    assert_eq!(edge.app.requests.load(SeqCst), 14, "served once");
}

/// The datagrams of a first flight: it is over when nothing comes for a moment.
async fn captured(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2000];
    let first = within(socket.recv(&mut buffer)).await.unwrap();
    let mut flight = vec![buffer[..first].to_vec()];
    let moment = Duration::from_millis(200);
    while let Ok(received) = tokio::time::timeout(moment, socket.recv(&mut buffer)).await {
        flight.push(buffer[..received.unwrap()].to_vec());
    }
    flight
}

#[tokio::test]
async fn early_data_can_be_switched_off() {
    let edge = Edge::with(|config| config.quic.early_data = false).await;
    let endpoint = returning();
    let first = within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap();
    let client = Client::over(first, edge.address).await;
    client.get("/bytes/1").await;
    close(&client);
    let second = endpoint.connect(edge.address, "localhost").unwrap().into_0rtt();
    assert!(second.is_err(), "the ticket does not allow it");
}

/// Connects again; whatever is sent before the first await goes out as early data.
async fn early(endpoint: &quinn::Endpoint, edge: &Edge) -> (Client, quinn::ZeroRttAccepted) {
    let connecting = endpoint.connect(edge.address, "localhost").unwrap();
    let Ok((connection, accepted)) = connecting.into_0rtt() else { panic!("no ticket") };
    (Client::over(connection, edge.address).await, accepted)
}

fn close(client: &Client) {
    client.quic.close(0x100u32.into(), b"");
}
