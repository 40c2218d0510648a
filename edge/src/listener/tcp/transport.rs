//! The bytes of one TCP connection, with or without TLS: gathered, pushed, paced, closed.
//!
//! Over TLS, what is gathered is encrypted at once but leaves with the next push, so that heads, bodies and frames of
//! several streams share one system call; the gathered bytes are never copied as plain text. Invariant: after a limit
//! is broken every read and push fails, so the connection ends.

use std::{
    io::{self, IoSlice, Write},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::way;
use crate::listener::{
    alarm::Alarm,
    config::Limits,
    pace::{self, Pace},
    round_trip::{Measured, Measurements},
    stream::Way,
    tls,
};

/// A client's connection.
#[derive(Debug)]
pub(in crate::listener) struct Transport {
    io: Io,
    client: SocketAddr,
    /// How fast the client takes what is pushed.
    pace: Pace,
    stalled: Alarm,
    /// The client has ended its side, or the connection is broken.
    is_over: bool,
    /// The client was slower than it may be.
    was_slow: bool,
    pushed: u64,
    /// Bytes that are encrypted ahead of a push.
    gathered_max: usize,
    /// The next push shall not wait for so much.
    is_hurried: bool,
    /// A response is under way: an end of the connection must not look like the end of a body without length.
    must_cut: bool,
    /// Absent: nobody wants to know how far clients are.
    measured: Option<Measured>,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// A connection without TLS.
    pub(in crate::listener) fn plain(
        socket: TcpStream,
        client: SocketAddr,
        limits: &Limits,
    ) -> Self {
        Self::new(Io::Plain(socket), client, limits)
    }

    /// Does the TLS handshake; the caller bounds its time.
    ///
    /// # Errors
    /// What the client did wrong, or the network.
    pub(in crate::listener) async fn handshake(
        socket: TcpStream,
        client: SocketAddr,
        acceptor: &TlsAcceptor,
        limits: &Limits,
    ) -> io::Result<Self> {
        refuse_what_offers_too_little(&socket).await?;
        let stream = acceptor.accept(socket).await?;
        Ok(Self::new(Io::Tls(Box::new(stream)), client, limits))
    }

    fn new(io: Io, client: SocketAddr, limits: &Limits) -> Self {
        let rules = pace::Rules {
            still_max: limits.write_timeout,
            rate_min: limits.rate_min.as_u64(),
            behind_max: limits.rate_grace,
        };
        Self {
            io,
            client,
            pace: Pace::new(rules),
            stalled: Alarm::default(),
            is_over: false,
            was_slow: false,
            pushed: 0,
            gathered_max: usize::MAX,
            is_hurried: false,
            must_cut: false,
            measured: None,
        }
    }

    /// Notes how far the client is, and from now on what is sent to it.
    pub(in crate::listener) fn measured(mut self, measurements: &Measurements) -> Self {
        let at = self.socket().local_addr().ok().map(|at| at.ip());
        self.measured = measurements.connection(self.client.ip(), at);
        if let Some(measured) = &self.measured {
            measured.begun();
            if let Some(time) = way::round_trip(self.socket()) {
                measured.round_trip(time);
            }
        }
        self
    }

    pub(in crate::listener) fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// The client chose H2 in ALPN.
    pub(in crate::listener) fn is_h2(&self) -> bool {
        matches!(&self.io, Io::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// The TLS version is 1.3, and the session was resumed.
    pub(in crate::listener) fn handshake_kind(&self) -> Option<(bool, bool)> {
        let Io::Tls(tls) = &self.io else { return None };
        let session = tls.get_ref().1;
        let is_tls13 = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        Some((is_tls13, session.handshake_kind() == Some(rustls::HandshakeKind::Resumed)))
    }

    /// Bytes that are encrypted ahead of a push.
    pub(in crate::listener) fn gather_at_most(&mut self, bytes: usize) {
        self.gathered_max = bytes;
        self.limit_buffer(bytes);
    }

    /// Lets the next push take one full record: the client of a large response has its first bytes while the next
    /// ones are encrypted.
    pub(in crate::listener) fn hurry(&mut self) {
        if !self.is_hurried {
            self.is_hurried = true;
            self.limit_buffer(self.gathered_max.min(RECORD_BYTES_MAX));
        }
    }

    pub(in crate::listener) fn client(&self) -> SocketAddr {
        self.client
    }

    /// The client has ended its side, or the connection is broken.
    pub(in crate::listener) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The connection was cut because the client was slower than it may be.
    pub(in crate::listener) fn was_slow(&self) -> bool {
        self.was_slow
    }

    /// Bytes that the kernel took so far.
    pub(in crate::listener) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// What the kernel knows of the way to the client.
    pub(in crate::listener) fn way(&self) -> Way {
        way::of(self.socket(), self.client)
    }

    /// Reads; nothing read is the end of the client's side.
    pub(in crate::listener) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Io::Tls(tls) => {
                let had_to_write = tls.get_ref().1.wants_write();
                let polled = Pin::new(&mut **tls).poll_read(cx, buffer);
                if polled.is_pending() && !had_to_write && tls.get_ref().1.wants_write() {
                    // The library's own word, that nothing is negotiated anew; the client may say nothing before it has
                    // that.
                    ready!(self.poll_push(cx))?;
                }
                polled
            }
        };
        match ready!(polled) {
            Ok(()) => self.is_over |= buffer.filled().len() == before,
            // TLS that ends without saying so: the bytes until then are good, and framing tells whether that is all.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.is_over = true,
            Err(error) => {
                self.is_over = true;
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes as much as there is room for and returns how much. Without TLS it leaves at once.
    pub(in crate::listener) fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.io {
                Io::Plain(socket) => {
                    let polled = Pin::new(socket).poll_write_vectored(cx, slices);
                    return self.paced(cx, polled);
                }
                Io::Tls(tls) => match tls.get_mut().1.writer().write_vectored(slices) {
                    Ok(0) if slices.iter().any(|slice| !slice.is_empty()) => {}
                    taken => return Poll::Ready(taken),
                },
            }
            ready!(self.poll_push(cx))?;
        }
    }

    /// Hands everything that was gathered to the kernel.
    pub(in crate::listener) fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Io::Tls(tls) = &mut self.io {
            let (socket, session) = tls.get_mut();
            if !session.wants_write() {
                break;
            }
            let polled = match session.write_tls(&mut Outlet { socket, cx }) {
                Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                written => Poll::Ready(written),
            };
            ready!(self.paced(cx, polled))?;
        }
        if std::mem::take(&mut self.is_hurried) {
            self.limit_buffer(self.gathered_max);
        }
        if self.pace.is_waiting() {
            self.pace.rest();
            self.stalled.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes. The client may still read what was pushed.
    pub(in crate::listener) fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Io::Tls(tls) = &mut self.io {
            // Does nothing the second time.
            tls.get_mut().1.send_close_notify();
        }
        ready!(self.poll_push(cx))?;
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls.get_mut().0).poll_shutdown(cx),
        }
    }

    /// Closes so that the client gets everything that was pushed.
    ///
    /// Closing a socket with unread bytes in it makes the kernel send a reset, and that lets the client lose what it
    /// has not read yet; an H2 client is sending window updates all the time. So the connection is closed only for
    /// writing, and what still comes is thrown away for a while.
    pub(in crate::listener) async fn close(mut self) {
        if std::future::poll_fn(|cx| self.poll_shutdown(cx)).await.is_err() || self.is_over {
            return;
        }
        let socket = match &mut self.io {
            Io::Plain(socket) => socket,
            Io::Tls(tls) => tls.get_mut().0,
        };
        // Past the limit the socket is closed as it is.
        let _ = tokio::time::timeout(LINGER_MAX, linger(socket)).await;
    }

    /// Ends the connection so that the client sees that something is missing.
    pub(in crate::listener) fn abort(mut self) {
        self.must_cut = true;
    }

    /// Whether an end of the connection from here on must be seen as a cut.
    pub(in crate::listener) fn cut_when_dropped(&mut self, is_cut: bool) {
        self.must_cut = is_cut;
    }

    fn limit_buffer(&mut self, bytes: usize) {
        if let Io::Tls(tls) = &mut self.io {
            tls.get_mut().1.set_buffer_limit(Some(bytes));
        }
    }

    fn socket(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(socket) => socket,
            Io::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Counts what the kernel took, and lets a write fail for which a client takes too long.
    fn paced(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.pushed += bytes as u64;
                if let Some(measured) = &mut self.measured {
                    measured.sent(bytes as u64);
                }
                if self.pace.is_waiting() {
                    self.pace.moved(bytes, Instant::now());
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => {
                self.is_over = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.stalled.set(self.pace.wait(Instant::now()));
                ready!(self.stalled.poll(cx));
                self.is_over = true;
                self.was_slow = true;
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes too slowly",
                )))
            }
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if self.must_cut {
            // The kernel sends a reset instead of an orderly end. When it cannot, the connection is gone already.
            let _ = self.socket().set_zero_linger();
        }
    }
}

