//! A control plane that does what the test says: it hands over each lane that a node opens, to be scripted.

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::Stream;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair, SanType,
};
use tidegate_contract::{
    demand::{Demand, TAKES_DEMAND},
    geo_feed::{RoundTrips, TAKES_ROUND_TRIPS},
    telemetry::Report,
};
use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity as TlsIdentity, Server, ServerTlsConfig},
};

use self::wire::{
    ConfigDown, ConfigHello, ConfigUp, EnrolRequest, Heartbeat, Identity, Purge, PurgeApplied,
    PurgeBatch, PurgeDown, PurgeHello, PurgeUp, RenewRequest, Replacement, TelemetryDown,
    TelemetryHello, TelemetryUp, Trimmed, config_up,
    enrolment_server::{Enrolment, EnrolmentServer},
    pop_sync_server::{PopSync, PopSyncServer},
    purge_down, purge_up, telemetry_down, telemetry_up,
};
use super::publisher::{Content, Publisher};

pub(crate) mod wire {
    //! The protocol, as the other side sees it.
    #![allow(unreachable_pub, unused_qualifications, dead_code, clippy::all)]
    tonic::include_proto!("tidegate.control.v1");
}

/// Everything in these tests happens within this time.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);
/// The one token that the fake accepts.
pub(crate) const TOKEN: &str = "one-time";

pub(crate) struct FakeControl {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    /// Signs releases that nodes believe.
    pub(crate) publisher: Publisher,
    service: Arc<Service>,
    purge_lanes: Mutex<mpsc::Receiver<PurgeLane>>,
    config_lanes: Mutex<mpsc::Receiver<ConfigLane>>,
    telemetry_lanes: Mutex<mpsc::Receiver<TelemetryLane>>,
    identities: Mutex<mpsc::Receiver<&'static str>>,
    serving: JoinHandle<()>,
}

/// A lane that a node opened. Dropping it ends the lane.
pub(crate) struct Lane<Hello, Up, Down> {
    pub(crate) hello: Hello,
    up: Streaming<Up>,
    down: mpsc::Sender<Result<Down, Status>>,
}

/// A lane of purges. What the node says is read as it comes, so that its questions can be answered.
pub(crate) struct PurgeLane {
    pub(crate) hello: PurgeHello,
    applied: mpsc::UnboundedReceiver<PurgeApplied>,
    asked: Arc<AtomicU64>,
    down: mpsc::Sender<Result<PurgeDown, Status>>,
}
pub(crate) type ConfigLane = Lane<ConfigHello, ConfigUp, ConfigDown>;
pub(crate) type TelemetryLane = Lane<TelemetryHello, TelemetryUp, TelemetryDown>;

struct Service {
    ca: CertifiedIssuer<'static, KeyPair>,
    life: Duration,
    takes_round_trips: AtomicBool,
    takes_demand: AtomicBool,
    purge_lanes: mpsc::Sender<PurgeLane>,
    config_lanes: mpsc::Sender<ConfigLane>,
    telemetry_lanes: mpsc::Sender<TelemetryLane>,
    identities: mpsc::Sender<&'static str>,
}

impl FakeControl {
    pub(crate) async fn start() -> Self {
        Self::with_identity_life(Duration::from_secs(3600)).await
    }

