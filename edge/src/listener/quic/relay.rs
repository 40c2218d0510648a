//! Datagrams of connections that another process owns, between two processes that share a UDP port for a while.
//!
//! The new process alone reads the port, and hands what belongs to connections of the old one on to it over a pair of
//! local sockets; answers leave from the old one directly. Invariant: the queue is bounded, and a datagram that finds
//! no room is lost, as in a network.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{Mutex, MutexGuard, PoisonError},
};

use quinn::udp::{EcnCodepoint, RecvMeta};
use tokio::{net::UnixDatagram, sync::Notify};

/// What waits to be handed to the other process.
#[derive(Debug, Default)]
pub(super) struct Relay {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    is_filled: Notify,
}

impl Relay {
    /// Takes a datagram for a worker of the other process; false when there is no room.
    pub(super) fn post(&self, worker: u16, meta: &RecvMeta, datagram: &[u8]) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            return false;
        }
        waiting.push_back(pack(worker, meta, datagram));
        drop(waiting);
        self.is_filled.notify_one();
        true
    }

    /// Sends what waits until the other process is gone.
    pub(super) async fn send_all(&self, to: &UnixDatagram) -> io::Result<()> {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some(packed) => drop(to.send(&packed).await?),
                None => self.is_filled.notified().await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what the other process hands on, until that is gone.
pub(super) async fn receive_all(
    from: &UnixDatagram,
    take: impl Fn(u16, &RecvMeta, &[u8]),
) -> io::Result<()> {
    let mut packed = vec![0; HEAD_BYTES + DATAGRAM_BYTES_MAX];
    loop {
        let length = from.recv(&mut packed).await?;
        if length == 0 {
            return Ok(());
        }
        if let Some((worker, meta, datagram)) = unpack(&packed[..length]) {
            take(worker, &meta, datagram);
        }
    }
}

/// Worker, ECN, whether there is a destination, port, scope, sender, destination; then the datagram.
fn pack(worker: u16, meta: &RecvMeta, datagram: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(HEAD_BYTES + datagram.len());
    packed.extend_from_slice(&worker.to_be_bytes());
    packed.push(meta.ecn.map_or(0, |ecn| ecn as u8));
    packed.push(match meta.dst_ip {
        None => 0,
        Some(IpAddr::V4(_)) => 4,
        Some(IpAddr::V6(_)) => 6,
    });
    packed.push(if meta.addr.is_ipv4() { 4 } else { 6 });
    packed.extend_from_slice(&meta.addr.port().to_be_bytes());
    let scope = if let SocketAddr::V6(address) = meta.addr { address.scope_id() } else { 0 };
    packed.extend_from_slice(&scope.to_be_bytes());
    packed.extend_from_slice(&octets(meta.addr.ip()));
    packed.extend_from_slice(&octets(meta.dst_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))));
    packed.extend_from_slice(datagram);
    packed
}

fn unpack(packed: &[u8]) -> Option<(u16, RecvMeta, &[u8])> {
    let (head, datagram) = packed.split_first_chunk::<HEAD_BYTES>()?;
    let [w0, w1, ecn, to, from, p0, p1, s0, s1, s2, s3, addresses @ ..] = head;
    let (sender, destination) = addresses.split_first_chunk::<16>()?;
    let destination: [u8; 16] = destination.try_into().ok()?;
    let port = u16::from_be_bytes([*p0, *p1]);
    let scope = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
    let addr = match address(*from, *sender)? {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    };
    let meta = RecvMeta {
        addr,
        len: datagram.len(),
        stride: datagram.len(),
        ecn: EcnCodepoint::from_bits(*ecn),
        dst_ip: address(*to, destination),
    };
    Some((u16::from_be_bytes([*w0, *w1]), meta, datagram))
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn address(version: u8, octets: [u8; 16]) -> Option<IpAddr> {
    let ip = Ipv6Addr::from(octets);
    match version {
        4 => ip.to_ipv4_mapped().map(IpAddr::V4),
        6 => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Datagrams that may wait for the other process, at 1.5 KB each: acknowledgements of some thousand downloads.
const WAITING_MAX: usize = 8_192;
const HEAD_BYTES: usize = 43;
/// The largest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(addr: &str, dst_ip: Option<IpAddr>, ecn: Option<EcnCodepoint>) -> RecvMeta {
        RecvMeta { addr: addr.parse().unwrap(), len: 3, stride: 3, ecn, dst_ip }
    }

    #[test]
    fn a_datagram_is_the_same_on_the_other_side() {
        for meta in [
            meta("127.0.0.1:9", None, None),
            meta("10.1.2.3:65535", Some([127, 0, 0, 1].into()), Some(EcnCodepoint::Ect0)),
            meta("[2001:db8::1]:443", Some(Ipv6Addr::LOCALHOST.into()), Some(EcnCodepoint::Ce)),
            meta("[fe80::1%7]:443", None, Some(EcnCodepoint::Ect1)),
        ] {
            let packed = pack(4095, &meta, b"abc");
            let (worker, unpacked, datagram) = unpack(&packed).unwrap();
            assert_eq!((worker, datagram), (4095, &b"abc"[..]));
            assert_eq!(
                (unpacked.addr, unpacked.dst_ip, unpacked.ecn, unpacked.len, unpacked.stride),
                (meta.addr, meta.dst_ip, meta.ecn, 3, 3)
            );
        }
        assert!(unpack(&[0; HEAD_BYTES - 1]).is_none());
        assert!(unpack(&[0; HEAD_BYTES]).is_none(), "an address of no kind");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_arrives_in_order() {
        let relay = Relay::default();
        let meta = meta("127.0.0.1:9", None, None);
        let posted: Vec<_> = (0..WAITING_MAX + 2)
            .map(|n| relay.post(n as u16, &meta, &(n as u32).to_be_bytes()))
            .collect();
        assert_eq!(posted.iter().filter(|is_taken| **is_taken).count(), WAITING_MAX);
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let seen = Mutex::new(0_u32);
        let all = Notify::new();
        let receiving = receive_all(&theirs, |worker, _, datagram| {
            let mut seen = seen.lock().unwrap();
            assert_eq!(datagram, seen.to_be_bytes());
            assert_eq!(u32::from(worker), *seen);
            *seen += 1;
            if *seen as usize == WAITING_MAX {
                all.notify_one();
            }
        });
        tokio::select! {
            ended = relay.send_all(&ours) => panic!("{ended:?}"),
            ended = receiving => panic!("{ended:?}"),
            () = all.notified() => {}
        }
    }
}
