//! Connections of HTTP/2 to one upstream, each carrying many requests.
//!
//! Pingora's own session hides interim responses; so the connection is driven here, over Pingora's sockets and TLS.
//! Invariant: a connection that is closing, silent or idle for long takes no new request.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use pingora::protocols::Stream;
use tokio::time::timeout;

use super::super::h1::HEAD_BYTES_MAX;

/// The connections to one upstream.
#[derive(Default)]
pub(in crate::upstream::link) struct Pool {
    connections: Mutex<Vec<Arc<Shared>>>,
}

/// A connection that many requests use.
struct Shared {
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    is_retired: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// Room for one request on a connection; given back when it is dropped.
pub(in crate::upstream::link) struct Lane {
    shared: Arc<Shared>,
}

impl Pool {
    /// Room on a connection that is there, if one has it.
    pub(in crate::upstream::link) fn take(&self) -> Option<Lane> {
        let mut connections = self.connections();
        connections.retain(|shared| !shared.is_retired.load(Ordering::Relaxed));
        let has_room = |shared: &&Arc<Shared>| {
            let max = shared.sender.current_max_send_streams().min(STREAMS_MAX);
            shared.streams.load(Ordering::Relaxed) < max
        };
        let is_full = connections.len() >= CONNECTIONS_MAX;
        // With no room anywhere, requests wait on the connection that has the fewest.
        let found = connections.iter().find(has_room).or_else(|| {
            let fewest = connections.iter().min_by_key(|s| s.streams.load(Ordering::Relaxed));
            fewest.filter(|_| is_full)
        });
        found.map(|shared| Lane::on(shared.clone()))
    }

    /// Begins a connection and takes room on it.
    pub(in crate::upstream::link) async fn open(
        self: &Arc<Self>,
        stream: Stream,
        idle_timeout: Duration,
    ) -> Result<Lane, h2::Error> {
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .handshake(stream)
            .await?;
        let shared = Arc::new(Shared {
            sender,
            streams: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        });
        let lane = Lane::on(shared.clone());
        self.connections().push(shared.clone());
        tokio::spawn(drive(
            connection,
            Arc::downgrade(&shared),
            Arc::downgrade(self),
            idle_timeout,
        ));
        Ok(lane)
    }

    fn remove(&self, shared: &Arc<Shared>) {
        self.connections().retain(|other| !Arc::ptr_eq(other, shared));
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn on(shared: Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Self { shared }
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.shared.sender.clone()
    }

    /// Lets the connection take no new requests.
    pub(super) fn retire(&self) {
        self.shared.is_retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.shared.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut idle = self.shared.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
            *idle = Instant::now();
        }
    }
}

impl Shared {
    fn is_idle_for(&self, time: Duration) -> bool {
        let idle_since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.streams.load(Ordering::Relaxed) == 0 && idle_since.elapsed() >= time
    }
}

/// Moves a connection's bytes until it ends, and takes it out of the pool when it is silent or long idle.
async fn drive(
    mut connection: Connection<Stream, Bytes>,
    shared: Weak<Shared>,
    pool: Weak<Pool>,
    idle_timeout: Duration,
) {
    let mut pings = connection.ping_pong();
    let watch = async {
        loop {
            tokio::time::sleep(PING_INTERVAL.min(idle_timeout)).await;
            let Some(strong) = shared.upgrade() else { return };
            let is_idle = strong.is_idle_for(idle_timeout);
            drop(strong);
            let is_silent = match &mut pings {
                Some(pings) if !is_idle => !matches!(
                    timeout(PING_TIMEOUT, pings.ping(h2::Ping::opaque())).await,
                    Ok(Ok(_))
                ),
                _ => false,
            };
            if is_idle || is_silent {
                return;
            }
        }
    };
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = watch => None,
    };
    if let (Some(pool), Some(shared)) = (pool.upgrade(), shared.upgrade()) {
        shared.is_retired.store(true, Ordering::Relaxed);
        pool.remove(&shared);
    }
    match ended {
        Some(Err(error)) => tracing::debug!(%error, "an h2 connection to an upstream broke"),
        Some(Ok(())) => {}
        // An idle one says goodbye; a silent one is cut, and its requests fail.
        None => _ = timeout(PING_TIMEOUT, connection).await,
    }
}

/// The most connections to one upstream.
const CONNECTIONS_MAX: usize = 8;
/// The most requests on one connection, whatever the upstream allows.
const STREAMS_MAX: usize = 256;
/// What may be on its way of one answer: 1 MiB fills 80 Mbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What may be on its way on one connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// What a request's body may have unsent here.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// How often a connection is asked whether it lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