    /// Identities are certified as if half of their life had passed but for a moment.
    pub(crate) async fn with_identity_life(life: Duration) -> Self {
        tidegate_chassis::init_crypto();
        let (ca, ca_pem, server) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (purge_lanes, purge_lanes_seen) = mpsc::channel(8);
        let (config_lanes, config_lanes_seen) = mpsc::channel(8);
        let (telemetry_lanes, telemetry_lanes_seen) = mpsc::channel(8);
        let (identities, identities_seen) = mpsc::channel(8);
        let takes_round_trips = AtomicBool::new(false);
        let service = Arc::new(Service {
            ca,
            life,
            takes_round_trips,
            takes_demand: AtomicBool::new(false),
            purge_lanes,
            config_lanes,
            telemetry_lanes,
            identities,
        });
        let publisher = Publisher::new(service.ca.key(), 1);
        let tls = ServerTlsConfig::new()
            .identity(server)
            .client_ca_root(Certificate::from_pem(&ca_pem))
            .client_auth_optional(true);
        let serving = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(PopSyncServer::from_arc(service.clone()))
            .add_service(EnrolmentServer::from_arc(service.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            address,
            ca_pem,
            publisher,
            service,
            purge_lanes: Mutex::new(purge_lanes_seen),
            config_lanes: Mutex::new(config_lanes_seen),
            telemetry_lanes: Mutex::new(telemetry_lanes_seen),
            identities: Mutex::new(identities_seen),
            serving: tokio::spawn(async move { serving.await.unwrap() }),
        }
    }

    /// A release with one property in PoP `fra`.
    pub(crate) fn release(&self, version: u64, host: &str) -> wire::Release {
        self.publisher.whole(&Content::new(version, host))
    }

    /// Another release key of the same authority.
    pub(crate) fn rotated(&self, number: u64) -> Publisher {
        Publisher::new(self.service.ca.key(), number)
    }

    pub(crate) fn write_ca(&self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join("ca.pem");
        std::fs::write(&path, &self.ca_pem).unwrap();
        path
    }

    /// The next lane of purges that a node opens.
    pub(crate) async fn purge_lane(&self) -> PurgeLane {
        within(async { self.purge_lanes.lock().await.recv().await.unwrap() }).await
    }

    /// The next lane of configuration that a node opens.
    pub(crate) async fn config_lane(&self) -> ConfigLane {
        within(async { self.config_lanes.lock().await.recv().await.unwrap() }).await
    }

    /// From now on it says that it takes what clients ask for.
    pub(crate) fn take_demand(&self) {
        self.service.takes_demand.store(true, Relaxed);
    }

    /// From now on it says that it takes round trips.
    pub(crate) fn take_round_trips(&self) {
        self.service.takes_round_trips.store(true, Relaxed);
    }

    /// The next lane of telemetry that a node opens.
    pub(crate) async fn telemetry_lane(&self) -> TelemetryLane {
        within(async { self.telemetry_lanes.lock().await.recv().await.unwrap() }).await
    }

    /// How the next identity was asked for: `enrol` or `renew`.
    pub(crate) async fn identity_given(&self) -> &'static str {
        within(async { self.identities.lock().await.recv().await.unwrap() }).await
    }

    /// No connection is taken any more, and none goes on.
    pub(crate) fn vanish(self) {
        self.serving.abort();
    }
}

/// The headers and the body that come with a purge.
pub(crate) type New<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);

