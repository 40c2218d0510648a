//! QUIC under DNS: the endpoint, its limits, and its connections up to their handshake.
//!
//! Handshakes go on beside each other. When more than half of all places are taken, clients prove their address by a Retry
//! (RFC 9000 8.1.2) before anything is kept of them. Invariant: what one connection may make this node keep is bounded.

use std::{io, sync::Arc};

use quinn::{
    Connecting, Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, TokioRuntime,
    TransportConfig, VarInt, crypto::rustls::QuicServerConfig,
};
use rustls::ServerConfig;
use tokio::time::timeout;

use super::{
    exchange::{Desk, QUERY_MAX},
    metrics::Ended,
    places::Place,
};

/// Makes an endpoint of a socket. `streams_max` is how many streams that a client does not wait for an answer on it may
/// open.
pub(super) fn endpoint(
    socket: std::net::UdpSocket,
    tls: ServerConfig,
    desk: &Desk,
    streams_max: u32,
) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let limits = &desk.config;
    let mut transport = TransportConfig::default();
    let window = QUERY_MAX as u32 + 1024;
    let idle = IdleTimeout::try_from(limits.idle).map_err(io::Error::other)?;
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.queries_at_once_max))
        .max_concurrent_uni_streams(VarInt::from_u32(streams_max))
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(idle))
        .datagram_receive_buffer_size(None);
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64);
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
}

/// Takes connections until the drain and hands each to `converse`.
pub(super) async fn serve<F>(
    endpoint: Endpoint,
    desk: Desk,
    converse: impl Fn(Connection, Desk) -> F + Clone + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send,
{
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = desk.drain.started() => break,
        };
        let Some(incoming) = incoming else { return Err(io::Error::other("the endpoint closed")) };
        let Some((connecting, place)) = admit(incoming, &desk) else { continue };
        let (desk, converse) = (desk.clone(), converse.clone());
        tokio::spawn(async move {
            if let Some((connection, place)) = shake_hands(connecting, place, &desk).await {
                converse(connection, desk).await;
                drop(place);
            }
        });
    }
    // Nothing new is taken; what goes on ends by itself, for which the endpoint stays.
    endpoint.set_server_config(None);
    desk.places.all_free().await;
    Ok(())
}

/// Begins a handshake if there is a place, and the client has proved its address where that is asked for.
fn admit(incoming: Incoming, desk: &Desk) -> Option<(Connecting, Place)> {
    if desk.places.is_crowded() && !incoming.remote_address_validated() {
        // An error says only that it was validated, which was asked just now.
        let _ = incoming.retry();
        return None;
    }
    let Some(place) = desk.places.take() else {
        desk.ended(Ended::Full);
        incoming.refuse();
        return None;
    };
    match incoming.accept() {
        Ok(connecting) => Some((connecting, place)),
        Err(_) => {
            desk.ended(Ended::Handshake);
            None
        }
    }
}

async fn shake_hands(
    connecting: Connecting,
    mut place: Place,
    desk: &Desk,
) -> Option<(Connection, Place)> {
    let Ok(Ok(connection)) = timeout(desk.config.handshake, connecting).await else {
        desk.ended(Ended::Handshake);
        return None;
    };
    if !place.is_granted(connection.remote_address().ip()) {
        desk.ended(Ended::Client);
        connection.close(REFUSED, b"");
        return None;
    }
    Some((connection, place))
}

/// What a connection may send ahead on all streams.
const RECEIVE_WINDOW: u32 = 64 * 1024;
/// What waits on a connection for a client that reads slowly: an answer on each of some streams.
const SEND_WINDOW: u64 = 256 * 1024;
/// Handshakes that wait to be looked at.
const INCOMING_MAX: usize = 1024;
/// What is kept of each of those.
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
/// DOQ_EXCESSIVE_LOAD (RFC 9250 8.4); H3 knows it as H3_EXCESSIVE_LOAD by another number, and a client that is closed at once
/// looks at neither.
const REFUSED: VarInt = VarInt::from_u32(4);
