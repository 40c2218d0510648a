//! QUIC: one endpoint per worker, limits, address validation under load, handshakes with 0-RTT.
//!
//! Invariant: before a client has proved its address it costs a bounded amount of memory (`incoming_max`,
//! `incoming_buffer`), and above `retry_above` handshakes not even a connection.

mod socket; // a worker's socket as quinn sees it
mod batches; // several transmits in one system call
mod version; // answers to versions that are not offered
mod steering; // datagrams of clients that moved
mod relay; // datagrams for the process before this one
mod connection_id; // IDs that name their owner
mod qlog; // traces of single connections
mod metrics;
mod config;

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use bytesize::ByteSize;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, Runtime, TokioRuntime, TransportConfig,
    VarInt, crypto::rustls::QuicServerConfig,
};
use serde::Deserialize;
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub(super) use self::metrics::Metrics;
pub use self::{config::Config, qlog::Traces};
use self::{
    connection_id::{Generator, Owner, WORKER_MAX},
    steering::{Group, Legacy},
};
use super::{
    ListenError,
    account::{QUIC_CONNECTION, WINDOW_MIN},
    config::Limits,
    h3,
    serving::Serving,
    stream::App,
    tls::{CertificateError, Certificates},
};

/// A worker's bound socket. Datagrams queue in the kernel until [`accept`] runs.
pub(super) struct Socket {
    udp: UdpSocket,
    me: u16,
    group: Arc<Group>,
    handshakes: Arc<AtomicUsize>,
    server: quinn::ServerConfig,
    traces: Option<Traces>,
    metrics: Metrics,
    is_batching: bool,
}

/// What the process before this one has left of a port.
pub(super) struct Inherited {
    pub(super) sockets: Vec<UdpSocket>,
    legacy: Legacy,
    line: UnixDatagram,
}

/// What a port leaves to the process that follows.
pub(super) struct Estate {
    sockets: Vec<UdpSocket>,
    group: Arc<Group>,
}

/// Binds a UDP socket for each worker to one address, or uses those of the process before; with port 0 all get the same
/// free one. There may be more of them than workers.
pub(super) fn bind(
    address: SocketAddr,
    workers: usize,
    inherited: Option<Inherited>,
    config: &super::Config,
    certificates: &Arc<Certificates>,
    traces: Option<&Traces>,
    metrics: &Metrics,
) -> Result<Vec<Socket>, ListenError> {
    let tls = QuicServerConfig::try_from(Arc::new(certificates.for_quic(&config.quic)?));
    // The settings are ours and offer TLS 1.3, so a refusal is a settings error.
    let tls =
        tls.map_err(|error| CertificateError::Tls(rustls::Error::General(error.to_string())))?;
    // Workers share what proves addresses, so that a token of one counts at all.
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    server
        .transport_config(Arc::new(transport(&config.limits, &config.quic)))
        .migration(true)
        .max_incoming(config.quic.incoming_max)
        .incoming_buffer_size(INCOMING_BUFFER_EACH)
        .incoming_buffer_size_total(config.quic.incoming_buffer.as_u64());
    let (mut passed, past) = match inherited {
        Some(Inherited { sockets, legacy, line }) => (sockets, Some((legacy, line))),
        None => (Vec::new(), None),
    };
    // Each that is handed over must be read.
    let workers = workers.max(passed.len()).clamp(1, usize::from(WORKER_MAX) + 1);
    let refused = |cause| ListenError::Bind { address, cause };
    let (mut bound, is_new) = (address, passed.is_empty());
    if let Some(first) = passed.first() {
        bound = first.local_addr().map_err(refused)?;
    }
    while passed.len() < workers {
        match open(bound, &config.quic, workers > 1) {
            Ok(udp) => {
                bound = udp.local_addr().map_err(refused)?;
                passed.push(udp);
            }
            Err(cause) if is_new => return Err(refused(cause)),
            // The process before had one that cannot be shared.
            Err(_) => break,
        }
    }
    let group = match past {
        Some((legacy, line)) => Group::after(&legacy, line, passed.len(), metrics.clone()),
        None => Group::new(passed.len(), metrics.clone()),
    };
    let handshakes = Arc::new(AtomicUsize::new(0));
    let socket = |(me, udp)| Socket {
        udp,
        me: me as u16,
        group: group.clone(),
        handshakes: handshakes.clone(),
        server: server.clone(),
        traces: traces.cloned(),
        metrics: metrics.clone(),
        is_batching: config.quic.batch_sends,
    };
    Ok(passed.into_iter().enumerate().map(socket).collect())
}

impl Inherited {
    /// From the sockets, the line and what was said of them; `None` when something is missing.
    pub(super) fn new(
        sockets: Vec<OwnedFd>,
        line: OwnedFd,
        legacy: &serde_json::Value,
    ) -> Option<Self> {
        let sockets: Vec<_> = sockets.into_iter().map(UdpSocket::from).collect();
        let legacy = Legacy::deserialize(legacy).ok()?;
        (!sockets.is_empty()).then(|| Self { sockets, legacy, line: UnixDatagram::from(line) })
    }
}

