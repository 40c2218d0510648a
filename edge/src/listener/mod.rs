//! Bytes become HTTP requests: H1 and H2 over TLS over TCP, H3 over QUIC, one app behind all.
//!
//! A connection passes `tcp` or `quic`; its protocol's codec and `request` refuse whatever is not well-formed; the rest
//! is a [`stream::Request`] and a [`stream::Stream`]. Modules stand in the order in which a connection meets them; a
//! module uses only modules listed below it. Invariant: every accepted connection is counted, limited, timed and
//! drained, and a response that was not completed never looks complete to the client.

mod worker; // a thread with sockets of its own
mod estate; // what a process leaves to the next
mod tcp; // connections, TLS, ALPN
pub mod quic; // datagrams, connections, steering
pub mod h3;
pub mod h2;
pub mod h1;
pub mod request; // is a request of H2 or H3 well-formed?
pub mod section; // header sections of H2 and H3: which lines may stand in one message
pub mod field_line; // names and values in them
mod authority; // hosts and targets that all readers read alike
pub mod refusal; // why a request does not reach the app
mod serving; // what all connections share
pub mod account; // what all buffers together may hold
mod announced; // how much body a response has
mod leaving; // asks clients to go elsewhere, for a while
mod traffic; // sums for the report
pub mod round_trip; // how far clients are, by subnet, for the DNS
mod bell; // tells idle connections of the drain
mod clients; // connections of one address
mod alarm; // one timer for a connection
mod pace; // how slow a client may be
mod allowance; // how often a client may do something
pub mod stream; // the seam to whoever answers
pub mod priority; // RFC 9218
pub mod config;
pub mod tls;
mod downstream;
mod metrics;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use tidegate_chassis::{Drain, handover::Predecessor};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::estate::Heritage;
use self::metrics::Metrics;
use self::round_trip::Measurements;
use self::serving::Serving;
use self::worker::Worker;

pub use config::{Config, ConfigError};
pub use downstream::{Downstream, Protocol};
pub use estate::{Estate, Lines, STATE_KEY};
pub use leaving::Leaving;
pub use traffic::Traffic;

/// Bound sockets and loaded certificates, not yet accepting.
pub struct Listener {
    config: Config,
    workers: Vec<Worker>,
    addresses: Vec<(&'static str, SocketAddr)>,
    certificates: Option<Arc<tls::Certificates>>,
    account: account::Account,
    traces: Option<quic::Traces>,
    estate: Estate,
    leaving: Leaving,
    measurements: Measurements,
    metrics: Metrics,
    quic_metrics: quic::Metrics,
}

impl Listener {
    /// Binds every address, loads the certificates and registers the metrics; nothing is accepted
    /// before [`Listener::serve`], but clients may already queue. Sockets that a supervisor has handed over are used
    /// where their address is asked for.
    ///
    /// # Errors
    /// When an address is taken, a certificate cannot be used, or the settings contradict each other.
    pub async fn bind(
        config: &Config,
        registry: &prometheus::Registry,
    ) -> Result<Self, ListenError> {
        Self::bind_after(config, registry, None).await
    }

    /// The same with the sockets of the process before, where it has left some.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub async fn bind_after(
        config: &Config,
        registry: &prometheus::Registry,
        predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, ListenError> {
        config.check()?;
        let mut inherited = Heritage::new(predecessor);
        let metrics = Metrics::register(registry)?;
        let mut listener = Self {
            config: config.clone(),
            workers: (0..workers(config)).map(|_| Worker::default()).collect(),
            addresses: Vec::new(),
            certificates: None,
            account: account::Account::new(config.limits.buffers.as_u64()),
            traces: quic::Traces::new(&config.quic),
            estate: Estate::default(),
            leaving: Leaving::default(),
            measurements: Measurements::new(&metrics),
            metrics,
            quic_metrics: quic::Metrics::register(registry)?,
        };
        for address in &config.http {
            listener.bind_http(*address, &mut inherited)?;
        }
        if !config.https.is_empty() {
            let certificates = Arc::new(tls::Certificates::load(&config.tls)?);
            for address in &config.https {
                listener.bind_tls(*address, &mut inherited, &certificates)?;
            }
            listener.certificates = Some(certificates);
        }
        for address in inherited.left() {
            tracing::warn!(%address, "an inherited socket is not asked for by the settings");
        }
        Ok(listener)
    }

