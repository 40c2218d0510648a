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
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Addresses by port: what they take in milliseconds; odd ones fail.
    async fn run(ports: &[u16]) -> (Result<u16, String>, u128) {
        let addresses: Vec<SocketAddr> =
            ports.iter().map(|port| ([192, 0, 2, 1], *port).into()).collect();
        let began = Instant::now();
        let result = first(&addresses, Duration::from_millis(250), |address| async move {
            sleep(Duration::from_millis(address.port().into())).await;
            match address.port() % 2 {
                0 => Ok(address.port()),
                _ => Err(Failure::new(FailureClass::Connect, address.port().to_string())),
            }
        });
        let result = result.await.map_err(|failure| failure.detail.into_owned());
        (result, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_wins() {
        for (ports, result, took) in [
            (&[100][..], Ok(100), 100),
            (&[1000, 100], Ok(100), 350),
            (&[300, 100], Ok(300), 300),
            (&[11, 100], Ok(100), 111),
            (&[2001, 501, 100], Ok(100), 600),
            (&[11, 13, 15], Err("11".to_owned()), 39),
            (&[501, 13], Err("13".to_owned()), 501),
            (&[], Err("no address".to_owned()), 0),
        ] {
            let (found, time) = run(ports).await;
            assert_eq!(found, result, "{ports:?}");
            assert!(time.abs_diff(took) <= 3, "{ports:?}: {time} ms");
        }
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