impl Estate {
    /// Of the sockets of one port.
    pub(super) fn of(sockets: &[Socket]) -> io::Result<Option<Self>> {
        let Some(first) = sockets.first() else { return Ok(None) };
        let group = first.group.clone();
        let sockets = sockets.iter().map(|socket| socket.udp.try_clone());
        Ok(Some(Self { sockets: sockets.collect::<io::Result<_>>()?, group }))
    }

    /// The sockets once more.
    pub(super) fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| Ok(socket.try_clone()?.into())).collect()
    }

    /// What must be known of them.
    pub(super) fn legacy(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self.group.legacy())
    }

    /// A line over which the other process hands back what belongs to connections of this one.
    pub(super) fn line(&self) -> io::Result<(OwnedFd, AbortOnDropHandle<()>)> {
        let (ours, theirs) = UnixDatagram::pair()?;
        // The kernel gives less where it must; then more waits in the other process.
        let _ = SockRef::from(&theirs).set_send_buffer_size(LINE_BYTES);
        let group = self.group.clone();
        let receiving = tokio::spawn(async move {
            if let Err(error) = group.receive(ours).await {
                tracing::warn!(%error, "datagrams of open connections are not handed back any more");
            }
        });
        Ok((theirs.into(), AbortOnDropHandle::new(receiving)))
    }

    /// The sockets are not read any more.
    pub(super) async fn give(&self) {
        self.group.give().await;
    }

    /// The sockets are read again.
    pub(super) fn take_back(&self) {
        self.group.take_back();
    }
}

/// Serves one worker's socket until the drain, and returns when its last connection is closed.
pub(super) async fn accept<A: App>(
    socket: Socket,
    serving: Arc<Serving<A>>,
) -> Result<(), ListenError> {
    let (udp, endpoint) = start(&socket).map_err(ListenError::Accept)?;
    let _flusher = AbortOnDropHandle::new(tokio::spawn(udp.clone().flush()));
    let worker = Arc::new(h3::Worker::default());
    let _past = (socket.me == 0)
        .then(|| AbortOnDropHandle::new(tokio::spawn(socket.group.clone().serve_past())));
    let connections = TaskTracker::new();
    let mut is_draining = false;
    loop {
        let incoming = tokio::select! {
            biased;
            () = serving.drain.started(), if !is_draining => {
                is_draining = true;
                connections.close();
                continue;
            }
            () = connections.wait(), if is_draining => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None if is_draining => break,
                None => return Err(ListenError::Ended),
            },
        };
        if is_draining && !socket.group.is_given() {
            // New clients try TCP or another node, and do not wait to find out. What another process hands back began
            // here, and ends here.
            incoming.refuse();
            continue;
        }
        let is_loaded = socket.handshakes.load(Ordering::Relaxed) >= serving.quic.retry_above;
        if is_loaded && !incoming.remote_address_validated() {
            serving.metrics.refused("retry");
            // Fails only for an address that has been proved, and this one was just seen not to be.
            let _ = incoming.retry();
            continue;
        }
        let Some(permit) = serving.admit(incoming.remote_address(), QUIC_CONNECTION) else {
            incoming.refuse();
            continue;
        };
        let handshake = Handshake::begin(&socket.handshakes);
        let (worker, serving) = (worker.clone(), serving.clone());
        let traced = traced(&socket, &serving);
        connections.spawn(serving.tasks.clone().track_future(async move {
            let _permit = permit;
            converse(incoming, traced, handshake, &worker, &serving).await;
        }));
    }
    endpoint.set_server_config(None);
    // Lets the last CLOSE frames leave; a client that is gone must not hold the drain.
    let _ = timeout(CLOSE_TIME, endpoint.wait_idle()).await;
    udp.flush_now();
    Ok(())
}

/// Makes the endpoint, on the runtime of the worker that it is called on.
fn start(socket: &Socket) -> io::Result<(Arc<socket::Socket>, Endpoint)> {
    let inner = TokioRuntime.wrap_udp_socket(socket.udp.try_clone()?)?;
    let (me, group) = (socket.me, socket.group.clone());
    let udp = socket::Socket::new(inner, me, group, socket.metrics.clone(), socket.is_batching);
    let cover = socket.group.cover;
    let owner = Owner { generation: socket.group.generation, worker: me };
    // One key for all, so that each can end connections that none knows any more.
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &socket.group.reset_key);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(Generator { cover, owner }));
    config.supported_versions(VERSIONS.to_vec());
    let server = Some(socket.server.clone());
    let endpoint =
        Endpoint::new_with_abstract_socket(config, server, udp.clone(), Arc::new(TokioRuntime))?;
    Ok((udp, endpoint))
}

