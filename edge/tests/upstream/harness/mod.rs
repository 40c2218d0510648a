//! What the stories are told with: upstreams in the hand of the story, and the client side that asks them.

pub(crate) mod plain;
pub(crate) mod secure;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use prometheus::Registry;
use tempfile::NamedTempFile;
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::{Generation, PopId, PropertyId},
    property::{Property, Upstream, UpstreamPolicy, UpstreamTls},
    snapshot::{PopRole, Shield, Snapshot},
    tier::TierKey,
};
use tidegate_edge::{
    cache::key::Key,
    error::Failure,
    policy::{Policy, PolicyHandle},
    upstream::{
        Answer, Ask, Candidate, Config, Home, Interim, Metrics, RequestBody, Tier, Upstreams,
    },
};

/// The client side, with a policy of one property.
pub(crate) struct Client {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) handle: PolicyHandle,
    pub(crate) policy: Arc<Policy>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

/// What the client side is set up with.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) origins: Vec<Upstream>,
    pub(crate) shields: Vec<Upstream>,
    pub(crate) policy: UpstreamPolicy,
    pub(crate) config: Config,
    /// Whether the platform's authorities are read, which takes a while.
    pub(crate) is_platform_believed: bool,
}

/// What a story asks for, beside the usual.
pub(crate) struct Wish<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<RequestBody>,
    pub(crate) avoid: Vec<Candidate>,
    pub(crate) interim: Option<Interim>,
    pub(crate) hold: Option<Duration>,
    pub(crate) home: Option<Home>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: "/",
            headers: HeaderMap::new(),
            body: None,
            avoid: vec![],
            interim: None,
            hold: None,
            home: None,
        }
    }
}

impl Client {
    pub(crate) fn new(setup: Setup) -> Self {
        // As the program does, and before Pingora takes another one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let id = PropertyId::parse("demo").unwrap();
        let property = Property {
            upstream: setup.policy,
            ..Property::new(id, vec!["a.org".into()], setup.origins)
        };
        let shield = |(place, upstream)| Shield {
            pop: PopId::parse(format!("shield{place}")).unwrap(),
            upstream,
        };
        let snapshot = Snapshot {
            generation: Generation(1),
            pop: PopId::parse("fra").unwrap(),
            role: PopRole::Edge,
            properties: vec![property],
            tier_key: TierKey::new([7; 32]),
            shields: setup.shields.into_iter().enumerate().map(shield).collect(),
            certificates: vec![],
        };
        let handle = PolicyHandle::default();
        handle.install(snapshot).unwrap();
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let metrics = Metrics::register(&Registry::new());
        let ca = (!setup.is_platform_believed).then(|| own_authority().to_path_buf());
        let ca = setup.config.ca.clone().or(ca);
        // A slow machine is not to be taken for a slow upstream.
        let config = Config { ca, connect_timeout: PATIENCE, ..setup.config };
        let upstreams = Upstreams::new(&config, metrics.clone(), clock.clone()).unwrap();
        let policy = handle.current().unwrap();
        Self { upstreams: Arc::new(upstreams), handle, policy, clock, metrics }
    }

    /// One that asks these origins in the clear.
    pub(crate) fn of(origins: &[SocketAddr]) -> Self {
        Self::new(Setup { origins: origins.iter().map(clear).collect(), ..Setup::default() })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(Wish { path, ..Wish::default() }).await
    }

    pub(crate) async fn ask(&self, wish: Wish<'_>) -> Result<Answer, Failure> {
        let seal = || HeaderValue::from_static("sealed");
        let ask = Ask {
            policy: &self.policy,
            property: 0,
            key: &Key([0; 16]),
            home: wish.home,
            host: "a.org",
            path: wish.path,
            method: wish.method,
            headers: wish.headers,
            body: wish.body,
            avoid: wish.avoid,
            interim: wish.interim,
            seal: Some(&seal),
            hold: wish.hold,
        };
        within(self.upstreams.ask(ask)).await
    }

    /// How often connections were taken, new and kept ones.
    pub(crate) fn connections(&self, protocol: &str) -> (u64, u64) {
        let count = |reused| self.metrics.connections.with_label_values(&[protocol, reused]).get();
        (count("no"), count("yes"))
    }

    pub(crate) fn errors(&self, kind: &str) -> u64 {
        ["origin", "shield", "sibling"]
            .map(|tier| self.metrics.errors.with_label_values(&[tier, kind]).get())
            .into_iter()
            .sum()
    }
}

/// An origin's place.
pub(crate) fn origin(place: usize) -> Candidate {
    Candidate { tier: Tier::Origin, place }
}

/// An upstream in the clear.
pub(crate) fn clear(address: &SocketAddr) -> Upstream {
    Upstream { authority: address.to_string(), tls: None, host: None }
}

/// An upstream behind TLS.
pub(crate) fn tls(address: SocketAddr, server_name: &str, ca_pem: Option<String>) -> Upstream {
    let tls = UpstreamTls { server_name: server_name.into(), ca_pem };
    Upstream { authority: address.to_string(), tls: Some(tls), host: None }
}

/// The whole body of an answer.
pub(crate) async fn body(answer: &mut Answer) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = within(answer.body.next()).await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// A short answer's body as text.
pub(crate) async fn text(answer: Result<Answer, Failure>) -> Result<String, Failure> {
    let mut answer = answer?;
    Ok(String::from_utf8(body(&mut answer).await?).unwrap())
}

/// Waits, with a limit.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Waits for a condition, with a limit.
pub(crate) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Bytes that differ from place to place.
pub(crate) fn noise(bytes: usize) -> Bytes {
    (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
}

/// A file with an authority that nobody uses.
fn own_authority() -> &'static Path {
    static FILE: OnceLock<NamedTempFile> = OnceLock::new();
    let make = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        file
    };
    FILE.get_or_init(make).path()
}

/// How long a story waits for something that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
