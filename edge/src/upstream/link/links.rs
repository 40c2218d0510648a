//! A connection to an upstream: one that is there, or a new one at whichever of its addresses answers first.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use pingora::{
    connectors::{ConnectorOptions, TransportConnector},
    protocols::{ALPN, Stream},
    upstreams::peer::{HttpPeer, Peer},
};
use tidegate_contract::property::Upstream;
use tokio::time::{sleep, timeout};

use super::{
    super::{
        ask::{Interim, RequestBody},
        config::Config,
        failed::Failed,
        metrics::Metrics,
    },
    h1,
    h2::{self, Lane},
    message::{Interims, Outgoing, Received, Times},
    peer::{self, Target},
    pool::{Home, Pool},
    resolve::Resolver,
    roots::{Roots, RootsError},
};

/// All connections to upstreams.
pub(in crate::upstream) struct Links {
    connector: TransportConnector,
    unused: Arc<Pool>,
    resolver: Resolver,
    roots: Roots,
    idle_timeout: Duration,
    known: Mutex<HashMap<String, Arc<Known>>>,
    metrics: Metrics,
}

/// What is known of an upstream that may speak H2.
#[derive(Default)]
struct Known {
    pool: Arc<h2::Pool>,
    /// Held while somebody connects.
    connecting: tokio::sync::Mutex<()>,
    speaks: AtomicU8,
    /// Until when it is asked over H1 alone, because it said so.
    h1_until: Mutex<Option<Instant>>,
}

/// A connection for one request.
enum Link {
    H1 { stream: Stream, key: u64, is_reused: bool },
    H2 { lane: Lane, is_reused: bool },
}

/// A request that is sent, and where its answer goes.
pub(in crate::upstream) struct Sent<'a> {
    pub(in crate::upstream) request: &'a Outgoing,
    pub(in crate::upstream) times: Times,
    pub(in crate::upstream) interim: Option<&'a Interim>,
    pub(in crate::upstream) connect: Duration,
    /// Whether it may be sent again when a kept connection turns out to be closed; such a request uses one at all.
    pub(in crate::upstream) is_repeatable: bool,
}

impl Links {
    pub(in crate::upstream) fn new(config: &Config, metrics: Metrics) -> Result<Self, RootsError> {
        let roots = Roots::load(config.ca.as_deref())?;
        let ca_file = match &roots {
            Roots::Read(None) => None,
            Roots::Read(Some(path)) => Some(path.clone()),
            // A file without authorities: nobody is trusted but whom a peer names.
            Roots::Given(_) | Roots::None => Some(PathBuf::from("/dev/null")),
        };
        // Pingora keeps none.
        let mut options = ConnectorOptions::new(1);
        options.ca_file = ca_file.map(|path| path.to_string_lossy().into_owned());
        Ok(Self {
            connector: TransportConnector::new(Some(options)),
            unused: Arc::new(Pool::new(config.idle_timeout, config.idle_connections_max)),
            resolver: Resolver::new(config.resolve_ttl, config.connect_timeout),
            roots,
            idle_timeout: config.idle_timeout,
            known: Mutex::default(),
            metrics,
        })
    }

    /// Closes connections that nobody needs any more.
    pub(in crate::upstream) fn sweep(&self) {
        self.unused.sweep();
    }

    /// Finds an upstream's addresses.
    pub(in crate::upstream) async fn target(
        &self,
        upstream: &Upstream,
        may_h2: bool,
        connect_timeout: Duration,
    ) -> Result<Target, Failed> {
        let addresses = self.resolver.addresses(&upstream.authority).await;
        let addresses = addresses.map_err(peer::PeerError::Address)?;
        Ok(peer::target(upstream, &addresses, &self.roots, may_h2, connect_timeout)?)
    }