/// For what reads into a buffer of its own.
impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_read(cx, buffer)
    }
}

/// The socket as rustls writes to it.
struct Outlet<'a, 'b> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Outlet<'_, '_> {
    fn written(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
        match polled {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Outlet<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::written(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::written(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells a client what it lacks where the TLS library would name another reason.
async fn refuse_what_offers_too_little(socket: &TcpStream) -> io::Result<()> {
    let mut begun = [0; tls::HELLO_BYTES];
    let seen = socket.peek(&mut begun).await?;
    let Some(alert) = tls::alert(&begun[..seen]) else { return Ok(()) };
    // Unread, it would turn the end of the connection into a reset, which may overtake the alert.
    let _ = socket.try_read(&mut begun[..seen])?;
    let _ = socket.try_write(&alert)?;
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads until the client is done too or says nothing for a while.
async fn linger(socket: &mut TcpStream) {
    let mut discarded = [0; 4096];
    let mut is_open = socket.shutdown().await.is_ok();
    while is_open {
        let read = tokio::time::timeout(LINGER_QUIET, socket.read(&mut discarded)).await;
        is_open = matches!(read, Ok(Ok(1..)));
    }
}

/// Limits on the time in which a closing connection is read; a client that has its response and sees our end closes
/// at once.
const LINGER_QUIET: Duration = Duration::from_secs(2);
const LINGER_MAX: Duration = Duration::from_secs(20);
/// Plain bytes of one TLS record (RFC 8446, 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;
