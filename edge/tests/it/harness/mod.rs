//! What the stories are told with: a scripted origin, an edge in this process, clients.

pub(crate) mod client;
pub(crate) mod edge;
pub(crate) mod log;
pub(crate) mod origin;
pub(crate) mod token;
pub(crate) mod process;

use std::time::Duration;

pub(crate) use client::Answer;
pub(crate) use edge::TestEdge;
pub(crate) use origin::{FakeOrigin, Gate, reply};
pub(crate) use tidegate_edge::listener::Protocol;

/// All protocols that a client may speak.
pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];

/// Waits for a condition, with a limit.
pub(crate) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Bytes that differ from place to place.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
}

/// How long a story waits for something that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
