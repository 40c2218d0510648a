//! Listening sockets that a supervisor hands over (`LISTEN_FDS`, as systemd does it), or the process before this one: the
//! kernel keeps queueing connections meanwhile, so none is refused.
//!
//! Invariant: every socket of an address that the node serves is accepted from; one that is dropped would take the
//! connections that wait in it along.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use tidegate_chassis::handover::Passed;

use super::socket::prepare;
use crate::listener::{ListenError, config::Tcp};

/// Sockets that nobody has claimed yet.
#[derive(Debug, Default)]
pub(in crate::listener) struct Inherited(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    /// For which listener and address the process before had it; a supervisor does not say.
    asked: Option<(String, String)>,
    socket: TcpListener,
}

impl Inherited {
    /// The sockets that this process was started with; none when it was not started so.
    pub(in crate::listener) fn of_process() -> Self {
        let mut passed = listenfd::ListenFd::from_env();
        let sockets = (0..passed.len()).filter_map(|place| match passed.take_tcp_listener(place) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, place, "an inherited descriptor is no TCP socket");
                None
            }
        });
        Self(sockets.map(|socket| Socket { asked: None, socket }).collect())
    }

    /// The sockets of the process before.
    pub(in crate::listener) fn passed(sockets: impl IntoIterator<Item = Vec<Passed>>) -> Self {
        let socket = |Passed { name, asked, socket }| Socket {
            asked: Some((name, asked)),
            socket: TcpListener::from(socket),
        };
        Self(sockets.into_iter().flatten().map(socket).collect())
    }

    /// Takes the sockets of a listener's address, which may be one with a port that was free.
    pub(in crate::listener) fn take(
        &mut self,
        name: &str,
        address: SocketAddr,
    ) -> Vec<TcpListener> {
        let is_asked = |socket: &Socket| match &socket.asked {
            Some((by, asked)) => by == name && *asked == address.to_string(),
            None => socket.socket.local_addr().is_ok_and(|bound| bound == address),
        };
        let (taken, left): (Vec<_>, _) =
            std::mem::take(&mut self.0).into_iter().partition(is_asked);
        self.0 = left;
        taken.into_iter().map(|socket| socket.socket).collect()
    }

    /// Addresses that nobody asked for.
    pub(in crate::listener) fn left(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|socket| socket.socket.local_addr().ok()).collect()
    }
}

/// Spreads the sockets of one address over workers: each gets at least one, and none is left out.
///
/// # Errors
/// When a socket cannot be duplicated or set up.
pub(in crate::listener) fn share(
    sockets: Vec<TcpListener>,
    count: usize,
    tcp: &Tcp,
) -> Result<Vec<Vec<TcpListener>>, ListenError> {
    let address = sockets.first().and_then(|socket| socket.local_addr().ok());
    let refused = |cause: io::Error| ListenError::Bind {
        address: address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
        cause,
    };
    let mut shares: Vec<Vec<TcpListener>> = (0..count).map(|_| Vec::new()).collect();
    for (place, socket) in sockets.into_iter().enumerate() {
        prepare(&socket, tcp).map_err(refused)?;
        shares[place % count].push(socket);
    }
    // Fewer sockets than workers: the rest accept from the first one, which the kernel allows.
    for place in 1..count {
        if shares[place].is_empty() {
            let duplicate = shares[0].first().map(TcpListener::try_clone).transpose();
            shares[place].extend(duplicate.map_err(refused)?);
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> Vec<TcpListener> {
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect()
    }

    #[test]
    fn every_worker_gets_a_socket_and_every_socket_a_worker() {
        for (sockets_count, workers) in [(1, 1), (1, 4), (3, 2), (5, 4), (2, 2)] {
            let shares = share(sockets(sockets_count), workers, &Tcp::default()).unwrap();
            assert_eq!(shares.len(), workers);
            assert!(shares.iter().all(|share| !share.is_empty()), "{sockets_count} {workers}");
            let mut bound: Vec<_> =
                shares.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
            bound.sort();
            bound.dedup();
            assert_eq!(bound.len(), sockets_count);
        }
    }

    #[test]
    fn sockets_are_claimed_by_their_address() {
        let made = sockets(2);
        let addresses: Vec<_> = made.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let unnamed = |socket| Socket { asked: None, socket };
        let mut inherited = Inherited(made.into_iter().map(unnamed).collect());
        assert_eq!(inherited.take("http", addresses[1]).len(), 1);
        assert!(inherited.take("http", addresses[1]).is_empty());
        assert_eq!(inherited.left(), [addresses[0]]);
    }

    #[test]
    fn sockets_of_the_process_before_are_claimed_by_what_they_were_asked_for() {
        let asked = "127.0.0.1:0";
        let passed = |name: &str| {
            let socket = sockets(1).pop().unwrap().into();
            vec![Passed { name: name.to_owned(), asked: asked.to_owned(), socket }]
        };
        let mut inherited = Inherited::passed(["http", "https"].map(passed));
        let address = asked.parse().unwrap();
        assert_eq!(inherited.take("https", address).len(), 1);
        assert!(inherited.take("https", address).is_empty());
        assert_eq!(inherited.take("http", address).len(), 1);
    }
}