    /// Sends a request and reads the head of its answer. Where a kept connection was closed meanwhile, once more on a
    /// new one, silently.
    pub(in crate::upstream) async fn exchange(
        &self,
        target: &Target,
        sent: &Sent<'_>,
        body: &mut Option<RequestBody>,
    ) -> Result<Received, Failed> {
        let known = target.may_h2.then(|| self.known(&target.name));
        if known.as_ref().is_some_and(|known| known.needs_h1()) {
            return self.exchange_as_it_is(&target.h1_alone(), sent, body).await;
        }
        let had_body = body.is_some();
        match (self.exchange_as_it_is(target, sent, body).await, known) {
            (Err(Failed::NeedsHttp1), Some(known)) => {
                known.want_h1();
                if had_body != body.is_some() {
                    return Err(Failed::NeedsHttp1);
                }
                self.exchange_as_it_is(&target.h1_alone(), sent, body).await
            }
            (result, _) => result,
        }
    }

    async fn exchange_as_it_is(
        &self,
        target: &Target,
        sent: &Sent<'_>,
        body: &mut Option<RequestBody>,
    ) -> Result<Received, Failed> {
        let link = self.open(target, !sent.is_repeatable, sent.connect).await?;
        let is_reused = match &link {
            Link::H1 { is_reused, .. } | Link::H2 { is_reused, .. } => *is_reused,
        };
        let had_body = body.is_some();
        match self.on(link, sent, body).await {
            Err(failed) if is_reused && failed.is_stale() => {
                // What was not looked at may go again, unless its body is gone.
                let is_unharmed = matches!(failed, Failed::NotLookedAt);
                let may_repeat = sent.is_repeatable || is_unharmed && had_body == body.is_some();
                if !may_repeat {
                    return Err(failed);
                }
                tracing::debug!(%failed, "a kept connection to an upstream was closed");
                let link = self.open(target, true, sent.connect).await?;
                self.on(link, sent, body).await
            }
            result => result,
        }
    }

    async fn on(
        &self,
        link: Link,
        sent: &Sent<'_>,
        body: &mut Option<RequestBody>,
    ) -> Result<Received, Failed> {
        let (protocol, is_reused) = match &link {
            Link::H1 { is_reused, .. } => ("h1", *is_reused),
            Link::H2 { is_reused, .. } => ("h2", *is_reused),
        };
        let reused = if is_reused { "yes" } else { "no" };
        self.metrics.connections.with_label_values(&[protocol, reused]).inc();
        let on_dropped = || self.metrics.interim_dropped.inc();
        let mut interims = Interims::new(sent.interim, &on_dropped);
        match link {
            Link::H1 { stream, key, .. } => {
                let home = Home { pool: self.unused.clone(), key };
                let body = body.take();
                h1::exchange(stream, home, sent.request, body, sent.times, &mut interims).await
            }
            Link::H2 { lane, .. } => {
                h2::exchange(lane, sent.request, body, sent.times, &mut interims).await
            }
        }
    }

    /// A connection; `is_fresh` takes no kept one of H1.
    async fn open(
        &self,
        target: &Target,
        is_fresh: bool,
        connect_timeout: Duration,
    ) -> Result<Link, Failed> {
        let opening = async {
            if !target.may_h2 {
                return match self.kept(target, is_fresh) {
                    Some(link) => Ok(link),
                    None => self.connect_h1(target).await,
                };
            }
            let known = self.known(&target.name);
            if let Some(lane) = known.pool.take() {
                return Ok(Link::H2 { lane, is_reused: true });
            }
            if let Some(link) = self.kept(target, is_fresh) {
                return Ok(link);
            }
            if known.speaks.load(Ordering::Relaxed) == SPEAKS_H1 {
                return self.connect(target, &known).await;
            }
            let _turn = known.connecting.lock().await;
            match known.pool.take() {
                Some(lane) => Ok(Link::H2 { lane, is_reused: true }),
                None => self.connect(target, &known).await,
            }
        };
        // Several may stand in a line for one connection.
        timeout(connect_timeout, opening).await.unwrap_or(Err(Failed::ConnectTime))
    }

    fn kept(&self, target: &Target, is_fresh: bool) -> Option<Link> {
        if is_fresh {
            return None;
        }
        target.peers.iter().find_map(|peer| {
            let key = peer.reuse_hash();
            self.unused.take(key).map(|stream| Link::H1 { stream, key, is_reused: true })
        })
    }

