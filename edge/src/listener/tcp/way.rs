//! What the kernel measures on the way to a client (TCP_INFO).
//!
//! The standard library and the socket crates have no safe way to ask; Pingora, which stays for upstream connections,
//! has one. This is the one place of the listener that names it. Invariant: what the kernel does not say is absent.

use std::{net::SocketAddr, os::fd::AsRawFd, time::Duration};

use pingora::protocols::l4::ext::{TCP_INFO, get_tcp_info};
use tokio::net::TcpStream;

use crate::listener::stream::Way;

/// Asks the kernel; costs one system call.
pub(super) fn of(socket: &TcpStream, client: SocketAddr) -> Way {
    let measured = get_tcp_info(socket.as_raw_fd()).map(|info| from(&info)).unwrap_or_default();
    Way { client: Some(client), ..measured }
}

/// The shortest round trip to the client so far; costs one system call.
pub(super) fn round_trip(socket: &TcpStream) -> Option<Duration> {
    let info = get_tcp_info(socket.as_raw_fd()).ok()?;
    // Kernels that have no minimum yet say all ones.
    let micros = match info.tcpi_min_rtt {
        0 | u32::MAX => info.tcpi_rtt,
        least => least,
    };
    (micros > 0).then(|| Duration::from_micros(micros.into()))
}

fn from(info: &TCP_INFO) -> Way {
    if info.tcpi_rtt == 0 {
        return Way::default();
    }
    let window_bits = u64::from(info.tcpi_snd_cwnd) * u64::from(info.tcpi_snd_mss) * 8;
    Way {
        rtt: Some(Duration::from_micros(info.tcpi_rtt.into())),
        bits_per_second: Some(window_bits * 1_000_000 / u64::from(info.tcpi_rtt)),
        client: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_has_a_round_trip_time_and_a_window() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (socket, client) = far.unwrap();
        let way = of(&socket, client);
        assert_eq!(way.client, Some(near.unwrap().local_addr().unwrap()));
        assert!(way.rtt.is_some_and(|rtt| rtt < Duration::from_secs(5)), "{way:?}");
        let least = round_trip(&socket).unwrap();
        assert!(least <= way.rtt.unwrap(), "{least:?}");
        assert!(way.bits_per_second.is_some_and(|bits| bits > 0), "{way:?}");
    }
}
