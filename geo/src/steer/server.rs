//! Connections and routes of content steering.
//!
//! **Invariant.** A peer that is slow with its handshake or its request head holds one connection for a bounded time, and
//! there are never more connections than the limit.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Body,
    extract::{Extension, Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use prometheus::IntGauge;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tidegate_chassis::{Drain, Process};
use tidegate_contract::network::Network;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{
    config::SteeringConfig,
    manifest::Manifest,
    metrics::Metrics,
    policies::Policies,
    request::{QUERY_BYTES_MAX, client},
    session::session,
};
use crate::world::Worlds;

/// The steering listener and what it answers from.
pub struct Steering {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    header_timeout: Duration,
    connections_max: usize,
    desk: Desk,
}

/// What answers.
#[derive(Clone)]
struct Desk {
    worlds: Arc<Worlds>,
    policies: Arc<Policies>,
    trusted: Arc<[Network]>,
    metrics: Metrics,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer(IpAddr);

impl Steering {
    /// Binds the listener of a configuration, if it has one, and answers there until the process drains.
    ///
    /// # Errors
    /// An address that is taken, or TLS files that cannot be used.
    pub fn start(
        config: &SteeringConfig,
        worlds: Arc<Worlds>,
        policies: Arc<Policies>,
        process: &Process,
    ) -> anyhow::Result<()> {
        let Some(address) = config.listen else { return Ok(()) };
        let tls = tls(config)?;
        let listener = std::net::TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(TcpListener::from_std)
            .with_context(|| format!("steering.listen {address}"))?;
        process.announce("steering", listener.local_addr()?);
        let metrics = Metrics::new(process.registry());
        let trusted = config.trusted.clone().into();
        let steering = Self {
            listener,
            tls,
            header_timeout: config.header_timeout,
            connections_max: config.connections_max,
            desk: Desk { worlds, policies, trusted, metrics },
        };
        process.spawn("steering", steering.run(process.drain()));
        Ok(())
    }

    /// Answers until the drain begins, then finishes what was asked. A failing accept is tried again, since it is cured
    /// by others closing connections.
    async fn run(self, drain: Drain) -> anyhow::Result<()> {
        let Self { listener, tls, header_timeout, connections_max, desk } = self;
        let open = Arc::new(Semaphore::new(connections_max));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &open) => accepted,
                () = drain.started() => break,
            };
            let Some((stream, peer, permit)) = accepted else { continue };
            let connection =
                Connection { router: desk.router(peer.ip()), header_timeout, drain: drain.clone() };
            let (tls, count) = (tls.clone(), Counted::new(&desk.metrics.connections));
            tasks.spawn(async move {
                connection.serve_stream(stream, tls).await;
                drop((permit, count));
            });
        }
        tasks.close();
        tasks.wait().await;
        Ok(())
    }
}

impl Desk {
    fn router(&self, peer: IpAddr) -> Router {
        Router::new()
            .route("/steering/{policy}", get(answer).options(preflight))
            .layer(Extension(Peer(peer)))
            .with_state(self.clone())
    }
}

/// The steering manifest of a policy, for a session.
async fn answer(
    State(desk): State<Desk>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let count = |outcome: &str| desk.metrics.answers.with_label_values(&[outcome]).inc();
    let query = query.unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        count("refused");
        return with_headers(StatusCode::URI_TOO_LONG.into_response());
    }
    let policies = desk.policies.newest();
    let named = policies.iter().find(|(known, _)| known.as_str() == name);
    let Some((_, policy)) = named else {
        count("unknown");
        return with_headers(StatusCode::NOT_FOUND.into_response());
    };
    let forwarded = headers.get_all(FORWARDED_FOR).iter();
    let forwarded: Vec<_> = forwarded.filter_map(|value| value.to_str().ok()).collect();
    let client = client(peer, forwarded.into_iter(), &desk.trusted);
    let (order, _) = session(policy, &desk.worlds.newest(), client, &query);
    count(order.outcome.as_str());
    let mut response = with_headers(Json(Manifest::new(policy, &order)).into_response());
    response.headers_mut().insert(header::CONTENT_TYPE, STEERING_LIST);
    response
}

/// Players send no header that would need it; applications around them may.
async fn preflight() -> Response {
    let mut response = with_headers(StatusCode::NO_CONTENT.into_response());
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Range, X-Request-Id"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An answer is of one session and one moment: nobody may keep it. Pages of any origin may read it, for it is nobody's
/// secret.
fn with_headers(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("timing-allow-origin"), "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What one connection needs.
struct Connection {
    router: Router,
    header_timeout: Duration,
    drain: Drain,
}

impl Connection {
    async fn serve_stream(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Small answers leave at once; an error says that the peer is gone already.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.serve(stream).await,
            Some(tls) => match timeout(self.header_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake took too long"),
            },
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = self.router.map_request(|request: Request<Incoming>| request.map(Body::new));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX);
        let served =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        tokio::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = self.drain.started() => {
                // Finishes the requests that have begun, takes no more.
                served.as_mut().graceful_shutdown();
                timeout(DRAIN_TIME_MAX, served).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Counts a connection for as long as it lives, also if serving it panics.
struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn accept(
    listener: &TcpListener,
    open: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(open).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn tls(config: &SteeringConfig) -> anyhow::Result<Option<TlsAcceptor>> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("steering.tls_cert {}", cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("steering.tls_key {}", key.display()))?;
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("steering.tls_cert and steering.tls_key")?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

/// The registered type of a steering manifest, which is JSON.
const STEERING_LIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.steering-list");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// What an open exchange may take once the drain began.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: u32 = 32 * 1024;
const STREAMS_MAX: u32 = 128;
