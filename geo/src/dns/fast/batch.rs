//! Many datagrams in one call: queries in, answers out.
//!
//! Memory is made once, for as many as one call takes. Invariant: what is read of a slot is what the last call received
//! there.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space, libc,
    sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg},
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use super::socket::Socket;

/// The most datagrams of one call: beyond it a call costs nothing that counts.
pub const BATCH_MAX: usize = 128;
/// As many at once do not come where little is asked; nobody there waits for others.
const MUCH: usize = 4;
/// The largest query; who has more to say comes over TCP.
pub const PACKET_BYTES_MAX: usize = 1536;
/// The largest answer over UDP, whatever a client says: what every path takes whole.
pub const ANSWER_BYTES_MAX: usize = 1232;

/// Room for the datagrams of a call. It stays with its thread.
pub struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
    packets: Box<[[u8; PACKET_BYTES_MAX]; BATCH_MAX]>,
    arrived: Vec<Arrived>,
    answers: Box<[[u8; ANSWER_BYTES_MAX]; BATCH_MAX]>,
    answered: Vec<Answered>,
}

/// A datagram that arrived.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    length: usize,
    peer: SocketAddr,
    asked: Option<IpAddr>,
}

/// An answer that waits to be sent; it lies in the slot of its number.
#[derive(Debug, Clone, Copy)]
struct Answered {
    length: usize,
    peer: SocketAddr,
    asked: Option<IpAddr>,
}

/// A datagram, and room for its answer.
#[derive(Debug)]
pub struct Slot<'a> {
    /// What came.
    pub packet: &'a [u8],
    /// From whom.
    pub peer: SocketAddr,
    /// At which address, where a socket has all of them.
    pub asked: Option<IpAddr>,
    /// Room.
    pub answer: &'a mut [u8; ANSWER_BYTES_MAX],
}

impl Batch {
    /// Room for what a socket receives.
    #[must_use]
    pub fn new(socket: &Socket) -> Self {
        let control =
            socket.is_wildcard().then(|| cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo));
        Self {
            headers: MultiHeaders::preallocate(BATCH_MAX, control),
            packets: Box::new([[0; PACKET_BYTES_MAX]; BATCH_MAX]),
            arrived: Vec::with_capacity(BATCH_MAX),
            answers: Box::new([[0; ANSWER_BYTES_MAX]; BATCH_MAX]),
            answered: Vec::with_capacity(BATCH_MAX),
        }
    }

    /// Receives what is there; waits for a first one if `waits`, as long as the socket waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing came.
    pub fn receive(&mut self, socket: &Socket, waits: bool) -> io::Result<()> {
        self.arrived.clear();
        let flags = if waits { MsgFlags::MSG_WAITFORONE } else { MsgFlags::MSG_DONTWAIT };
        let mut slices = self.packets.each_mut().map(|packet| [IoSliceMut::new(packet)]);
        let received =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None)?;
        for message in received {
            // Nobody answers half a query, or one that came from nowhere.
            let peer = message.address.as_ref().and_then(std_address);
            let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            let length = if is_whole && peer.is_some() { message.bytes } else { 0 };
            let asked = if socket.is_wildcard() {
                message.cmsgs().ok().and_then(|mut all| all.find_map(|one| asked(&one)))
            } else {
                None
            };
            let peer = peer.unwrap_or(NOBODY);
            self.arrived.push(Arrived { length, peer, asked });
        }
        Ok(())
    }

    /// Whether so much arrived that more comes in a moment, and not so much that more waits already.
    #[must_use]
    pub fn is_worth_a_wait(&self) -> bool {
        (MUCH..BATCH_MAX).contains(&self.arrived.len())
    }

    /// Goes through what arrived. `answer` says how long the answer is that it wrote, 0 for none yet.
    pub fn each(&mut self, mut answer: impl FnMut(Slot<'_>) -> usize) {
        self.answered.clear();
        for (arrived, packet) in self.arrived.iter().zip(self.packets.iter()) {
            let Arrived { length, peer, asked } = *arrived;
            if length == 0 {
                continue;
            }
            let room = &mut self.answers[self.answered.len()];
            let slot = Slot { packet: &packet[..length], peer, asked, answer: room };
            let length = answer(slot).min(ANSWER_BYTES_MAX);
            if length > 0 {
                self.answered.push(Answered { length, peer, asked });
            }
        }
    }

    /// Sends all answers and says how many of them could not be sent.
    pub fn send(&mut self, socket: &Socket) -> usize {
        let answered = self.answered.iter().zip(self.answers.iter());
        if socket.is_wildcard() {
            return answered
                .filter(|(one, bytes)| {
                    socket.send(&bytes[..one.length], one.peer, one.asked).is_err()
                })
                .count();
        }
        let parts: Vec<(SocketAddrAny, [IoSlice<'_>; 1])> = answered
            .map(|(one, bytes)| (one.peer.into(), [IoSlice::new(&bytes[..one.length])]))
            .collect();
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH_MAX] =
            std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut messages: Vec<MMsgHdr<'_>> = parts
            .iter()
            .zip(&mut controls)
            .map(|((peer, part), control)| MMsgHdr::new_with_addr(peer, part, control))
            .collect();
        let (mut at, mut failed) = (0, 0);
        while at < messages.len() {
            match sendmmsg(socket, &mut messages[at..], SendFlags::empty()) {
                Ok(sent) if sent > 0 => at += sent,
                Err(rustix::io::Errno::INTR) => {}
                // It is about the first of them; the others may be well.
                Ok(_) | Err(_) => {
                    failed += 1;
                    at += 1;
                }
            }
        }
        failed
    }
}

fn std_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::new(v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::V6(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id())))
}

