//! UDP sockets: every datagram is answered where it came in.
//!
//! An address that is not a single one ("any") is refused: the answer has to leave from the address that was asked.
//! Invariant: an answer that does not fit the socket's buffer is dropped, as the network would, and never waited for.

use std::{io, net::SocketAddr, sync::Arc};

use tidegate_chassis::Drain;
use tokio::net::UdpSocket;

use crate::dns::{handler::Handler, transport::Transport};

/// Serves a socket until the drain.
///
/// # Errors
/// The socket fails for good.
pub async fn serve(socket: UdpSocket, handler: Arc<Handler>, drain: Drain) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut failures = 0;
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = drain.started() => return Ok(()),
        };
        match received {
            Ok((length, client)) => {
                failures = 0;
                answer(&socket, &handler, &buffer[..length], client);
            }
            // An answer before it found nobody; the next datagram is another matter.
            Err(error) if failures < FAILURES_MAX => {
                failures += 1;
                tracing::debug!(%error, "a datagram could not be received");
            }
            Err(error) => return Err(error),
        }
    }
}

fn answer(socket: &UdpSocket, handler: &Handler, bytes: &[u8], client: SocketAddr) {
    // Nobody asks from there; answers would go round between servers.
    if client.port() == 0 || client.ip().is_unspecified() || client.ip().is_multicast() {
        return;
    }
    let Some(answer) = handler.answer_bytes(bytes, client, Transport::Udp) else { return };
    if let Err(error) = socket.try_send_to(&answer, client) {
        tracing::debug!(%error, "an answer could not be sent");
    }
}

/// The largest query: a longer one is cut, and then is none.
const DATAGRAM_MAX: usize = 4096;
/// Failures in a row after which a socket is given up.
const FAILURES_MAX: u32 = 1000;
