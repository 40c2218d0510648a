//! UDP sockets that share an address, and one answer at a time through them.
//!
//! The kernel spreads clients over the sockets of one address. Invariant: an answer leaves from the address that was asked,
//! also where a socket listens on all of them.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use nix::{
    libc,
    sys::socket::{
        ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Type};

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Binds `count` sockets to one address; port 0 becomes the same free port for all of them.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let first = Self::bind(address)?;
        let address = first.address;
        let others = (1..count).map(|_| Self::bind(address));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel gives what it may; less is no reason not to serve.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.set_read_timeout(Some(WAIT_MAX))?;
        socket.set_write_timeout(Some(SEND_WAIT_MAX))?;
        // No answer is larger than any path takes, none is to be cut up on its way (RFC 9715 3.1), and nobody gets to lower
        // what we take for a path's size. What is never cut up needs no number to be put together by either, which is
        // three hundredths of all that the kernel does for an answer.
        if address.is_ipv4() {
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
        } else {
            set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
        }
        if address.ip().is_unspecified() {
            match address {
                SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
            }
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it listens on all addresses, so that answers have to say from which they come.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.address.ip().is_unspecified()
    }

    /// Sends an answer from the address that was asked. Does not wait: what finds no room is not sent.
    ///
    /// # Errors
    /// When there is no room, or the way is not there.
    pub fn send(&self, answer: &[u8], peer: SocketAddr, asked: Option<IpAddr>) -> io::Result<()> {
        let peer = SockaddrStorage::from(peer);
        let answer = [IoSlice::new(answer)];
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(self.as_raw_fd(), &answer, control, MsgFlags::MSG_DONTWAIT, Some(&peer))
        };
        match asked {
            None => send(&[])?,
            Some(IpAddr::V4(asked)) => send(&[ControlMessage::Ipv4PacketInfo(&from_v4(asked))])?,
            Some(IpAddr::V6(asked)) => send(&[ControlMessage::Ipv6PacketInfo(&from_v6(asked))])?,
        };
        Ok(())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn from_v4(asked: Ipv4Addr) -> libc::in_pktinfo {
    libc::in_pktinfo {
        ipi_ifindex: 0,
        // In the order of the network, as in memory.
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(asked.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    }
}

fn from_v6(asked: Ipv6Addr) -> libc::in6_pktinfo {
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: asked.octets() }, ipi6_ifindex: 0 }
}

/// After so long without a query a thread looks whether it shall end.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// A network that takes nothing for so long gets no answers; resolvers ask again.
const SEND_WAIT_MAX: Duration = Duration::from_millis(100);
/// Queries of some milliseconds, while a thread does not run.
const BUFFER_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_share_a_port_that_the_system_chose() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let sockets = Socket::bind_all(address.parse().unwrap(), 3).unwrap();
            assert_eq!(sockets.len(), 3);
            assert_ne!(sockets[0].address().port(), 0);
            assert!(sockets.iter().all(|socket| socket.address() == sockets[0].address()));
        }
    }

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        let socket = &Socket::bind_all("0.0.0.0:0".parse().unwrap(), 1).unwrap()[0];
        assert!(socket.is_wildcard());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let asked = "127.0.0.9".parse().unwrap();
        socket.send(b"here", client.local_addr().unwrap(), Some(asked)).unwrap();
        let mut buffer = [0; 8];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"here"[..], asked));
    }
}
