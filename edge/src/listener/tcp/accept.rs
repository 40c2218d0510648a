//! Accepts connections and hands each to the protocol that its client speaks.
//!
//! Invariant: only a broken socket ends the loop before the drain, and what waits in the kernel when the drain begins
//! is still taken.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Transport;
use crate::listener::{
    ListenError,
    account::TCP_CONNECTION,
    bell::Bell,
    h1, h2,
    serving::{Place, Serving},
    stream::App,
};

/// Accepts until the drain; every connection runs in a task of its own.
///
/// # Errors
/// When the socket is broken.
pub(in crate::listener) async fn accept<A: App>(
    socket: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    serving: Arc<Serving<A>>,
    bell: Arc<Bell>,
) -> Result<(), ListenError> {
    let socket = TcpListener::from_std(socket).map_err(ListenError::Accept)?;
    let mut drained = pin!(serving.drain.started());
    let mut in_a_row = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = &mut drained => return Ok(()),
        };
        let (connection, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => match after_failure(&error) {
                AfterFailure::Continue => continue,
                AfterFailure::Pause => {
                    tracing::warn!(%error, "accepting connections pauses");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                AfterFailure::Stop => return Err(ListenError::Accept(error)),
            },
        };
        // At a limit the connection is closed at once.
        if let Some(place) = serving.admit(client, TCP_CONNECTION) {
            let served =
                serve(connection, client, tls.clone(), place, serving.clone(), bell.clone());
            serving.tasks.spawn(served);
        }
        in_a_row += 1;
        if in_a_row == ACCEPTED_IN_A_ROW {
            // Connections that are open have their turn.
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// One connection, from its first byte to its end.
async fn serve<A: App>(
    connection: TcpStream,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
    _place: Place,
    serving: Arc<Serving<A>>,
    bell: Arc<Bell>,
) {
    let Some(tls) = tls else {
        if serving.has_h2c && begins_with_preface(&connection, serving.limits.header_timeout).await
        {
            let io = Transport::plain(connection, client, &serving.limits);
            let io = io.measured(&serving.measurements);
            return h2::converse(io, serving, bell).await;
        }
        let io = Transport::plain(connection, client, &serving.limits);
        let io = io.measured(&serving.measurements);
        return h1::converse(io, serving, bell).await;
    };
    let handshake = Transport::handshake(connection, client, &tls, &serving.limits);
    let shaken = tokio::time::timeout(serving.limits.handshake_timeout, handshake).await;
    let Ok(Ok(io)) = shaken else { return serving.metrics.refused("handshake") };
    let io = io.measured(&serving.measurements);
    if let Some((is_tls13, is_resumed)) = io.handshake_kind() {
        serving.metrics.handshake(is_tls13, is_resumed);
    }
    if io.is_h2() {
        h2::converse(io, serving, bell).await;
    } else {
        h1::converse(io, serving, bell).await;
    }
}

/// Whether the client begins with the preface of H2; looks without taking anything.
async fn begins_with_preface(connection: &TcpStream, limit: Duration) -> bool {
    let mut begun = [0; PREFACE.len()];
    let look = async {
        loop {
            match connection.peek(&mut begun).await {
                Ok(seen @ 1..) if seen < PREFACE.len() && PREFACE.starts_with(&begun[..seen]) => {
                    // The kernel does not tell when more has come to what is there already.
                    tokio::time::sleep(PREFACE_PAUSE).await;
                }
                Ok(seen) => return begun[..seen] == *PREFACE,
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(limit, look).await.unwrap_or(false)
}

/// What an error of `accept` asks for.
#[derive(Debug, PartialEq, Eq)]
enum AfterFailure {
    /// It concerned one client that has gone again.
    Continue,
    /// The machine is short of something; connections that end will free it.
    Pause,
    /// The socket itself is broken.
    Stop,
}

fn after_failure(error: &io::Error) -> AfterFailure {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::Interrupted
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable => AfterFailure::Continue,
        io::ErrorKind::OutOfMemory => AfterFailure::Pause,
        _ => match error.raw_os_error() {
            Some(ENFILE | EMFILE | ENOMEM | ENOBUFS) => AfterFailure::Pause,
            _ => AfterFailure::Stop,
        },
    }
}

/// Pause after running out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are accepted before those that are open have their turn.
const ACCEPTED_IN_A_ROW: u32 = 32;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface that comes in parts, which hardly ever happens.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

// Error numbers of Linux; std has no kinds for them.
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_socket_stops_the_accept_loop() {
        for (number, expected) in [
            (103, AfterFailure::Continue), // ECONNABORTED
            (4, AfterFailure::Continue),   // EINTR
            (EMFILE, AfterFailure::Pause),
            (ENOBUFS, AfterFailure::Pause),
            (9, AfterFailure::Stop),  // EBADF
            (22, AfterFailure::Stop), // EINVAL
        ] {
            assert_eq!(after_failure(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
    }
}
