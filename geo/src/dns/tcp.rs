//! TCP (RFC 7766): queries one after the other on a connection, as many at once as the client cares to send.
//!
//! Invariant: connections, those of one client, queries of one connection and every wait have limits; a client that meets
//! one is closed, and nobody else waits for it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidegate_chassis::Drain;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

use crate::dns::{
    config::Listen, handler::Handler, metrics::Metrics, subnet::host, transport::Transport,
};

/// The connections that there are.
#[derive(Debug)]
pub struct Connections {
    all_max: usize,
    client_max: usize,
    /// By /32 or /64; only of those that have any.
    open: Mutex<Open>,
    closed: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    client: IpAddr,
}

impl Connections {
    /// None so far.
    #[must_use]
    pub fn new(listen: &Listen, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            all_max: listen.tcp_connections_max,
            client_max: listen.tcp_connections_per_client_max,
            open: Mutex::default(),
            closed: Notify::new(),
            metrics,
        })
    }

    /// Counts one more; `None`: a limit is met.
    #[must_use]
    pub fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = host(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.all_max {
            self.metrics.refused("all");
            return None;
        }
        let own = open.by_client.get(&client).copied().unwrap_or(0);
        if own >= self.client_max {
            self.metrics.refused("client");
            return None;
        }
        open.by_client.insert(client, own + 1);
        open.all += 1;
        self.metrics.connections.inc();
        Some(Place { connections: self.clone(), client })
    }
}

impl Connections {
    /// Waits until there are none.
    pub async fn closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open.lock().unwrap_or_else(PoisonError::into_inner).all == 0 {
                return;
            }
            closed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        self.connections.metrics.connections.dec();
        if let Some(own) = open.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                open.by_client.remove(&self.client);
            }
        }
        if open.all == 0 {
            self.connections.closed.notify_waiters();
        }
    }
}

/// Takes connections until the drain.
///
/// # Errors
/// None: what goes wrong concerns one connection.
pub async fn serve(
    listener: TcpListener,
    listen: Listen,
    handler: Arc<Handler>,
    connections: Arc<Connections>,
    drain: Drain,
) -> io::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.started() => return Ok(()),
        };
        match accepted {
            Ok((stream, client)) => {
                let Some(place) = connections.enter(client.ip()) else { continue };
                let (listen, handler, drain) = (listen.clone(), handler.clone(), drain.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, client, &listen, &handler, &drain).await {
                        tracing::debug!(%error, "a connection broke off");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on TCP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the queries of a connection, in their order: none waits for another, so there is nothing to overtake.
async fn converse(
    stream: TcpStream,
    client: SocketAddr,
    listen: &Listen,
    handler: &Handler,
    drain: &Drain,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut query, mut out) = (Vec::new(), Vec::new());
    for _ in 0..listen.tcp_queries_max {
        let length = tokio::select! {
            length = timeout(listen.tcp_idle, stream.read_u16()) => match length {
                Ok(Ok(length)) => usize::from(length),
                // Idle, or closed by the other side.
                Err(_) => break,
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Ok(Err(error)) => return Err(error),
            },
            () = drain.started() => break,
        };
        if length > QUERY_MAX {
            break;
        }
        query.resize(length, 0);
        timeout(QUERY_WAIT.min(listen.tcp_idle), stream.read_exact(&mut query)).await??;
        let Some(answer) = handler.answer_bytes(&query, client, Transport::Tcp) else { break };
        let Ok(length) = u16::try_from(answer.len()) else { break };
        out.extend(length.to_be_bytes());
        out.extend(answer);
        // What came with it is answered with it.
        if !has_query(stream.buffer()) || out.len() > OUT_MAX {
            timeout(ANSWER_WAIT, stream.get_mut().write_all(&out)).await??;
            out.clear();
        }
    }
    timeout(ANSWER_WAIT, stream.get_mut().write_all(&out)).await??;
    timeout(ANSWER_WAIT, stream.get_mut().shutdown()).await?
}

/// Whether a whole query waits.
fn has_query(bytes: &[u8]) -> bool {
    let length = bytes.split_first_chunk::<2>();
    length.is_some_and(|(length, rest)| rest.len() >= usize::from(u16::from_be_bytes(*length)))
}

/// The largest query: a question with all options there are stays far below.
const QUERY_MAX: usize = 4096;
/// Answers that are held back while more queries wait, in bytes.
const OUT_MAX: usize = 16 * 1024;
/// How long the rest of a query may take, once its length is there; no longer than a connection may be idle.
const QUERY_WAIT: Duration = Duration::from_secs(5);
/// How long a client may take to take its answers.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// The wait after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
