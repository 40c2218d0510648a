//! Reaching a server: its addresses in order, the next one a little later, the first that answers wins (after RFC 8305).
//!
//! Invariant: no more addresses are tried than a name may have, and all attempts end when one has won.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::net::{TcpSocket, TcpStream};

use super::{Failure, config::NetConfig, failure::Step, resolve::ADDRESSES_MAX};
use crate::kind::FailureClass;

/// The first attempt that succeeds; else how the first one failed.
pub(super) async fn first<T, F>(
    addresses: &[SocketAddr],
    stagger: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut waiting = addresses.iter().take(ADDRESSES_MAX);
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(address) => running.push(attempt(*address)),
            None if running.is_empty() => {
                let none = || Failure::new(FailureClass::Dns, "no address");
                return Err(failure.unwrap_or_else(none));
            }
            None => {}
        }
        let ended = match waiting.len() {
            0 => running.next().await,
            _ => tokio::time::timeout(stagger, running.next()).await.unwrap_or_default(),
        };
        match ended {
            Some(Ok(made)) => return Ok(made),
            Some(Err(one)) => failure = failure.or(Some(one)),
            None => {}
        }
    }
}

/// A TCP connection to one address.
pub(super) async fn tcp(
    config: &NetConfig,
    turn: &Cell<usize>,
    window: Option<u64>,
    address: SocketAddr,
) -> Result<TcpStream, Failure> {
    let failed = |error: std::io::Error| Failure::of_io(&error, Step::Connect);
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4(),
        false => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    if let Some(source) = source(config, turn, address) {
        socket.bind(source).map_err(failed)?;
    }
    if let Some(window) = window {
        // A shaped session's bytes wait at the server, not in the kernel here.
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        socket.set_recv_buffer_size(window).map_err(failed)?;
    }
    let connect = tokio::time::timeout(config.connect_timeout, socket.connect(address)).await;
    let late = |_| Failure::new(FailureClass::Connect, "no connection in time");
    let stream = connect.map_err(late)?.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// The next of our own addresses that can reach an address; its port is the system's choice.
pub(super) fn source(config: &NetConfig, turn: &Cell<usize>, to: SocketAddr) -> Option<SocketAddr> {
    let fits = || config.sources.iter().filter(|source| source.is_ipv4() == to.is_ipv4());
    let count = fits().count();
    if count == 0 {
        return None;
    }
    turn.set(turn.get().wrapping_add(1));
    fits().nth(turn.get() % count).map(|source| SocketAddr::new(*source, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses by port: 1 to 9 answer, 11 to 19 fail, others are silent for ever.
    async fn run(stagger: Duration, ports: &[u16]) -> Result<u16, String> {
        let addresses: Vec<SocketAddr> =
            ports.iter().map(|port| ([192, 0, 2, 1], *port).into()).collect();
        let result = first(&addresses, stagger, |address| async move {
            match address.port() {
                port @ 1..=9 => Ok(port),
                port @ 11..=19 => Err(Failure::new(FailureClass::Connect, port.to_string())),
                _ => std::future::pending().await,
            }
        });
        result.await.map_err(|failure| failure.detail.into_owned())
    }

    #[tokio::test]
    async fn the_next_address_is_tried_after_a_while_or_a_failure() {
        let (soon, never) = (Duration::from_millis(1), Duration::from_secs(3600));
        for (stagger, ports, result) in [
            (never, &[1][..], Ok(1)),
            (never, &[1, 2], Ok(1)),
            (soon, &[100, 2], Ok(2)),
            (soon, &[100, 101, 11, 3], Ok(3)),
            (never, &[11, 12, 3], Ok(3)),
            (never, &[11, 12, 13], Err("11".to_owned())),
            (never, &[], Err("no address".to_owned())),
        ] {
            assert_eq!(run(stagger, ports).await, result, "{ports:?}");
        }
    }

    #[tokio::test]
    async fn addresses_beyond_the_limit_are_not_tried() {
        let mut ports = [11; ADDRESSES_MAX + 1];
        ports[ADDRESSES_MAX] = 1;
        assert_eq!(run(Duration::from_secs(3600), &ports).await, Err("11".to_owned()));
    }

    #[test]
    fn own_addresses_take_turns_by_family() {
        let config = NetConfig {
            sources: ["127.0.0.1", "::1", "127.0.0.2"].map(|text| text.parse().unwrap()).into(),
            ..NetConfig::default()
        };
        let turn = Cell::new(0);
        let next = |to: &str| source(&config, &turn, to.parse().unwrap()).unwrap().to_string();
        let to = "127.0.0.1:1";
        assert_ne!(next(to), next(to));
        assert_eq!(next("[::1]:1"), "[::1]:0");
        assert_eq!(source(&NetConfig::default(), &turn, to.parse().unwrap()), None);
    }
}
