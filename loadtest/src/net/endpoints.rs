//! UDP sockets of one worker: a few that its HTTP/3 sessions share, and own ones for sessions that move.
//!
//! Invariant: a socket for loopback is bound to loopback, so nothing else can reach it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Failure, config::NetConfig, dial::source, failure::Step};

/// The endpoints that are shared, by the address they are bound to.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    rings: RefCell<HashMap<IpAddr, Vec<Endpoint>>>,
    turn: Cell<usize>,
}

impl Endpoints {
    /// The next shared endpoint that reaches an address.
    pub(super) fn shared(
        &self,
        config: &NetConfig,
        sources: &Cell<usize>,
        to: SocketAddr,
    ) -> Result<Endpoint, Failure> {
        let from = local(config, sources, to);
        let mut rings = self.rings.borrow_mut();
        let ring = rings.entry(from.ip()).or_default();
        self.turn.set(self.turn.get().wrapping_add(1));
        let place = self.turn.get() % config.udp_sockets;
        if ring.len() <= place {
            let made = open(from).map_err(|error| Failure::of_io(&error, Step::Connect))?;
            ring.push(made.clone());
            return Ok(made);
        }
        Ok(ring[place].clone())
    }

    /// An endpoint for one session.
    pub(super) fn own(
        config: &NetConfig,
        sources: &Cell<usize>,
        to: SocketAddr,
    ) -> Result<Endpoint, Failure> {
        let from = local(config, sources, to);
        open(from).map_err(|error| Failure::of_io(&error, Step::Connect))
    }
}

/// Moves an endpoint and its connections to another port of the same address (RFC 9000 section 9).
pub(super) fn migrate(endpoint: &Endpoint) -> io::Result<()> {
    let from = endpoint.local_addr()?.ip();
    endpoint.rebind(socket(SocketAddr::new(from, 0))?)
}

fn local(config: &NetConfig, sources: &Cell<usize>, to: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match to {
        SocketAddr::V4(to) if to.ip().is_loopback() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(to) if to.ip().is_loopback() => Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    source(config, sources, to).unwrap_or_else(|| SocketAddr::new(ip, 0))
}

fn open(from: SocketAddr) -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), None, socket(from)?, Arc::new(TokioRuntime))
}

fn socket(from: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
    if from.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The system gives what it allows (net.core.rmem_max); too little shows as loss.
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&from.into())?;
    Ok(socket.into())
}

/// What may wait in a socket: 10 ms at 5 Gbit/s.
const SOCKET_BUFFER: usize = 7 * 1024 * 1024;
