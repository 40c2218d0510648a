//! Listening sockets: one for each worker on every address, so that the kernel spreads connections over them.
//!
//! Invariant: an address that somebody else listens on is refused, although the sockets of one node share it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::listener::{ListenError, config::Tcp};

/// Binds `count` sockets to one address. Port 0 takes a free one, the same for all. Connections queue in the kernel
/// until they are accepted.
///
/// # Errors
/// When the address is taken or not ours.
pub(in crate::listener) fn bind(
    address: SocketAddr,
    count: usize,
    tcp: &Tcp,
) -> Result<Vec<TcpListener>, ListenError> {
    let refused = |cause| ListenError::Bind { address, cause };
    if address.port() != 0 {
        // Sockets that share a port would otherwise join those of another node by mistake.
        open(address, false, tcp).map_err(refused)?;
    }
    let first = open(address, true, tcp).map_err(refused)?;
    let bound = first.local_addr().map_err(refused)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(open(bound, true, tcp).map_err(refused)?);
    }
    Ok(sockets)
}

/// Sets what accepted connections inherit.
pub(super) fn prepare(socket: &TcpListener, tcp: &Tcp) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_nonblocking(true)?;
    // Heads and small bodies leave at once; the listener itself gathers what belongs together.
    socket.set_tcp_nodelay(true)?;
    let lowat = u32::try_from(tcp.notsent_lowat.as_u64()).unwrap_or(u32::MAX);
    if lowat > 0 {
        socket.set_tcp_notsent_lowat(lowat)?;
    }
    Ok(())
}

fn open(address: SocketAddr, is_shared: bool, tcp: &Tcp) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted node takes its port again although old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    if address.is_ipv6() {
        // Else `[::]:443` and `0.0.0.0:443` could not stand side by side.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    let listener = TcpListener::from(socket);
    prepare(&listener, tcp)?;
    SockRef::from(&listener).listen(i32::try_from(tcp.backlog).unwrap_or(i32::MAX))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_of_an_address_have_one_port_and_nobody_else_gets_it() {
        let tcp = Tcp::default();
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 3, &tcp).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        let taken = bind(address, 1, &tcp).unwrap_err();
        assert!(
            matches!(taken, ListenError::Bind { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse)
        );
        drop(sockets);
        assert_eq!(bind(address, 2, &tcp).unwrap().len(), 2);
    }
}
