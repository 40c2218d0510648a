//! What an H2 and an H3 stream have in common: one request in, one response out, either may be cut.
//!
//! Invariant: every method may be polled, dropped and polled again without losing or repeating a
//! byte; `poll_write` leaves in `data` exactly what the stream has not taken.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};

/// One request stream of a protocol that carries many on a connection.
pub(super) trait Carrier: Send + Sync + Unpin + 'static {
    /// The next piece of the request's body; `None` at its end. Trailers are dropped.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamLost>>;

    /// The client has already ended the request, and everything before the end was read.
    fn is_read_to_end(&self) -> bool;

    /// Tells the client that the rest of the request's body is not wanted.
    fn stop_reading(&mut self);

    /// Sends the response's header section; `end` when no body follows. Never waits.
    fn send_header(&mut self, header: Response<()>, end: bool) -> Result<(), StreamLost>;

    /// Hands `data` to the stream as far as flow control allows; ready when all of it is taken,
    /// and with `end` the stream ended.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        end: bool,
    ) -> Poll<Result<(), StreamLost>>;

    /// Ends the stream with trailers.
    fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &HeaderMap,
    ) -> Poll<Result<(), StreamLost>>;

    /// Waits until the client has given up on this stream or on the connection.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamLost>;

    /// Cuts the response so that the client sees it was not completed.
    fn reset(&mut self, reason: Reset);
}

/// The stream does not carry any more; the text says who ended it and how.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct StreamLost(pub(super) String);

/// Why we cut a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// The response could not be completed.
    Internal,
    /// The client had gone already.
    Cancelled,
    /// The request broke the protocol.
    Malformed,
}
