//! The leave: told to go, served to the end, closed without an error.

use std::sync::atomic::Ordering::SeqCst;

use quinn::RecvStream;

use crate::harness::{
    Edge,
    raw::{self, Outcome, request},
    until, within,
};

/// The frames of a control stream, behind its type.
struct Control(RecvStream);

impl Control {
    async fn of(connection: &quinn::Connection) -> Self {
        let mut stream = within(connection.accept_uni()).await.unwrap();
        let mut kind = [0];
        stream.read_exact(&mut kind).await.unwrap();
        assert_eq!(kind, [0]);
        Self(stream)
    }

    async fn varint(&mut self) -> u64 {
        let mut bytes = [0; 8];
        within(self.0.read_exact(&mut bytes[..1])).await.unwrap();
        let length = 1 << (bytes[0] >> 6);
        within(self.0.read_exact(&mut bytes[1..length])).await.unwrap();
        bytes[0] &= 0x3f;
        bytes[..length].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    async fn frame(&mut self) -> (u64, Vec<u8>) {
        let (kind, length) = (self.varint().await, self.varint().await);
        let mut payload = vec![0; length as usize];
        within(self.0.read_exact(&mut payload)).await.unwrap();
        (kind, payload)
    }

    async fn goaway(&mut self) -> u64 {
        assert_eq!(self.varint().await, 7);
        self.varint().await;
        self.varint().await
    }
}

#[tokio::test]
async fn open_exchanges_finish_and_new_ones_are_refused() {
    let mut edge = Edge::start().await;
    let (connection, _ours) = raw::greeted(&edge).await;
    let mut control = Control::of(&connection).await;
    let (kind, settings) = control.frame().await;
    assert_eq!(kind, raw::SETTINGS);
    assert!(settings.windows(5).any(|w| w == [6, 0x80, 1, 0, 0]), "the header limit: {settings:?}");

    let open = raw::ask(&connection, &request("GET", "/gate", &[])).await;
    let large = raw::ask(&connection, &request("GET", "/bytes/3000000", &[])).await;
    until("both are served", || edge.app.requests.load(SeqCst) == 2).await;
    edge.drain.begin();
    assert_eq!(control.goaway().await, (1 << 62) - 4, "whatever is on its way is still taken");
    assert_eq!(control.goaway().await, 8, "these two streams are the last");
    let late = raw::ask(&connection, &request("GET", "/bytes/5", &[])).await;
    assert_eq!(raw::outcome(late).await, Outcome::Reset(raw::REQUEST_REJECTED));

    edge.app.gate.notify_one();
    assert!(raw::outcome(open).await.has_status(200));
    let Outcome::Answered(bytes) = raw::outcome(large).await else { panic!("cut") };
    assert!(bytes.len() > 3_000_000);
    assert_eq!(raw::close_code(&connection).await, Outcome::Closed(raw::NO_ERROR));
    edge.drained().await;
    assert_eq!(edge.app.requests.load(SeqCst), 2);
}

#[tokio::test]
async fn new_clients_are_refused_while_draining() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let _open = raw::ask(&connection, &request("GET", "/gate", &[])).await;
    until("served", || edge.app.requests.load(SeqCst) == 1).await;
    edge.drain.begin();
    let endpoint = crate::harness::client::endpoint(crate::harness::client::trusting());
    // The drain reaches the worker's thread a moment later.
    let refused =
        async { while endpoint.connect(edge.address, "localhost").unwrap().await.is_ok() {} };
    within(refused).await;
    edge.app.gate.notify_one();
}

#[tokio::test]
async fn an_idle_listener_drains_at_once() {
    let mut edge = Edge::with(|config| config.workers = 3).await;
    let mut client = edge.client().await;
    client.get("/bytes/100").await;
    edge.drain.begin();
    client.closed().await;
    edge.drained().await;
}

#[tokio::test]
async fn clients_are_asked_to_leave_and_wanted_again_without_an_end() {
    let edge = Edge::start().await;
    let mut client = edge.client().await;
    client.get("/bytes/100").await;
    edge.leaving.set(true);
    client.closed().await;
    // Whoever comes all the same is served, and sent on.
    let mut client = edge.client().await;
    assert_eq!(client.get("/bytes/100").await.body.len(), 100);
    client.closed().await;
    edge.leaving.set(false);
    let (connection, _ours) = raw::greeted(&edge).await;
    let mut control = Control::of(&connection).await;
    control.frame().await;
    for _ in 0..2 {
        let stream = raw::ask(&connection, &request("GET", "/bytes/5", &[])).await;
        assert!(raw::outcome(stream).await.has_status(200));
    }
    // It was not told to go: that comes with the drain alone.
    edge.drain.begin();
    assert_eq!(control.goaway().await, (1 << 62) - 4);
}