fn asked(message: &ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(info.ipi_spec_dst.s_addr.to_ne_bytes().into()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()))
        }
        _ => None,
    }
}

/// Stands where no peer is; nothing is sent there.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use super::*;

    fn client(is_v6: bool) -> UdpSocket {
        let address = if is_v6 { "[::1]:0" } else { "127.0.0.1:0" };
        let client = UdpSocket::bind(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client
    }

    /// Receives until `count` came, and sends back what came, reversed.
    fn echo(socket: &Socket, batch: &mut Batch, count: usize) {
        let mut seen = 0;
        while seen < count {
            match batch.receive(socket, true) {
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                Ok(()) => {
                    batch.each(|slot| {
                        seen += 1;
                        slot.answer[..slot.packet.len()].copy_from_slice(slot.packet);
                        slot.answer[..slot.packet.len()].reverse();
                        slot.packet.len()
                    });
                    assert_eq!(batch.send(socket), 0);
                }
            }
        }
    }

    #[test]
    fn everybody_gets_the_own_answer_from_where_it_was_asked() {
        for (bound, asked) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("0.0.0.0:0", "127.0.0.7"),
            ("[::]:0", "::1"),
        ] {
            let socket = &Socket::bind_all(bound.parse().unwrap(), 1).unwrap()[0];
            let asked: IpAddr = asked.parse().unwrap();
            let to = SocketAddr::new(asked, socket.address().port());
            let clients: Vec<_> = (0..3).map(|_| client(asked.is_ipv6())).collect();
            let mut batch = Batch::new(socket);
            for round in 0..2 {
                for (number, client) in clients.iter().enumerate() {
                    client.send_to(format!("{round}{number}").as_bytes(), to).unwrap();
                }
                echo(socket, &mut batch, clients.len());
                for (number, client) in clients.iter().enumerate() {
                    let mut buffer = [0; 8];
                    let (length, from) = client.recv_from(&mut buffer).unwrap();
                    assert_eq!(&buffer[..length], format!("{number}{round}").as_bytes());
                    assert_eq!(from, to, "{bound}");
                }
            }
        }
    }

    #[test]
    fn more_than_a_batch_and_what_is_too_large() {
        let socket = &Socket::bind_all("127.0.0.1:0".parse().unwrap(), 1).unwrap()[0];
        let client = client(false);
        client.send_to(&[1; PACKET_BYTES_MAX + 1], socket.address()).unwrap();
        for number in 0..BATCH_MAX as u8 + 9 {
            client.send_to(&[number], socket.address()).unwrap();
        }
        let mut batch = Batch::new(socket);
        echo(socket, &mut batch, BATCH_MAX + 9);
        for number in 0..BATCH_MAX as u8 + 9 {
            let mut buffer = [0; 8];
            let (length, _) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], [number]);
        }
        assert!(batch.receive(socket, false).is_err(), "nothing is left");
    }
}