impl PurgeLane {
    fn new(
        hello: PurgeHello,
        mut up: Streaming<PurgeUp>,
        down: mpsc::Sender<Result<PurgeDown, Status>>,
    ) -> Self {
        let (said, applied) = mpsc::unbounded_channel();
        let asked = Arc::new(AtomicU64::new(0));
        tokio::spawn({
            let asked = asked.clone();
            async move {
                while let Ok(Some(message)) = up.message().await {
                    match message.message {
                        Some(purge_up::Message::Ask(ask)) => asked.store(ask.number, Relaxed),
                        Some(purge_up::Message::Applied(applied)) => drop(said.send(applied)),
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
        Self { hello, applied, asked, down }
    }

    /// Says where the log ends, in answer to what the node asked last.
    pub(crate) async fn heartbeat(&self, head: u64) {
        let head = [("main".to_owned(), head)].into();
        let answers = self.asked.load(Relaxed);
        self.say(purge_down::Message::Heartbeat(Heartbeat {
            head,
            answers,
            ..Heartbeat::default()
        }))
        .await;
    }

    pub(crate) async fn purge(&self, offset: u64, order: &str) {
        self.purge_with(offset, order, None).await;
    }

    /// A purge with a body: its headers, and it.
    pub(crate) async fn purge_with(&self, offset: u64, order: &str, new: Option<New<'_>>) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let replacement = new.map(|(headers, body)| Replacement {
            headers: headers.iter().map(own).collect(),
            body: body.to_owned(),
        });
        let purge = Purge {
            stream: "main".to_owned(),
            offset,
            id: format!("p{offset}"),
            order: order.as_bytes().to_vec(),
            accepted_unix_ms: 1,
            replacement,
        };
        self.say(purge_down::Message::Batch(PurgeBatch { purges: vec![purge] })).await;
    }

    pub(crate) async fn trimmed(&self, head: u64) {
        let trimmed = Trimmed { stream: "main".to_owned(), head };
        self.say(purge_down::Message::Trimmed(trimmed)).await;
    }

    async fn say(&self, message: purge_down::Message) {
        // A lane that the node gave up takes nothing more; the story goes on with the next one.
        let _ = self.down.send(Ok(PurgeDown { message: Some(message) })).await;
    }

    /// Returns once the node says that everything up to an offset is applied.
    pub(crate) async fn acknowledged(&mut self, offset: u64) {
        within(async {
            while self.applied.recv().await.expect("the lane is open").offset != offset {}
        })
        .await;
    }

    /// Ends the lane; every offset that the node said to be applied.
    pub(crate) async fn all_acknowledged(self) -> Vec<u64> {
        let Self { mut applied, down, .. } = self;
        drop(down);
        let mut offsets = Vec::new();
        within(async {
            while let Some(applied) = applied.recv().await {
                offsets.push(applied.offset);
            }
        })
        .await;
        offsets
    }

    /// Returns once the node has given the lane up.
    pub(crate) async fn given_up(&mut self) {
        within(async { while self.applied.recv().await.is_some() {} }).await;
    }
}

impl TelemetryLane {
    /// The next report.
    pub(crate) async fn report(&mut self) -> Report {
        let message = within(self.up.message()).await.unwrap().expect("the lane is open");
        match message.message {
            Some(telemetry_up::Message::Report(bytes)) => Report::from_bytes(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next round trips; reports are left out.
    pub(crate) async fn round_trips(&mut self) -> RoundTrips {
        within(async {
            loop {
                let message = self.up.message().await.unwrap().expect("the lane is open");
                if let Some(telemetry_up::Message::RoundTrips(bytes)) = message.message {
                    return RoundTrips::from_bytes(&bytes).unwrap();
                }
            }
        })
        .await
    }

    /// What clients ask for; reports are left out.
    pub(crate) async fn demand(&mut self) -> Demand {
        within(async {
            loop {
                let message = self.up.message().await.unwrap().expect("the lane is open");
                if let Some(telemetry_up::Message::Demand(bytes)) = message.message {
                    return Demand::from_bytes(&bytes).unwrap();
                }
            }
        })
        .await
    }

    pub(crate) async fn ask(&self, question: &[u8]) {
        let message = telemetry_down::Message::Question(question.to_vec());
        self.down.send(Ok(TelemetryDown { message: Some(message) })).await.unwrap();
    }

    /// The next answer: the number of its question, and what it says.
    pub(crate) async fn answer(&mut self) -> (u64, Vec<u8>) {
        within(async {
            loop {
                let message = self.up.message().await.unwrap().expect("the lane is open");
                if let Some(telemetry_up::Message::Answer(answer)) = message.message {
                    return (answer.number, answer.content);
                }
            }
        })
        .await
    }

    pub(crate) async fn order(&self, orders: &[u8]) {
        let message = telemetry_down::Message::Orders(orders.to_vec());
        self.down.send(Ok(TelemetryDown { message: Some(message) })).await.unwrap();
    }
}

impl ConfigLane {
    pub(crate) async fn send(&self, release: wire::Release) {
        let message = wire::config_down::Message::Release(release);
        self.down.send(Ok(ConfigDown { message: Some(message) })).await.unwrap();
    }

    /// Whether the node answers that it wants the whole.
    pub(crate) async fn wants_whole(&mut self) -> bool {
        self.ack().await.wants_whole
    }

    /// The node's answer to a release: the version, and what is wrong with it.
    pub(crate) async fn answer(&mut self) -> (u64, Result<(), String>) {
        let ack = self.ack().await;
        (ack.generation, if ack.applied { Ok(()) } else { Err(ack.error) })
    }

    async fn ack(&mut self) -> wire::ConfigAck {
        within(async {
            loop {
                let message = self.up.message().await.unwrap().expect("the lane is open");
                if let Some(config_up::Message::Ack(ack)) = message.message {
                    return ack;
                }
            }
        })
        .await
    }

    pub(crate) async fn health(&mut self) -> wire::Health {
        within(async {
            loop {
                let message = self.up.message().await.unwrap().expect("the lane is open");
                if let Some(config_up::Message::Health(health)) = message.message {
                    return health;
                }
            }
        })
        .await
    }
}

impl Service {
    fn certify(&self, csr_der: &[u8], node: &str) -> Result<Response<Identity>, Status> {
        let bad = |error: rcgen::Error| Status::invalid_argument(error.to_string());
        let mut csr = CertificateSigningRequestParams::from_der(&csr_der.into()).map_err(bad)?;
        let name = format!("spiffe://tidegate/pop/fra/node/{node}");
        csr.params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().unwrap())];
        csr.params.not_before = OffsetDateTime::now_utc() - self.life / 2;
        csr.params.not_after = OffsetDateTime::now_utc() + self.life / 2 + Duration::from_secs(3);
        let certificate = csr.signed_by(&self.ca).map_err(bad)?;
        Ok(Response::new(Identity {
            certificate_pem: certificate.pem().into_bytes(),
            ca_pem: self.ca.pem().into_bytes(),
            pop: "fra".to_owned(),
            node: node.to_owned(),
        }))
    }
}

type Down<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PopSync for Service {
    type PurgesStream = Down<PurgeDown>;
    type ConfigStream = Down<ConfigDown>;
    type TelemetryStream = Down<TelemetryDown>;

    async fn purges(
        &self,
        request: Request<Streaming<PurgeUp>>,
    ) -> Result<Response<Self::PurgesStream>, Status> {
        demand_certificate(&request)?;
        let mut up = request.into_inner();
        let first = up.message().await?.and_then(|message| message.message);
        let Some(purge_up::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (down, said) = mpsc::channel(16);
        let _ = self.purge_lanes.send(PurgeLane::new(hello, up, down)).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn config(
        &self,
        request: Request<Streaming<ConfigUp>>,
    ) -> Result<Response<Self::ConfigStream>, Status> {
        demand_certificate(&request)?;
        let mut up = request.into_inner();
        let first = up.message().await?.and_then(|message| message.message);
        let Some(config_up::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (down, said) = mpsc::channel(16);
        let _ = self.config_lanes.send(Lane { hello, up, down }).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn telemetry(
        &self,
        request: Request<Streaming<TelemetryUp>>,
    ) -> Result<Response<Self::TelemetryStream>, Status> {
        demand_certificate(&request)?;
        let mut up = request.into_inner();
        let first = up.message().await?.and_then(|message| message.message);
        let Some(telemetry_up::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (down, said) = mpsc::channel(16);
        let _ = self.telemetry_lanes.send(Lane { hello, up, down }).await;
        let stream: Self::TelemetryStream = Box::pin(ReceiverStream::new(said));
        let mut answer = Response::new(stream);
        if self.takes_round_trips.load(Relaxed) {
            answer.metadata_mut().insert(TAKES_ROUND_TRIPS, "1".parse().unwrap());
        }
        if self.takes_demand.load(Relaxed) {
            answer.metadata_mut().insert(TAKES_DEMAND, "1".parse().unwrap());
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Identity>, Status> {
        let request = request.into_inner();
        if request.token != TOKEN {
            return Err(Status::unauthenticated("the token was used or is unknown"));
        }
        let _ = self.identities.send("enrol").await;
        self.certify(&request.csr_der, &request.node)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Identity>, Status> {
        demand_certificate(&request)?;
        let _ = self.identities.send("renew").await;
        self.certify(&request.into_inner().csr_der, "node-1")
    }
}

fn demand_certificate<T>(request: &Request<T>) -> Result<(), Status> {
    match request.peer_certs() {
        Some(chain) if !chain.is_empty() => Ok(()),
        _ => Err(Status::unauthenticated("no client certificate")),
    }
}

fn certificates() -> (CertifiedIssuer<'static, KeyPair>, String, TlsIdentity) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca_pem = ca.pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &ca).unwrap();
    (ca, ca_pem, TlsIdentity::from_pem(certificate.pem(), key.serialize_pem()))
}

/// A condition with a limit instead of a sleep.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it happens in time")
}

/// Looks again and again until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("in time: {what}"));
}
