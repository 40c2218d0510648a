//! A geo node with real sockets on free ports of loopback, and what asks it.
//!
//! Invariant: nothing here sleeps for a time; what takes a while is waited for, with a limit.

mod ask;
mod geo;
mod program;

pub(crate) use ask::{Asked, ask_tcp, ask_udp, tool};
pub(crate) use geo::{TestGeo, ZONE, write_zone};
pub(crate) use program::{Program, get, post};

use std::time::{Duration, Instant};

/// The longest wait for anything: far above what a loaded machine needs.
pub(crate) const WAIT: Duration = Duration::from_secs(90);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < WAIT, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
