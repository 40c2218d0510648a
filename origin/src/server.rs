//! Connections become requests: HTTP/1.1 and HTTP/2, in clear text or over TLS.
//!
//! **Invariant.** A client that is slow with its handshake or its request head holds one connection for a bounded
//! time, and there are never more connections than the limit.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use axum::{Router, body::Body, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use prometheus::IntGauge;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::app::App;

/// Section `[listen]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Uploads, API, watch page and delivery.
    pub http: SocketAddr,
    /// The job API of packagers.
    pub internal: SocketAddr,
    /// PEM certificate chain of the public listener; clear text without it.
    pub tls_cert: Option<PathBuf>,
    /// PEM private key that belongs to it.
    pub tls_key: Option<PathBuf>,
    /// Open connections of one listener; more wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a TLS handshake and a request head may take.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.connections_max > 0, "listen.connections_max must be at least 1");
        ensure!(!self.header_timeout.is_zero(), "listen.header_timeout must not be 0");
        ensure!(
            self.tls_cert.is_some() == self.tls_key.is_some(),
            "listen.tls_cert and listen.tls_key belong together"
        );
        Ok(())
    }

    /// The TLS side of the public listener, if it has one.
    ///
    /// # Errors
    /// Files that cannot be read, or that do not belong together.
    pub fn tls(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("listen.tls_cert {}", cert.display()))?;
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("listen.tls_key {}", key.display()))?;
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("listen.tls_cert and listen.tls_key")?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(TlsAcceptor::from(Arc::new(tls))))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 18000)),
            internal: SocketAddr::from(([127, 0, 0, 1], 18001)),
            tls_cert: None,
            tls_key: None,
            connections_max: 4096,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// One bound listener and what it serves.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    connection: Connection,
    connections: Arc<Semaphore>,
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Connection {
    router: Router,
    app: App,
    header_timeout: Duration,
}

impl Server {
    /// Binds an address.
    ///
    /// # Errors
    /// When it is taken or not ours.
    pub async fn bind(
        addr: SocketAddr,
        config: &Config,
        tls: Option<TlsAcceptor>,
        router: Router,
        app: &App,
    ) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(addr).await.with_context(|| format!("listen on {addr}"))?;
        let header_timeout = config.header_timeout;
        let connection = Connection { router, app: app.clone(), header_timeout };
        let connections = Arc::new(Semaphore::new(config.connections_max));
        Ok(Self { listener, tls, connection, connections })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// The operating system.
    pub fn addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until the drain begins; those that are open go on by themselves.
    ///
    /// # Errors
    /// Never: a failing accept is tried again, since it is cured by others closing connections.
    pub async fn run(self) -> anyhow::Result<()> {
        let drain = self.connection.app.drain.clone();
        loop {
            let permit = tokio::select! {
                permit = self.connections.clone().acquire_owned() => permit?,
                () = drain.started() => return Ok(()),
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.started() => return Ok(()),
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (connection, tls) = (self.connection.clone(), self.tls.clone());
            self.connection.app.tasks.spawn(async move {
                let _open = OpenConnection::count(&connection.app);
                connection.serve_stream(stream, tls).await;
                drop(permit);
            });
        }
    }
}

impl Connection {
    async fn serve_stream(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Small answers leave at once; an error says that the peer is gone already.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                match tokio::time::timeout(self.header_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.serve(stream).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = self.router.clone().map_request(|r: Request<Incoming>| r.map(Body::new));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_headers(HEADERS_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX);
        let service = TowerToHyperService::new(router);
        let served = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = self.app.drain.started() => {
                // Finishes the requests that have begun, takes no more.
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Counts a connection for as long as it lives, also if serving it panics.
struct OpenConnection(IntGauge);

impl OpenConnection {
    fn count(app: &App) -> Self {
        app.metrics.connections.inc();
        Self(app.metrics.connections.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 32 * 1024;
const STREAMS_MAX: u32 = 128;
