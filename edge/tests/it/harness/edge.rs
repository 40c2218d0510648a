//! An edge in this process, on free ports, with a clock that the story moves.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use http::Method;
use tempfile::TempDir;
use tidegate_chassis::{Clock, Drain, Process};
use tidegate_contract::{
    explanation::Explanation,
    guard_policy::GuardPolicy,
    id::{Generation, PopId, PropertyId},
    property::{CachePolicy, Hedge, Property, Upstream},
    purge::{PurgeOrder, PurgeTarget},
    replacement::Replacement,
    snapshot::{PopRole, Shield, Snapshot},
    surrogate_key::SurrogateKey,
    tier::TierKey,
};
use tidegate_edge::{
    config::Config, control, engine::Handles, exchange::Edge, listener::Protocol, node::Node,
};

use super::{
    PATIENCE,
    client::{Answer, Ask, Client, Open},
    eventually, log,
    origin::FakeOrigin,
    patience,
};

/// A running edge; drains when dropped.
pub(crate) struct TestEdge {
    pub client: Client,
    pub clock: Clock,
    pub handles: Handles,
    pub edge: Arc<Edge>,
    pub registry: prometheus::Registry,
    pub ca_pem: String,
    drain: Drain,
    _state: Option<TempDir>,
}

/// An edge that is not started yet.
pub(crate) struct Builder {
    config: Config,
    snapshot: Snapshot,
    has_control: bool,
}

impl TestEdge {
    /// An edge before one origin.
    pub(crate) fn before(origin: &FakeOrigin) -> Builder {
        Self::builder().origin(origin)
    }

    pub(crate) fn builder() -> Builder {
        let mut config = Config::default();
        let free = "127.0.0.1:0".parse().unwrap();
        config.listen.http = vec![free];
        config.listen.https = vec![free];
        config.listen.tls.self_signed = true;
        config.access_log = false;
        be_patient(&mut config);
        let snapshot = Snapshot {
            generation: Generation(2),
            pop: PopId::parse("test").unwrap(),
            role: PopRole::Edge,
            properties: vec![Property::new(
                PropertyId::parse("demo").unwrap(),
                vec!["localhost".to_owned()],
                vec![],
            )],
            tier_key: TierKey::new([9; 32]),
            shields: vec![],
            certificates: vec![],
        };
        Builder { config, snapshot, has_control: false }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_by(Protocol::Http1, path).await
    }

    pub(crate) async fn get_by(&self, protocol: Protocol, path: &str) -> Answer {
        self.ask(protocol, &Ask::get(path)).await
    }

    pub(crate) async fn ask(&self, protocol: Protocol, ask: &Ask) -> Answer {
        self.client.ask(protocol, ask).await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"))
    }

    pub(crate) async fn open(&self, protocol: Protocol, path: &str) -> Open {
        self.client.open(protocol, &Ask::get(path)).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &'static [u8]) -> Answer {
        self.ask(Protocol::Http1, &Ask::get(path).method(Method::POST).body(body)).await
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The edge's time of day, in seconds since 1970.
    pub(crate) fn now_s(&self) -> u64 {
        self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    /// A new snapshot, as the control plane would send it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Property)) {
        let mut snapshot = self.handles.policy.current().unwrap().snapshot.clone();
        snapshot.generation = Generation(snapshot.generation.0 + 1);
        change(&mut snapshot.properties[0]);
        self.handles.policy.install(snapshot).unwrap();
    }

    pub(crate) fn purge(&self, target: PurgeTarget, soft: bool) {
        self.handles.purges.apply(&PurgeOrder { target, soft });
    }

    pub(crate) fn purge_key(&self, key: &str, soft: bool) {
        self.purge(PurgeTarget::Key { key: SurrogateKey::parse(key).unwrap() }, soft);
    }

    /// Purges a path and brings its new body, made just now.
    pub(crate) fn replace(&self, path: &str, headers: &[(&str, &str)], body: &str) {
        self.replace_late(path, headers, body, Duration::ZERO);
    }

    /// The same, made so long ago.
    pub(crate) fn replace_late(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        late: Duration,
    ) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let typed = [("content-type", "application/vnd.apple.mpegurl")];
        let headers = typed.iter().chain(headers).map(own).collect();
        let new = Replacement { headers, body: body.as_bytes().to_owned() }.checked().unwrap();
        let target = PurgeTarget::from_url(&format!("https://localhost{path}")).unwrap();
        let order = PurgeOrder { target, soft: false };
        let policy = self.handles.policy.current();
        let made_at = self.clock.now() - late;
        self.handles.fetcher.replace(policy.as_ref(), &order, &new, made_at);
    }

    /// What an operator is told of a path.
    pub(crate) async fn explain(&self, path: &str) -> Explanation {
        self.explain_for(path, &http::HeaderMap::new()).await
    }

