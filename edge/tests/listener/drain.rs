//! The drain: what has begun is finished, nothing new begins.

use futures::future::join_all;

use crate::harness::{ALL, Edge, Wire, within};

#[tokio::test]
async fn open_exchanges_are_finished_and_then_the_connections_close() {
    let mut edge = Edge::start().await;
    let mut clients = Vec::new();
    for wire in ALL {
        clients.push(edge.client(wire).await);
    }
    let mut waiting = Box::pin(join_all(clients.iter().map(|client| client.get("/wait"))));
    tokio::select! {
        answered = &mut waiting => panic!("{answered:?}"),
        () = edge.app.expect_waiting(2) => {}
    }
    edge.drain.begin();
    // The port is closed as soon as the drain has started; then the answers may come.
    while tokio::net::TcpStream::connect(edge.http).await.is_ok() {
        tokio::task::yield_now().await;
    }
    edge.app.go_on();
    for response in waiting.await {
        assert_eq!(response.body, "at last");
    }
    for client in &mut clients {
        client.closed().await;
    }
    edge.drained().await;
}

#[tokio::test]
async fn a_large_response_arrives_whole_although_the_drain_starts_in_its_middle() {
    for wire in ALL {
        let mut edge = Edge::start().await;
        let client = edge.client(wire).await;
        let drain = edge.drain.clone();
        let begun = async {
            while edge.app.requests() == 0 {
                tokio::task::yield_now().await;
            }
            drain.begin();
        };
        let (response, ()) = tokio::join!(client.get("/bytes/6000000"), begun);
        assert_eq!(response.body.len(), 6_000_000, "{wire:?}");
        edge.drained().await;
    }
}

#[tokio::test]
async fn idle_connections_close_at_once() {
    let mut edge = Edge::start().await;
    let mut clients = Vec::new();
    for wire in ALL {
        let client = edge.client(wire).await;
        assert_eq!(client.get("/bytes/3").await.body.len(), 3);
        clients.push(client);
    }
    edge.drain.begin();
    for client in &mut clients {
        client.closed().await;
    }
    edge.drained().await;
    edge.expect_metric("edge_connections", &[("protocol", "h2")], 0.0).await;
}

#[tokio::test]
async fn an_h1_connection_is_not_kept_alive_into_the_drain() {
    let mut edge = Edge::start().await;
    let mut client = edge.client(Wire::H1).await;
    tokio::select! {
        answered = client.get("/wait") => panic!("{answered:?}"),
        () = async {
            edge.app.expect_waiting(1).await;
            edge.drain.begin();
        } => {}
    }
    edge.app.go_on();
    client.closed().await;
    edge.drained().await;
}

#[tokio::test]
async fn clients_are_asked_to_leave_and_wanted_again_without_an_end() {
    let mut edge = Edge::start().await;
    let mut idle = Vec::new();
    for wire in ALL {
        let client = edge.client(wire).await;
        assert_eq!(client.get("/bytes/3").await.body.len(), 3);
        idle.push(client);
    }
    edge.leaving.set(true);
    for client in &mut idle {
        client.closed().await;
    }
    // Whoever comes all the same is served, and sent on.
    for wire in ALL {
        // It has a second for its request, which a busy machine may take for itself.
        within(async {
            loop {
                let mut client = edge.client(wire).await;
                let got = client.try_get("/bytes/3").await;
                client.closed().await;
                if got.is_ok_and(|got| got.body.len() == 3) {
                    break;
                }
            }
        })
        .await;
    }
    edge.leaving.set(false);
    // The workers hear of it a moment later; then connections are kept again.
    for wire in ALL {
        within(async {
            loop {
                let client = edge.client(wire).await;
                let first = client.try_get("/bytes/3").await;
                let second = client.try_get("/bytes/4").await;
                if first.is_ok_and(|got| got.body.len() == 3)
                    && second.is_ok_and(|got| got.body.len() == 4)
                {
                    break;
                }
            }
        })
        .await;
    }
    edge.drain.begin();
    edge.drained().await;
}
