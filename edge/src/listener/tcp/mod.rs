//! TCP: accepts connections, does TLS, and hands them to H1 or H2 as ALPN says.
//!
//! Invariant: a connection is bounded in time from its first moment: handshake, header, body,
//! writing and idleness each have a limit.

mod h1;
mod h2;
mod h2_stream;
mod stream;
mod header_meter;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use self::stream::{Closing, EdgeStream};
use super::ListenError;
use super::serving::Serving;

/// Binds a listening socket; connections queue in the kernel until [`accept`] runs.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address).map_err(|cause| ListenError::Bind { address, cause })
}

/// Accepts until the drain; every connection runs in a task of its own.
pub(super) async fn accept<A>(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    serving: Arc<Serving<A>>,
) -> Result<(), ListenError>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    loop {
        let accepted = tokio::select! {
            biased;
            () = serving.drain.started() => return Ok(()),
            accepted = socket.accept() => accepted,
        };
        let (connection, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => match after_failure(&error) {
                AfterFailure::Continue => continue,
                AfterFailure::Pause => {
                    tracing::warn!(%error, "cannot accept connections for now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                AfterFailure::Stop => return Err(ListenError::Accept(error)),
            },
        };
        let Some(permit) = serving.admit() else { continue };
        let (tls, serving) = (tls.clone(), serving.clone());
        let closing = Closing::new(serving.tasks.clone(), permit);
        serving.tasks.clone().spawn(converse(connection, client, tls, closing, serving));
    }
}

/// One connection from the handshake to its end.
async fn converse<A>(
    connection: TcpStream,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
    closing: Closing,
    serving: Arc<Serving<A>>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    // Fails only when the client is gone already; reading will say so.
    let _ = connection.set_nodelay(true);
    let stream = match tls {
        None => EdgeStream::plain(connection, client, closing, &serving.limits),
        Some(acceptor) => {
            let shaken =
                EdgeStream::handshake(connection, client, acceptor, closing, &serving.limits);
            match tokio::time::timeout(serving.limits.handshake_timeout, shaken).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake failed");
                    return serving.metrics.refused("handshake");
                }
                Err(_) => return serving.metrics.refused("handshake"),
            }
        }
    };
    if stream.is_h2() {
        h2::converse(stream, client, serving).await;
    } else {
        h1::converse(stream, serving).await;
    }
}

/// What an accept error means for the loop.
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

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restarted node takes its port again although old connections linger.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Else `[::]:443` and `0.0.0.0:443` could not stand side by side.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connections that may queue in the kernel; it cuts this to its own `somaxconn`.
const BACKLOG: i32 = 4096;
/// Pause after running out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
