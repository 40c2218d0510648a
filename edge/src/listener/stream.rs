//! One request and its stream, as the listener hands them to whoever answers: the seam between protocols and exchange.
//!
//! H1, H2 and H3 look alike from here. A [`Request`] is unambiguous: the listener has refused everything that two
//! readers could read differently. Invariant: a stream that is dropped, or given back, before [`Stream::finish`] has
//! returned is cut so that the client sees that the response was not completed.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, uri::PathAndQuery};

use super::{
    downstream::Downstream,
    priority::{PRIORITY, Priority},
};
use crate::cache::fields::Fields;

/// Whoever answers requests. One for all listeners and protocols.
pub trait App: Send + Sync + 'static {
    /// Answers one request and gives the stream back, which the listener may reuse when it was finished.
    fn serve<S: Stream>(&self, request: Request, stream: S) -> impl Future<Output = S> + Send;
}

/// A well-formed request, without what concerns one connection alone: no `Connection` or anything it names, no
/// `TE`, `Transfer-Encoding`, `Upgrade`, `Keep-Alive`, `Expect`, and no `Host`, which is `authority` here.
#[derive(Debug, Clone)]
pub struct Request {
    /// Neither CONNECT nor TRACE.
    pub method: Method,
    /// Host and port as the client wrote them; `Host` and `:authority` said the same. Never with user information.
    pub authority: String,
    /// An absolute path with its query; `*` only for OPTIONS.
    pub target: PathAndQuery,
    /// End-to-end headers; `Cookie` is one line; `Content-Length` is there at most once and is `body`'s length.
    pub headers: HeaderMap,
    /// What follows the head.
    pub body: BodyLength,
    /// Whether the client waits for `100 Continue` before it sends the body: [`Stream::inform`] with 100 asks for it.
    pub expects_continue: bool,
    /// Who asks and how.
    pub downstream: Downstream,
    /// When the head was complete.
    pub arrived_at: Instant,
}

/// How much body a request announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// None.
    Empty,
    /// This many bytes; the listener fails the read when more or fewer come.
    Known(u64),
    /// Some, until it ends.
    Unknown,
}

/// The head of a response. The listener adds framing (`Content-Length` from `length`, or its protocol's way to end a
/// body of unknown length) and writes no other header of its own but `Connection` in H1.
#[derive(Debug)]
pub struct ResponseHead<'a> {
    /// A final status.
    pub status: StatusCode,
    /// Headers that were prepared once for many responses, encoded once per protocol. Neither these nor `own`
    /// contain `Content-Length` or anything that concerns one connection.
    pub stored: Option<&'a Fields>,
    /// Headers of this response alone.
    pub own: &'a [(HeaderName, HeaderValue)],
    /// The length of the content: also of the content that a response to HEAD or a 304 leaves out, where known. `None`
    /// for a body of unknown length, and for 304 and 204, which need none.
    pub length: Option<u64>,
}

impl ResponseHead<'_> {
    /// The priority of the response: what its head says about it, and the request's where that says nothing (RFC 9218
    /// section 8).
    #[must_use]
    pub fn priority(&self, asked: Priority) -> Priority {
        let stored = self.stored.into_iter().flat_map(|stored| stored.map().get_all(PRIORITY));
        let own = self.own.iter().filter(|(name, _)| *name == PRIORITY).map(|(_, value)| value);
        stored.chain(own).fold(asked, |before, value| before.with(value.as_bytes()))
    }
}

/// One request's stream. Every future of it may be dropped and asked for again without a byte lost or repeated.
pub trait Stream: Send + 'static {
    /// The next piece of the request's body; `None` at its end, which is believed only when it was whole.
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, StreamLost>> + Send;

    /// Sends an interim response (1xx): 100, or 103 as it came from upstream. Best effort, never waits; nothing is
    /// sent to a client of HTTP/1.0.
    fn inform(&mut self, status: StatusCode, headers: &HeaderMap);

    /// Takes the response's head; with `is_last` no body follows. Never waits: it leaves with the first piece of the
    /// body in one write, or with `finish`.
    ///
    /// # Errors
    /// When the stream carries no more.
    fn head(&mut self, head: &ResponseHead<'_>, is_last: bool) -> Result<(), StreamLost>;

    /// Sends a piece of the body and waits for room. What is not the last leaves at once.
    ///
    /// # Errors
    /// When the stream carries no more, or the client is slower than it may be.
    fn send(
        &mut self,
        data: Bytes,
        is_last: bool,
    ) -> impl Future<Output = Result<(), StreamLost>> + Send;

    /// Ends the body with trailers.
    ///
    /// # Errors
    /// When the stream carries no more.
    fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamLost>;

    /// Hands everything to the transport and returns when the response is complete there. What the client still
    /// sends of a request is read away or refused by the listener.
    ///
    /// # Errors
    /// When the stream carries no more.
    fn finish(&mut self) -> impl Future<Output = Result<(), StreamLost>> + Send;

    /// Returns when the client has given up on this stream or on its connection; never, once the response has ended.
    fn gone(&mut self) -> impl Future<Output = StreamLost> + Send;

    /// What the transport knows of the way to the client, for CMSD.
    fn way(&self) -> Way;

    /// Body bytes of the response that were handed to the transport so far.
    fn sent(&self) -> u64;
}

/// What the transport measures on the way to a client. All absent where the platform does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Way {
    /// The smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// What the way is estimated to carry, in bits per second: congestion window over round-trip time.
    pub bits_per_second: Option<u64>,
    /// The client's address now; a QUIC client may have moved.
    pub client: Option<SocketAddr>,
}

/// The stream does not carry any more; the text says who ended it and how.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StreamLost(pub std::borrow::Cow<'static, str>);
