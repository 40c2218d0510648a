//! TLS over TCP: what both ports do before a protocol begins.
//!
//! Handshakes run beside one another under a limit and a deadline, so that a client that does not finish its own
//! holds up nobody else's. The number of connections is bounded: above it, new ones wait in the kernel.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use tidegate_chassis::Drain;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use crate::rate::{Bucket, Rate};

/// Settings of the ports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where operators and programs connect. Port 0 takes a free one.
    pub api: SocketAddr,
    /// Where nodes connect. Port 0 takes a free one.
    pub sync: SocketAddr,
    /// Names and addresses under which both are reached; they stand in the certificate.
    pub names: Vec<String>,
    /// Connections of each port at a time, handshakes included; more wait in the kernel's queue.
    pub connections_max: usize,
    /// A handshake that takes longer is given up.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// TLS handshakes of each port; more wait in the kernel's queue, so that all nodes coming back at once are let in one
    /// after the other.
    pub handshake_rate: Rate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api: SocketAddr::from(([127, 0, 0, 1], 7401)),
            sync: SocketAddr::from(([127, 0, 0, 1], 7402)),
            names: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
            connections_max: 2048,
            handshake_timeout: Duration::from_secs(5),
            handshake_rate: Rate { per_second: 500.0, burst: 1000.0 },
        }
    }
}

/// A connection after its handshake.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    _permit: OwnedSemaphorePermit,
}

/// One port: accepts connections and hands them on.
pub struct Port {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    connections_max: usize,
    handshake_timeout: Duration,
    handshake_rate: Rate,
    failures: IntCounter,
}

impl Port {
    /// Binds a port.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(
        addr: SocketAddr,
        tls: rustls::ServerConfig,
        config: &Config,
        failures: IntCounter,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(addr).await?,
            acceptor: Arc::new(tls).into(),
            connections_max: config.connections_max.max(1),
            handshake_timeout: config.handshake_timeout,
            handshake_rate: config.handshake_rate,
            failures,
        })
    }

    /// The bound address.
    ///
    /// # Errors
    /// The socket has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the drain starts or nobody takes connections any more.
    pub async fn run(self, connections: mpsc::Sender<Connection>, drain: Drain) {
        let permits = Arc::new(Semaphore::new(self.connections_max));
        let mut handshakes = Bucket::full(self.handshake_rate, Instant::now());
        let accept_all = async {
            while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        while let Err(wait) = handshakes.take(Instant::now()) {
                            sleep(wait).await;
                        }
                        self.handshake(stream, permit, connections.clone());
                    }
                    Err(error) => {
                        // Out of file handles, most likely: it passes when connections end.
                        tracing::warn!(%error, "cannot accept");
                        sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept_all => {}
            () = drain.started() => {}
            () = connections.closed() => {}
        }
    }

    fn handshake(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        connections: mpsc::Sender<Connection>,
    ) {
        let (acceptor, failures) = (self.acceptor.clone(), self.failures.clone());
        let handshake_timeout = self.handshake_timeout;
        tokio::spawn(async move {
            // A purge is one small message: it must not wait for a second one to fill the packet.
            let _ = stream.set_nodelay(true);
            match timeout(handshake_timeout, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _ = connections.send(Connection { stream, _permit: permit }).await;
                }
                Ok(Err(error)) => {
                    failures.inc();
                    tracing::debug!(%error, "handshake failed");
                }
                Err(_) => failures.inc(),
            }
        });
    }
}

impl Connected for Connection {
    type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
