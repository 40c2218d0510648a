//! Clients that move to another address while they are served.

use std::net::UdpSocket;

use futures::future::join_all;
use http::Method;

use crate::harness::{Edge, client, pattern, within};

#[tokio::test]
async fn every_connection_survives_its_clients_move_also_to_another_workers_socket() {
    const CLIENTS: usize = 20;
    let edge = Edge::with(|config| config.workers = 4).await;
    let clients = join_all((0..CLIENTS).map(|_| edge.client())).await;
    let before = join_all(clients.iter().map(|client| client.get("/echo"))).await;
    // Each moves in the middle of a response.
    let survived = join_all(clients.iter().zip(&before).map(|(client, before)| async move {
        let mut stream = client.begin(client.request(Method::GET, "/bytes/3000000")).await;
        stream.finish().await.unwrap();
        within(stream.recv_response()).await.unwrap();
        let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.endpoint.as_ref().unwrap().rebind(elsewhere).unwrap();
        let mut body = Vec::new();
        while let Some(piece) = within(stream.recv_data()).await.unwrap() {
            body.extend_from_slice(bytes::Buf::chunk(&piece));
        }
        assert_eq!(body, pattern(3_000_000));
        let after = client.get("/echo").await;
        assert_ne!(after.header("x-client"), before.header("x-client"), "it has moved");
        assert_eq!(after.header("x-client"), after.header("x-moved"));
        usize::from(after.status == 200)
    }))
    .await;
    assert_eq!(survived.iter().sum::<usize>(), CLIENTS);
    // With four sockets the kernel hands about three of four moved clients to another worker.
    edge.expect_metric("edge_quic_datagrams_steered_total", &[("outcome", "forwarded")], 1.0).await;
    assert_eq!(edge.metric("edge_quic_datagrams_steered_total", &[("outcome", "dropped")]), 0.0);
}

#[tokio::test]
async fn one_socket_serves_clients_that_share_a_port() {
    let edge = Edge::with(|config| config.workers = 4).await;
    let endpoint = client::endpoint(client::trusting());
    let clients = join_all((0..12).map(|_| {
        let connecting = endpoint.connect(edge.address, "localhost").unwrap();
        async { client::Client::over(within(connecting).await.unwrap(), edge.address).await }
    }))
    .await;
    endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    for response in join_all(clients.iter().map(|client| client.get("/bytes/100000"))).await {
        assert_eq!(response.body, pattern(100_000));
    }
}