    /// The bound addresses with their ports filled in, by the names `http`, `https` and `quic`.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.addresses.clone()
    }

    /// The Alt-Svc value that offers H3 on the QUIC port (RFC 7838), when there is one.
    #[must_use]
    pub fn alt_svc(&self) -> Option<String> {
        let (_, address) = self.addresses.iter().find(|(name, _)| *name == "quic")?;
        Some(format!("h3=\":{}\"; ma={ALT_SVC_MAX_AGE_S}", address.port()))
    }

    /// The self-signed certificate in PEM, when one was made; clients that try things out trust it.
    #[must_use]
    pub fn self_signed_pem(&self) -> Option<String> {
        self.certificates.as_ref()?.self_signed_pem()
    }

    /// Where traces of connections are asked for, when there is a folder for them.
    #[must_use]
    pub fn traces(&self) -> Option<quic::Traces> {
        self.traces.clone()
    }

    /// What the buffers of all clients hold.
    #[must_use]
    pub fn account(&self) -> account::Account {
        self.account.clone()
    }

    /// Asks clients to go elsewhere.
    #[must_use]
    pub fn leaving(&self) -> Leaving {
        self.leaving.clone()
    }

    /// What moves through it.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic(self.metrics.clone())
    }

    /// How far its clients are.
    #[must_use]
    pub fn measurements(&self) -> Measurements {
        self.measurements.clone()
    }

    /// What this listener leaves to a process that follows; nothing more when it was taken. Whoever has it keeps the
    /// sockets open: drop it when the drain begins.
    pub fn take_estate(&mut self) -> Estate {
        std::mem::take(&mut self.estate)
    }

    /// The certificates in use, when there is a TLS listener: whoever gets snapshots installs them here.
    #[must_use]
    pub fn certificates(&self) -> Option<Arc<tls::Certificates>> {
        self.certificates.clone()
    }

    /// Serves until drain, then lets open exchanges finish: H1 connections close after their
    /// response, H2 and H3 clients get GOAWAY. Returns when all connections are closed. Dropping the future drops every
    /// connection.
    ///
    /// # Errors
    /// When an accept loop ends before the drain: the process cannot serve and should end.
    pub async fn serve<A: stream::App>(self, app: Arc<A>, drain: Drain) -> Result<(), ListenError> {
        drop(self.estate);
        let (config, account) = (&self.config, self.account);
        let (metrics, measurements) = (self.metrics, self.measurements);
        let mut serving = Serving::new(app, config, account, drain.clone(), metrics, measurements);
        serving.leaving = self.leaving;
        let serving = Arc::new(serving);
        let acceptor = match &self.certificates {
            Some(certificates) => Some(TlsAcceptor::from(Arc::new(certificates.for_tcp()?))),
            None => None,
        };
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        let mut running = FuturesUnordered::new();
        for (number, worker) in self.workers.into_iter().enumerate() {
            running.push(worker.start(number, serving.clone(), acceptor.clone(), stop.clone())?);
        }
        let ended = async {
            while let Some(ended) = running.next().await {
                // A worker that is gone without a word has panicked.
                ended.unwrap_or(Err(ListenError::Ended))?;
            }
            Ok(())
        };
        tokio::select! {
            ended = ended => ended,
            never = tls::reload_on_hangup(self.certificates.as_deref()) => match never {},
        }
    }

    fn bind_http(
        &mut self,
        address: SocketAddr,
        inherited: &mut Heritage,
    ) -> Result<(), ListenError> {
        let sockets = self.sockets("http", address, inherited)?;
        let (bound, shares) = self.keep("http", address, sockets)?;
        for (worker, sockets) in self.workers.iter_mut().zip(shares) {
            worker.http.extend(sockets);
        }
        self.addresses.push(("http", bound));
        Ok(())
    }

    /// Binds one https address and, with H3, the same UDP port. For port 0 the pair is drawn again
    /// while the UDP half is taken by somebody else.
    fn bind_tls(
        &mut self,
        address: SocketAddr,
        inherited: &mut Heritage,
        certificates: &Arc<tls::Certificates>,
    ) -> Result<(), ListenError> {
        let mut tries = if address.port() == 0 { FREE_PORT_TRIES } else { 1 };
        let (sockets, quic) = loop {
            let sockets = self.sockets("https", address, inherited)?;
            if !self.config.h3 {
                break (sockets, Vec::new());
            }
            tries -= 1;
            let count = self.workers.len();
            let (bound, passed) = (bound_to(address, &sockets)?, inherited.take_quic(address));
            let bind = quic::bind(
                bound,
                count,
                passed,
                &self.config,
                certificates,
                self.traces.as_ref(),
                &self.quic_metrics,
            );
            match bind {
                Ok(quic) => break (sockets, quic),
                Err(ListenError::Bind { cause, .. })
                    if tries > 0 && cause.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        };
        let (bound, shares) = self.keep("https", address, sockets)?;
        let refused = |cause| ListenError::Bind { address, cause };
        if let Some(estate) = quic::Estate::of(&quic).map_err(refused)? {
            self.estate.add_quic(address, estate);
        }
        self.addresses.push(("https", bound));
        if !quic.is_empty() {
            self.addresses.push(("quic", bound));
        }
        for (worker, sockets) in self.workers.iter_mut().zip(shares) {
            worker.https.extend(sockets);
        }
        let workers = self.workers.len();
        for (place, socket) in quic.into_iter().enumerate() {
            self.workers[place % workers].quic.push(socket);
        }
        Ok(())
    }

    /// Sockets of an address: inherited ones, else new ones.
    fn sockets(
        &self,
        name: &'static str,
        address: SocketAddr,
        inherited: &mut Heritage,
    ) -> Result<Vec<TcpListener>, ListenError> {
        let sockets = inherited.tcp.take(name, address);
        if !sockets.is_empty() {
            return Ok(sockets);
        }
        tcp::bind(address, self.workers.len(), &self.config.tcp)
    }

    /// The sockets of an address for each worker, and once more for whoever follows.
    fn keep(
        &mut self,
        name: &'static str,
        address: SocketAddr,
        sockets: Vec<TcpListener>,
    ) -> Result<(SocketAddr, Vec<Vec<TcpListener>>), ListenError> {
        let bound = bound_to(address, &sockets)?;
        let kept = self.estate.add_tcp(name, address, &sockets);
        kept.map_err(|cause| ListenError::Bind { address, cause })?;
        Ok((bound, tcp::share(sockets, self.workers.len(), &self.config.tcp)?))
    }
}

/// Where the sockets of an address are bound.
fn bound_to(address: SocketAddr, sockets: &[TcpListener]) -> Result<SocketAddr, ListenError> {
    let bound = sockets.first().map_or(Ok(address), TcpListener::local_addr);
    bound.map_err(|cause| ListenError::Bind { address, cause })
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
    /// There is no thread or no runtime for a worker.
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
    /// An accept loop ended although no drain was asked for.
    #[error("an accept loop ended before the drain")]
    Ended,
}

/// How many workers serve: as asked for, else one for every core.
#[must_use]
pub fn workers(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        asked => asked,
    }
}

/// How long clients may remember that H3 is offered: a day, the common value.
const ALT_SVC_MAX_AGE_S: u32 = 86_400;
/// Tries to find a port that is free for TCP and UDP.
const FREE_PORT_TRIES: u32 = 16;