/// The settings of a connection that is traced, when it is its turn.
fn traced<A>(socket: &Socket, serving: &Serving<A>) -> Option<Arc<quinn::ServerConfig>> {
    let trace = socket.traces.as_ref()?.next()?;
    let mut transport = transport(&serving.limits, &serving.quic);
    transport.qlog_stream(Some(trace));
    let mut server = socket.server.clone();
    server.transport_config(Arc::new(transport));
    Some(Arc::new(server))
}

/// One connection from the handshake to its end. With 0-RTT the first requests are served while
/// the handshake is under way.
async fn converse<A: App>(
    incoming: Incoming,
    traced: Option<Arc<quinn::ServerConfig>>,
    handshake: Handshake,
    worker: &Arc<h3::Worker>,
    serving: &Arc<Serving<A>>,
) {
    let accepted = match traced {
        Some(config) => incoming.accept_with(config),
        None => incoming.accept(),
    };
    let Ok(connecting) = accepted else { return serving.metrics.refused("handshake") };
    // On a server this always gives a connection; the future tells when the handshake is done.
    let Ok((connection, finished)) = connecting.into_0rtt() else {
        return serving.metrics.refused("handshake");
    };
    let limit = serving.limits.handshake_timeout;
    let (client, at) = (connection.remote_address().ip(), connection.local_ip());
    let measured = || serving.measurements.connection(client, at);
    let (measured, shaken) = (measured(), measured());
    let is_counted = AtomicBool::new(false);
    let watched = {
        let (connection, metrics) = (connection.clone(), serving.metrics.clone());
        let is_counted = &is_counted;
        async move {
            let is_done = timeout(limit, finished).await.is_ok();
            drop(handshake);
            if !is_done || connection.close_reason().is_some() {
                metrics.refused("handshake");
                connection.close(VarInt::from_u32(0), b"handshake timeout");
            } else if let Some(measured) = shaken {
                measured.begun();
                is_counted.store(true, Ordering::Relaxed);
                measured.round_trip(round_trip(&connection));
            }
        }
    };
    let served = async {
        let Some(mut measured) = measured else {
            return h3::converse(connection, worker, serving).await;
        };
        let served = h3::converse(connection.clone(), worker, serving);
        measured.during(served, || connection.stats().udp_tx.bytes).await;
        // One that is over as soon as it was there counts as well, if its client ever answered.
        if !is_counted.load(Ordering::Relaxed) && connection.stats().path.min_rtt < ASSUMED_RTT {
            measured.begun();
        }
        measured.round_trip(round_trip(&connection));
    };
    tokio::join!(watched, served);
}

/// The shortest round trip to the client so far.
fn round_trip(connection: &quinn::Connection) -> Duration {
    let path = connection.stats().path;
    // The minimum begins at what is assumed before the first is measured.
    if path.min_rtt < ASSUMED_RTT { path.min_rtt } else { path.rtt }
}

/// Counts handshakes that are under way.
struct Handshake(Arc<AtomicUsize>);

impl Handshake {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn transport(limits: &Limits, quic: &Config) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(limits.streams_per_connection_max.into())
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        // They grow with what a client does, as far as there is room: `h3::windows`.
        .send_window(quic.send_window.as_u64().min(WINDOW_MIN))
        .receive_window(varint(quic.receive_window.min(ByteSize(WINDOW_MIN))))
        .stream_receive_window(varint(quic.stream_receive_window))
        // Streams of equal priority take turns; those that should not have priorities of their own (`h3::priority`).
        .send_fairness(true)
        .datagram_receive_buffer_size(None)
        // A client that vanished stops acknowledging these and is noticed; one that is there but
        // idle is closed by `h3`.
        .keep_alive_interval(Some(limits.idle_timeout / 2))
        .max_idle_timeout(IdleTimeout::try_from(limits.idle_timeout).ok());
    transport
}

fn varint(size: ByteSize) -> VarInt {
    VarInt::from_u64(size.as_u64()).unwrap_or(VarInt::MAX)
}

fn open(address: SocketAddr, quic: &Config, is_shared: bool) -> io::Result<UdpSocket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    // The kernel may give less; then bursts are lost sooner, which is no reason not to start.
    let bytes = usize::try_from(quic.socket_buffer.as_u64()).unwrap_or(usize::MAX);
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// HTTP/3 is an application of version 1 (RFC 9114 3.1); what drafts of QUIC were is not offered.
const VERSIONS: [u32; 1] = [1];
/// Streams a client may open beside its requests: control, two for QPACK, and some to ignore.
const UNI_STREAMS_MAX: u32 = 8;
/// Bytes of early packets kept for one waiting handshake; a first flight with 0-RTT requests.
const INCOMING_BUFFER_EACH: u64 = 64 * 1024;
/// Bytes of datagrams that may wait in the kernel to be handed back.
const LINE_BYTES: usize = 4 << 20;
/// RFC 9002 6.2.2; the transport's default.
const ASSUMED_RTT: Duration = Duration::from_millis(333);
/// Time for the closing packets at the end of the drain.
const CLOSE_TIME: Duration = Duration::from_secs(3);