    /// What an operator is told of a path for a request with some headers.
    pub(crate) async fn explain_for(&self, path: &str, headers: &http::HeaderMap) -> Explanation {
        self.edge.explain("localhost", &path.parse().unwrap(), headers).await.unwrap()
    }

    /// The value of a counter or gauge, or the count of a histogram, with these label values, 0 when it was never touched.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let families = self.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let has_labels = |metric: &&prometheus::proto::Metric| {
            labels.iter().all(|label| metric.get_label().iter().any(|l| l.value() == *label))
        };
        let value = |metric: &prometheus::proto::Metric| {
            let count = metric.get_histogram().get_sample_count() as f64;
            metric.get_counter().get_value() + metric.get_gauge().get_value() + count
        };
        family.get_metric().iter().filter(has_labels).map(value).sum()
    }

    /// Waits until a metric is there, and no more than that: what a client has got is counted a moment later.
    pub(crate) async fn expect_metric(&self, name: &str, labels: &[&str], expected: f64) {
        let what = format!("{name}{labels:?} is {expected}");
        eventually(&what, || self.metric(name, labels) >= expected).await;
        assert_eq!(self.metric(name, labels), expected, "{name}{labels:?}");
    }

    /// How another edge reaches it as a shield.
    pub(crate) fn as_shield(&self, pop: &str) -> Shield {
        let upstream = Upstream { authority: self.client.http.to_string(), tls: None, host: None };
        Shield { pop: PopId::parse(pop).unwrap(), upstream }
    }
}

impl Builder {
    pub(crate) fn origin(mut self, origin: &FakeOrigin) -> Self {
        let upstream = Upstream { authority: origin.address.to_string(), tls: None, host: None };
        let property = &mut self.snapshot.properties[0];
        property.origins.push(upstream);
        // On a busy machine the other one would be asked for what is only late; hedging has stories of its own.
        property.upstream.hedge = Hedge::Off;
        self
    }

    pub(crate) fn policy(mut self, policy: CachePolicy) -> Self {
        self.snapshot.properties[0].cache = policy;
        self
    }

    pub(crate) fn guard(mut self, guard: GuardPolicy) -> Self {
        self.snapshot.properties[0].guard = guard;
        self
    }

    pub(crate) fn pop(mut self, pop: &str) -> Self {
        self.snapshot.pop = PopId::parse(pop).unwrap();
        self
    }

    pub(crate) fn role(mut self, role: PopRole) -> Self {
        self.snapshot.role = role;
        self
    }

    pub(crate) fn shield(mut self, shield: Shield) -> Self {
        self.snapshot.shields.push(shield);
        self
    }

    /// With an agent that finds no control plane: the story plays it through the handles.
    pub(crate) fn controlled(mut self) -> Self {
        self.has_control = true;
        self
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) async fn start(self) -> TestEdge {
        log::keep();
        let Self { mut config, snapshot, has_control } = self;
        let state = has_control.then(|| nobody(&mut config));
        if !has_control {
            config.pop = snapshot.pop.clone();
            config.property = snapshot.properties.clone();
        }
        let process = Process::for_test();
        let clock = Clock::manual(began());
        let node = Node::start(&config, &process, clock.clone()).await.unwrap();
        node.handles().policy.install(snapshot).unwrap();
        let address =
            |name: &str| node.addresses().into_iter().find(|(known, _)| *known == name).unwrap().1;
        let ca_pem = node.self_signed_pem().unwrap();
        let client = Client::new(address("http"), address("https"), &ca_pem);
        let handles = node.handles().clone();
        let edge = node.edge();
        let (drain, registry) = (process.drain(), process.registry().clone());
        tokio::spawn(async move { node.serve().await.unwrap() });
        TestEdge { client, clock, handles, edge, registry, ca_pem, drain, _state: state }
    }
}

impl Drop for TestEdge {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

/// When all edges of this process begin, so that two of one story agree about the time however slowly they start.
fn began() -> SystemTime {
    static BEGAN: OnceLock<SystemTime> = OnceLock::new();
    *BEGAN.get_or_init(SystemTime::now)
}

/// A slow machine is not to be taken for a slow client, nor for a slow origin.
fn be_patient(config: &mut Config) {
    patience::be_patient(&mut config.listen);
    let upstream = &mut config.upstream;
    for time in [
        &mut upstream.connect_timeout,
        &mut upstream.first_byte_timeout,
        &mut upstream.read_timeout,
        &mut upstream.write_timeout,
        &mut config.cache.collapse_wait_max,
    ] {
        *time = PATIENCE;
    }
}

/// A control plane that is not there.
fn nobody(config: &mut Config) -> TempDir {
    let state = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::new(vec!["nobody".to_owned()]).unwrap();
    let ca = state.path().join("ca.pem");
    std::fs::write(&ca, authority.self_signed(&key).unwrap().pem()).unwrap();
    config.control = Some(control::Config {
        endpoints: vec!["https://127.0.0.1:1".to_owned()],
        ca,
        state_dir: state.path().join("state"),
        ..control::Config::default()
    });
    state
}
