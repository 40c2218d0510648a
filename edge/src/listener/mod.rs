//! Bytes become HTTP sessions: H1 and H2 over TLS over TCP, H3 over QUIC, one app behind all.
//!
//! A connection passes `tcp` or `quic`, its request `request` (is it well-formed?), then it is a
//! Pingora session: Pingora's own for H1, ours (`session`) over a `carrier` for H2 and H3.
//! Invariant: every accepted connection is counted, limited, timed and drained, and a response
//! that was not completed never looks complete to the client.

mod serving;
mod tcp;
mod quic;
mod session;
mod carrier;
mod request;
mod exchanges;
pub mod stream; // the seam to whoever answers
pub mod config;
pub mod tls;
mod downstream;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use tidegate_chassis::Drain;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::metrics::Metrics;
use self::serving::Serving;

pub use config::{Config, ConfigError};
pub use downstream::{Downstream, Protocol};

/// Bound sockets and loaded certificates, not yet accepting.
pub struct Listener {
    config: Config,
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    quic: Vec<quinn::Endpoint>,
    certificates: Option<Arc<tls::Certificates>>,
    metrics: Metrics,
}

impl Listener {
    /// Binds every address, loads the certificates and registers the metrics; nothing is accepted
    /// before [`Listener::serve`], but clients may already queue.
    pub async fn bind(
        config: &Config,
        registry: &prometheus::Registry,
    ) -> Result<Self, ListenError> {
        config.check()?;
        let mut listener = Self {
            config: config.clone(),
            http: Vec::new(),
            https: Vec::new(),
            quic: Vec::new(),
            certificates: None,
            metrics: Metrics::register(registry)?,
        };
        for address in &config.http {
            listener.http.push(tcp::bind(*address)?);
        }
        if !config.https.is_empty() {
            let certificates = Arc::new(tls::Certificates::load(&config.tls)?);
            for address in &config.https {
                listener.bind_tls(*address, &certificates)?;
            }
            listener.certificates = Some(certificates);
        }
        Ok(listener)
    }

    /// The bound addresses with their ports filled in, by the names `http`, `https` and `quic`.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let tcp = |name, listeners: &[TcpListener]| -> Vec<_> {
            listeners.iter().filter_map(|l| Some((name, l.local_addr().ok()?))).collect()
        };
        let mut addresses = tcp("http", &self.http);
        addresses.extend(tcp("https", &self.https));
        addresses.extend(self.quic.iter().filter_map(|e| Some(("quic", e.local_addr().ok()?))));
        addresses
    }

    /// The Alt-Svc value that offers H3 on the QUIC port (RFC 7838), when there is one.
    pub fn alt_svc(&self) -> Option<String> {
        let port = self.quic.first()?.local_addr().ok()?.port();
        Some(format!("h3=\":{port}\"; ma={ALT_SVC_MAX_AGE_S}"))
    }

    /// The self-signed certificate in PEM, when one was made; clients that try things out trust it.
    pub fn self_signed_pem(&self) -> Option<String> {
        self.certificates.as_ref()?.self_signed_pem()
    }

    /// Serves until drain, then lets open exchanges finish: H1 connections close after their
    /// response, H2 and H3 clients get GOAWAY. Returns when all connections are closed.
    ///
    /// # Errors
    /// When an accept loop ends before the drain: the process cannot serve and should end.
    pub async fn serve<A>(self, app: Arc<A>, drain: Drain) -> Result<(), ListenError>
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let (tell, shutdown) = tokio::sync::watch::channel(false);
        let serving =
            Arc::new(Serving::new(app, &self.config, drain.clone(), shutdown, self.metrics));
        let mut accepting = JoinSet::new();
        for socket in self.http {
            accepting.spawn(tcp::accept(socket, None, serving.clone()));
        }
        if let Some(certificates) = &self.certificates {
            let acceptor = TlsAcceptor::from(Arc::new(certificates.for_tcp()?));
            for socket in self.https {
                accepting.spawn(tcp::accept(socket, Some(acceptor.clone()), serving.clone()));
            }
        }
        for endpoint in &self.quic {
            accepting.spawn(quic::accept(endpoint.clone(), serving.clone()));
        }

        tokio::select! {
            // First: the loops end by the drain too, and that is no failure.
            biased;
            () = drain.started() => {}
            ended = first_failure(&mut accepting) => return Err(ended),
            never = tls::reload_on_hangup(self.certificates.as_deref()) => match never {},
        }
        // The receiver lives in `serving`, so this cannot fail while it matters.
        let _ = tell.send(true);
        while accepting.join_next().await.is_some() {}
        serving.tasks.close();
        serving.tasks.wait().await;
        for endpoint in self.quic {
            // Lets the last CLOSE frames leave; a client that is gone must not hold the drain.
            let _ = tokio::time::timeout(QUIC_CLOSE_TIME, endpoint.wait_idle()).await;
        }
        Ok(())
    }

    /// Binds one https address and, with H3, the same UDP port. For port 0 the pair is drawn again
    /// while the UDP half is taken by somebody else.
    fn bind_tls(
        &mut self,
        address: SocketAddr,
        certificates: &Arc<tls::Certificates>,
    ) -> Result<(), ListenError> {
        let mut tries = if address.port() == 0 { FREE_PORT_TRIES } else { 1 };
        loop {
            let tcp = tcp::bind(address)?;
            if !self.config.h3 {
                self.https.push(tcp);
                return Ok(());
            }
            let bound = tcp.local_addr().map_err(|cause| ListenError::Bind { address, cause })?;
            tries -= 1;
            match quic::bind(bound, &self.config, certificates) {
                Ok(endpoint) => {
                    self.https.push(tcp);
                    self.quic.push(endpoint);
                    return Ok(());
                }
                Err(ListenError::Bind { cause, .. })
                    if tries > 0 && cause.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Why the listener could not start, or stopped before the drain.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate or key could not be used.
    #[error(transparent)]
    Certificate(#[from] tls::CertificateError),
    /// An address could not be bound.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The metrics are already registered: two listeners share one registry.
    #[error("cannot register the listener's metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The operating system does not hand over connections any more.
    #[error("accepting connections failed: {0}")]
    Accept(std::io::Error),
    /// An accept loop ended although no drain was asked for.
    #[error("an accept loop ended before the drain")]
    Ended,
}

/// Waits for the first accept loop to end; before the drain that is always a failure.
async fn first_failure(accepting: &mut JoinSet<Result<(), ListenError>>) -> ListenError {
    match accepting.join_next().await {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(())) | Err(_)) | None => ListenError::Ended,
    }
}

/// How long clients may remember that H3 is offered: a day, the common value.
const ALT_SVC_MAX_AGE_S: u32 = 86_400;
/// Tries to find a port that is free for TCP and UDP.
const FREE_PORT_TRIES: u32 = 16;
/// Time for QUIC's closing packets at the end of the drain.
const QUIC_CLOSE_TIME: Duration = Duration::from_secs(3);
