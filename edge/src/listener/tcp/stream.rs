//! A TCP or TLS connection as Pingora wants its streams, with the limits Pingora does not have.
//!
//! The stream sees every byte, so it can bound what sits above it: the size and the time of an H1
//! header section, and a peer that takes nothing. Invariant: after a limit is broken every read or
//! write fails, so the connection ends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest,
    Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::header_meter::HeaderMeter;
use crate::listener::config::Limits;

/// A client's connection, with or without TLS.
#[derive(Debug)]
pub(super) struct EdgeStream {
    io: Io,
    closing: Closing,
    fd: UniqueIDType,
    tls: Option<Arc<SslDigest>>,
    socket: Arc<SocketDigest>,
    timing: TimingDigest,
    header: Arc<HeaderMeter>,
    header_timeout: Duration,
    header_deadline: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Io {
    Plain(BufWriter<TcpStream>),
    Tls(Box<TlsStream<BufWriter<TcpStream>>>),
    /// Only while the stream is dropped.
    Gone,
}

/// What a connection needs for its end: closing takes a while, and it counts as open until then.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) tasks: TaskTracker,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// The client has closed its side, or the connection is broken.
    is_over: bool,
}

impl Closing {
    pub(super) fn new(tasks: TaskTracker, permit: OwnedSemaphorePermit) -> Self {
        Self { tasks, permit: Some(permit), is_over: false }
    }
}

impl EdgeStream {
    pub(super) fn plain(
        connection: TcpStream,
        client: SocketAddr,
        closing: Closing,
        limits: &Limits,
    ) -> Self {
        let (fd, local) = (connection.as_raw_fd(), connection.local_addr().ok());
        let io = Io::Plain(BufWriter::with_capacity(WRITE_BUFFER, connection));
        Self::new(io, fd, (client, local), None, closing, limits)
    }

    /// Does the TLS handshake; the caller bounds its time.
    pub(super) async fn handshake(
        connection: TcpStream,
        client: SocketAddr,
        acceptor: TlsAcceptor,
        closing: Closing,
        limits: &Limits,
    ) -> io::Result<Self> {
        let (fd, local) = (connection.as_raw_fd(), connection.local_addr().ok());
        let buffered = BufWriter::with_capacity(WRITE_BUFFER, connection);
        let stream = acceptor.accept(buffered).await?;
        let session = stream.get_ref().1;
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let version = session.protocol_version().and_then(|version| version.as_str());
        let digest = SslDigest::new(
            cipher.unwrap_or_default(),
            version.unwrap_or_default(),
            None,
            None,
            Vec::new(),
        );
        Ok(Self::new(
            Io::Tls(Box::new(stream)),
            fd,
            (client, local),
            Some(Arc::new(digest)),
            closing,
            limits,
        ))
    }

    /// The client chose H2 in ALPN.
    pub(super) fn is_h2(&self) -> bool {
        matches!(self.selected_alpn_proto(), Some(ALPN::H2))
    }

    /// The meter of H1 header sections; off until it is told to expect one.
    pub(super) fn header_meter(&self) -> Arc<HeaderMeter> {
        self.header.clone()
    }

    /// What Pingora's sessions tell of the connection.
    pub(super) fn digest(&self) -> Digest {
        Digest {
            ssl_digest: self.tls.clone(),
            timing_digest: self.get_timing_digest(),
            proxy_digest: None,
            socket_digest: Some(self.socket.clone()),
        }
    }