    async fn connect_h1(&self, target: &Target) -> Result<Link, Failed> {
        let (stream, key) = self.socket(&target.peers).await?;
        Ok(Link::H1 { stream, key, is_reused: false })
    }

    /// A new connection of whatever the upstream speaks.
    async fn connect(&self, target: &Target, known: &Known) -> Result<Link, Failed> {
        let (stream, key) = self.socket(&target.peers).await?;
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            known.speaks.store(SPEAKS_H2, Ordering::Relaxed);
            let lane = known.pool.open(stream, self.idle_timeout).await?;
            Ok(Link::H2 { lane, is_reused: false })
        } else {
            known.speaks.store(SPEAKS_H1, Ordering::Relaxed);
            Ok(Link::H1 { stream, key, is_reused: false })
        }
    }

    /// Connects to the first address, and soon to the next ones as well; the first connection is taken.
    async fn socket(&self, peers: &[HttpPeer]) -> Result<(Stream, u64), Failed> {
        let mut left = peers.iter();
        let mut attempts = FuturesUnordered::new();
        let mut last = Failed::ConnectTime;
        loop {
            if let Some(peer) = left.next() {
                attempts.push(async move {
                    self.connector.new_stream(peer).await.map(|stream| (stream, peer.reuse_hash()))
                });
            }
            tokio::select! {
                attempt = attempts.next() => match attempt {
                    Some(Ok(connected)) => return Ok(connected),
                    Some(Err(error)) => last = Failed::Connect(error),
                    None => return Err(last),
                },
                () = sleep(NEXT_ADDRESS_AFTER), if left.len() > 0 => {}
            }
        }
    }

    fn known(&self, name: &str) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(name) {
            return found.clone();
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.entry(name.to_owned()).or_default().clone()
    }
}

impl Known {
    fn needs_h1(&self) -> bool {
        let until = *self.h1_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn want_h1(&self) {
        let until = Instant::now() + H1_TIME;
        *self.h1_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// How long an upstream that wants HTTP/1.1 is asked over it: what makes it want that is a setting, not a moment.
const H1_TIME: Duration = Duration::from_secs(600);
const SPEAKS_H1: u8 = 1;
const SPEAKS_H2: u8 = 2;
/// When the next address is tried beside one that has not answered (RFC 8305 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Upstreams whose protocol is remembered.
const KNOWN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use prometheus::Registry;
    use socket2::{Domain, Socket, Type};

    use super::*;

    fn peer(address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(2 * LONG);
        peer
    }

    /// An address that takes no further connection and does not say so, while the sockets are there.
    fn dead() -> (SocketAddr, Vec<Socket>) {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listening = socket();
        listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listening.listen(0).unwrap();
        let address = listening.local_addr().unwrap();
        let fill = |_| {
            let filler = socket();
            filler.set_nonblocking(true).unwrap();
            // It says that it goes on; nobody waits for that.
            let _ = filler.connect(&address);
            filler
        };
        let sockets = (0..4).map(fill).chain([listening]).collect();
        (address.as_socket().unwrap(), sockets)
    }

    #[tokio::test]
    async fn a_dead_address_is_not_waited_for() {
        let links = Links::new(&Config::default(), Metrics::register(&Registry::new())).unwrap();
        let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = live.local_addr().map(|address| (live, address)).unwrap();
        // Bound, so that nobody else is, and not listening.
        let nobody = tokio::net::TcpSocket::new_v4().unwrap();
        nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let refusing = nobody.local_addr().unwrap();
        let (dead, _sockets) = dead();
        for first in [refusing, dead] {
            let began = Instant::now();
            let peers = [peer(first), peer(live.1)];
            let (_, key) = links.socket(&peers).await.unwrap();
            assert_eq!(key, peers[1].reuse_hash());
            assert!(began.elapsed() < LONG);
        }
        assert!(matches!(links.socket(&[peer(refusing)]).await, Err(Failed::Connect(_))));
        assert!(matches!(links.socket(&[]).await, Err(Failed::ConnectTime)));
    }

    /// Longer than anything takes on a machine that has much else to do.
    const LONG: Duration = Duration::from_secs(60);
}
