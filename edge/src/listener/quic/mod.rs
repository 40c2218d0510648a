//! QUIC: the endpoint with its limits, address validation under load, handshakes with 0-RTT.
//!
//! Invariant: before a client has proved its address it costs a bounded amount of memory
//! (`incoming_max`, `incoming_buffer`), and above `retry_above` handshakes not even a connection.

mod h3;
mod h3_stream;
mod transport;
mod stream;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytesize::ByteSize;
use pingora::apps::HttpServerApp;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::ListenError;
use super::config::{Config, Quic};
use super::serving::Serving;
use super::tls::{CertificateError, Certificates};

/// Binds a UDP socket and starts the endpoint; handshakes queue until [`accept`] runs.
pub(super) fn bind(
    address: SocketAddr,
    config: &Config,
    certificates: &Arc<Certificates>,
) -> Result<Endpoint, ListenError> {
    let tls = QuicServerConfig::try_from(Arc::new(certificates.for_quic(&config.quic)?));
    // The settings are ours and offer TLS 1.3, so a refusal is a settings error.
    let tls =
        tls.map_err(|error| CertificateError::Tls(rustls::Error::General(error.to_string())))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    server
        .transport_config(Arc::new(transport_limits(config)))
        .max_incoming(config.quic.incoming_max)
        .incoming_buffer_size(INCOMING_BUFFER_EACH)
        .incoming_buffer_size_total(config.quic.incoming_buffer.as_u64());
    let refused = |cause| ListenError::Bind { address, cause };
    let socket = open(address, &config.quic).map_err(refused)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime).map_err(refused)
}

/// Accepts until the drain; every connection runs in a task of its own.
pub(super) async fn accept<A>(
    endpoint: Endpoint,
    serving: Arc<Serving<A>>,
) -> Result<(), ListenError>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let handshakes = Arc::new(AtomicUsize::new(0));
    loop {
        let incoming = tokio::select! {
            biased;
            () = serving.drain.started() => {
                // New clients are refused from here on and try TCP or another node.
                endpoint.set_server_config(None);
                return Ok(());
            }
            incoming = endpoint.accept() => incoming.ok_or(ListenError::Ended)?,
        };
        let is_loaded = handshakes.load(Ordering::Relaxed) >= serving.quic.retry_above;
        if is_loaded && !incoming.remote_address_validated() {
            serving.metrics.refused("retry");
            // Fails only for a validated address, and that was just checked.
            let _ = incoming.retry();
            continue;
        }
        let Some(permit) = serving.admit() else {
            incoming.refuse();
            continue;
        };
        let handshake = Handshake::begin(&handshakes);
        let serving = serving.clone();
        serving.tasks.clone().spawn(async move {
            let _permit = permit;
            converse(incoming, handshake, serving).await;
        });
    }
}

/// One connection from the handshake to its end. With 0-RTT the first requests are served while
/// the handshake is under way.
async fn converse<A>(incoming: Incoming, handshake: Handshake, serving: Arc<Serving<A>>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let Ok(connecting) = incoming.accept() else { return serving.metrics.refused("handshake") };
    // On a server this always gives a connection; the future tells when the handshake is done.
    let Ok((connection, finished)) = connecting.into_0rtt() else {
        return serving.metrics.refused("handshake");
    };
    let limit = serving.limits.handshake_timeout;
    let watched = {
        let (connection, metrics) = (connection.clone(), serving.metrics.clone());
        async move {
            let is_done = tokio::time::timeout(limit, finished).await.is_ok();
            drop(handshake);
            if !is_done || connection.close_reason().is_some() {
                metrics.refused("handshake");
                connection.close(VarInt::from_u32(0), b"handshake timeout");
            }
        }
    };
    tokio::join!(watched, h3::converse(connection, serving));
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

fn transport_limits(config: &Config) -> TransportConfig {
    let (limits, quic) = (&config.limits, &config.quic);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(limits.streams_per_connection_max.into())
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        .send_window(quic.send_window.as_u64())
        .receive_window(varint(quic.receive_window))
        .stream_receive_window(varint(quic.stream_receive_window))
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

fn open(address: SocketAddr, quic: &Quic) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel may give less; then bursts are lost sooner, which is no reason not to start.
    let bytes = usize::try_from(quic.socket_buffer.as_u64()).unwrap_or(usize::MAX);
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Streams a client may open beside its requests: control, two for QPACK, and some to ignore.
const UNI_STREAMS_MAX: u32 = 8;
/// Bytes of early packets kept for one waiting handshake; a first flight with 0-RTT requests.
const INCOMING_BUFFER_EACH: u64 = 64 * 1024;