    fn new(
        io: Io,
        fd: UniqueIDType,
        (client, local): (SocketAddr, Option<SocketAddr>),
        tls: Option<Arc<SslDigest>>,
        closing: Closing,
        limits: &Limits,
    ) -> Self {
        let socket = SocketDigest::from_raw_fd(fd);
        // Filled now, while the addresses are known for sure; else Pingora asks the kernel later.
        let _ = socket.peer_addr.set(Some(PingoraAddr::Inet(client)));
        let _ = socket.local_addr.set(local.map(PingoraAddr::Inet));
        Self {
            io,
            closing,
            fd,
            tls,
            socket: Arc::new(socket),
            timing: TimingDigest { established_ts: SystemTime::now(), ..TimingDigest::default() },
            header: Arc::new(HeaderMeter::new(limits.header_bytes_max.as_u64())),
            header_timeout: limits.header_timeout,
            header_deadline: None,
            write_timeout: limits.write_timeout,
            stalled: None,
        }
    }

    /// Keeps the deadline of a header section that has begun.
    fn poll_header_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = &mut self.header_deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        let problem = format!("request header incomplete after {:?}", self.header_timeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
    }

    /// Lets a write that waits fail once the peer has taken nothing for too long.
    fn or_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        let problem = format!("the client took nothing for {timeout:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        match polled {
            Poll::Pending => this.poll_header_deadline(cx),
            Poll::Ready(Ok(())) => {
                this.closing.is_over |= buf.filled().len() == before;
                if this.header.count(&buf.filled()[before..])? {
                    let timeout = this.header_timeout;
                    this.header_deadline
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                } else {
                    this.header_deadline = None;
                }
                Poll::Ready(Ok(()))
            }
            failed @ Poll::Ready(Err(_)) => {
                this.closing.is_over = true;
                failed
            }
        }
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.or_stalled(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.or_stalled(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.or_stalled(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.or_stalled(cx, polled)
    }
}

/// Closing a socket with unread bytes in it makes the kernel send a reset, and that lets the client
/// lose what it has not read of the response; an H2 client is sending window updates all the time.
/// So the connection is closed only for writing, and what still comes is thrown away for a while.
impl Drop for EdgeStream {
    fn drop(&mut self) {
        let socket = match std::mem::replace(&mut self.io, Io::Gone) {
            Io::Plain(io) => io.into_inner(),
            Io::Tls(io) => io.into_inner().0.into_inner(),
            Io::Gone => return,
        };
        let permit = self.closing.permit.take();
        // Outside a runtime, as after its end, nothing can be waited for.
        if self.closing.is_over || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.closing.tasks.spawn(async move {
            let _permit = permit;
            // Past the limit the socket is closed as it is.
            let _ = tokio::time::timeout(LINGER_MAX, linger(socket)).await;
        });
    }
}

#[async_trait]
impl Shutdown for EdgeStream {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "connection did not close cleanly");
        }
    }
}

impl UniqueID for EdgeStream {
    fn id(&self) -> UniqueIDType {
        self.fd
    }
}

impl Ssl for EdgeStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.io {
            Io::Plain(_) | Io::Gone => None,
            Io::Tls(io) if io.get_ref().1.alpn_protocol()? == b"h2" => Some(ALPN::H2),
            Io::Tls(_) => Some(ALPN::H1),
        }
    }
}

impl GetTimingDigest for EdgeStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(self.timing.clone())]
    }
}

impl GetProxyDigest for EdgeStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for EdgeStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl Peek for EdgeStream {}

/// Says that we are done, and reads until the client is done too or says nothing for a while.
async fn linger(mut socket: TcpStream) {
    let mut discarded = [0; 1024];
    let mut reading = socket.shutdown().await.is_ok();
    while reading {
        let read = tokio::time::timeout(LINGER_QUIET, socket.read(&mut discarded)).await;
        reading = matches!(read, Ok(Ok(1..)));
    }
}

/// Limits on the time in which a closing connection is read; a client that has its response and
/// sees our end closes at once.
const LINGER_QUIET: Duration = Duration::from_secs(2);
const LINGER_MAX: Duration = Duration::from_secs(20);
/// Bytes gathered before a write to the socket, so that a header and a small body leave together;
/// larger writes pass through.
const WRITE_BUFFER: usize = 16 * 1024;
