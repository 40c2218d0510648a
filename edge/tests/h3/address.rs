//! Clients that must prove their address before they cost anything.

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
