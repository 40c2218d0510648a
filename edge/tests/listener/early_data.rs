//! 0-RTT: a client that comes back sends its request with the first packet.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::harness::{Client, Edge, quic_endpoint, trusting, within};

#[tokio::test]
async fn a_returning_client_may_get_but_not_post_in_early_data() {
    let edge = Edge::start().await;
    let mut tls = trusting(&[b"h3"]);
    tls.enable_early_data = true;
    tls.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let endpoint = quic_endpoint(tls);

    let first = within(endpoint.connect(edge.https, "localhost").unwrap()).await.unwrap();
    let client = Client::over_quic(first, authority(&edge)).await;
    let response = client.get("/echo").await;
    assert_eq!((response.header("x-early"), response.header("x-early-data")), ("false", "-"));
    close(&client);

    let client = early(&endpoint, &edge).await;
    let response = client.get("/echo").await;
    assert_eq!((response.header("x-early"), response.header("x-early-data")), ("true", "1"));
    let response = client.get("/echo").await;
    assert_eq!(response.header("x-early"), "false", "the handshake is long done");
    close(&client);

    let client = early(&endpoint, &edge).await;
    let request = client.request(Method::POST, "/echo");
    let response = client.send(request, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(response.status, 425);
    let request = client.request(Method::POST, "/echo");
    let response = client.send(request, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(response.status, 200, "the client tries again after the handshake");
    assert_eq!(edge.origin.requests(), 4, "the 425 never reached the origin");
}

#[tokio::test]
async fn early_data_can_be_switched_off() {
    let edge = Edge::with(|config| config.quic.early_data = false).await;
    let mut tls = trusting(&[b"h3"]);
    tls.enable_early_data = true;
    let endpoint = quic_endpoint(tls);
    let first = within(endpoint.connect(edge.https, "localhost").unwrap()).await.unwrap();
    let client = Client::over_quic(first, authority(&edge)).await;
    client.get("/bytes/1").await;
    close(&client);
    let second = endpoint.connect(edge.https, "localhost").unwrap().into_0rtt();
    assert!(second.is_err(), "the ticket does not allow it");
}

/// Connects again; whatever is sent before the first await goes out as early data.
async fn early(endpoint: &quinn::Endpoint, edge: &Edge) -> Client {
    let connecting = endpoint.connect(edge.https, "localhost").unwrap();
    let Ok((connection, _accepted)) = connecting.into_0rtt() else { panic!("no ticket") };
    Client::over_quic(connection, authority(edge)).await
}

fn authority(edge: &Edge) -> String {
    format!("localhost:{}", edge.https.port())
}

fn close(client: &Client) {
    let quic = Arc::new(client.quic.clone().unwrap());
    quic.close(0x100u32.into(), b"");
}
