//! A node that follows purges at whichever replica answers, as PoPs do.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::Message as _;
use rcgen::{CertificateParams, KeyPair};
use tidegate_contract::{
    demand::Demand,
    node_question::{NodeAnswer, NodeQuestion, Said},
    packed::unpack,
    telemetry::Report,
};
use tidegate_control::wire::{
    Answer, ConfigHello, ConfigUp, EnrolRequest, Health, PurgeApplied, PurgeBatch, PurgeHello,
    PurgeUp, RenewRequest, TelemetryHello, TelemetryUp, config_up,
    enrolment_client::EnrolmentClient, pop_sync_client::PopSyncClient, purge_down, purge_up,
    telemetry_down, telemetry_up,
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{until, within};

/// An enrolled node that follows the purges until it is dropped.
pub(crate) struct Node {
    /// The offset up to which it has applied all purges, each once and in order.
    pub(crate) applied: Arc<AtomicU64>,
    /// How often it connected.
    pub(crate) connects: Arc<AtomicU64>,
    /// Whether it was ever told that the log does not hold what it missed.
    pub(crate) gaps: Arc<AtomicU64>,
    ca_pem: String,
    identity: Identity,
    task: JoinHandle<()>,
}

impl Node {
    /// Exchanges a token for an identity at one replica, and begins to follow at any of them.
    pub(crate) async fn start(
        ca_pem: &str,
        replicas: Vec<SocketAddr>,
        token: &str,
        name: &str,
    ) -> Self {
        Self::start_at(ca_pem, replicas, token, name, 0).await
    }

    /// The same, of a node that says that it has applied so much.
    pub(crate) async fn start_at(
        ca_pem: &str,
        replicas: Vec<SocketAddr>,
        token: &str,
        name: &str,
        applied: u64,
    ) -> Self {
        let key = KeyPair::generate().expect("random");
        let csr = CertificateParams::default().serialize_request(&key).expect("a good key");
        let stranger = connect(ca_pem, replicas[0], None).await.expect("it listens");
        let request = EnrolRequest {
            token: token.to_owned(),
            node: name.to_owned(),
            csr_der: csr.der().to_vec().into(),
        };
        let issued = within(EnrolmentClient::new(stranger).enrol(request)).await;
        let issued = issued.expect("a good token").into_inner();
        let identity = Identity::from_pem(&issued.certificate_pem, key.serialize_pem());
        let (applied, connects, gaps): (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>) =
            (Arc::new(AtomicU64::new(applied)), Arc::default(), Arc::default());
        let ca_pem = ca_pem.to_owned();
        let follower = Follower {
            ca_pem: ca_pem.clone(),
            identity: identity.clone(),
            applied: Arc::clone(&applied),
            connects: Arc::clone(&connects),
            gaps: Arc::clone(&gaps),
        };
        let task = tokio::spawn(follower.run(replicas));
        Self { applied, connects, gaps, ca_pem, identity, task }
    }

    /// Says how it is to one replica, several times a second, until the task is ended; who asks it there is told where that
    /// was.
    pub(crate) async fn reports(&self, replica: SocketAddr, report: Report) -> JoinHandle<()> {
        self.tells(replica, report, None).await
    }

    /// Says how it is to one replica, several times a second, and each time what its clients asked for since.
    pub(crate) async fn tells(
        &self,
        replica: SocketAddr,
        report: Report,
        demand: Option<Demand>,
    ) -> JoinHandle<()> {
        let say = |message| TelemetryUp { message: Some(message) };
        // Another replica than the one that enrolled it hears of that a moment later.
        let (up, down) = until(async || {
            let (up, ups) = mpsc::channel(16);
            let hello = TelemetryHello { build: "test".to_owned(), answers: true };
            up.send(say(telemetry_up::Message::Hello(hello))).await.expect("room");
            let channel = connect(&self.ca_pem, replica, Some(self.identity.clone())).await.ok()?;
            let mut client = PopSyncClient::new(channel);
            Some((up, client.telemetry(ReceiverStream::new(ups)).await.ok()?))
        })
        .await;
        tokio::spawn(async move {
            let mut down = down.into_inner();
            let report = telemetry_up::Message::Report(report.to_bytes().into());
            let demand =
                demand.map(|demand| telemetry_up::Message::Demand(demand.to_bytes().into()));
            let tell = async {
                loop {
                    for message in [Some(&report), demand.as_ref()].into_iter().flatten() {
                        if up.send(say(message.clone())).await.is_err() {
                            return;
                        }
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            };
            let answer = async {
                while let Ok(Some(message)) = down.message().await {
                    let Some(telemetry_down::Message::Question(bytes)) = message.message else {
                        continue;
                    };
                    let NodeQuestion { number, .. } =
                        NodeQuestion::from_bytes(&bytes).expect("a question");
                    let said = Said::Refused(format!("asked at {replica}"));
                    let answer = NodeAnswer { number, at_unix_ms: 1, said };
                    let content = answer.to_bytes().expect("small").into();
                    let answer = telemetry_up::Message::Answer(Answer { number, content });
                    let _ = up.send(say(answer)).await;
                }
            };
            tokio::join!(tell, answer);
        })
    }
}

impl Node {
    /// Opens a configuration lane at one replica and says there, several times a second, whom it believes and who signed
    /// its certificate, until the task is ended. It runs a release with this root.
    pub(crate) async fn says(
        &self,
        ca_pem: &str,
        replica: SocketAddr,
        authorities: &[u64],
        signed_by: u64,
        (generation, root): &(u64, Vec<u8>),
    ) -> JoinHandle<()> {
        let say = |message| ConfigUp { message: Some(message) };
        let (up, down) = until(async || {
            let (up, ups) = mpsc::channel(16);
            let sealing_key = bytes::Bytes::from_static(&[9; 32]);
            let build = "test".to_owned();
            let (generation, digest) = (*generation, root.clone().into());
            let hello = ConfigHello { generation, digest, build, sealing_key, floor: 0 };
            up.send(say(config_up::Message::Hello(hello))).await.expect("room");
            let channel = connect(ca_pem, replica, Some(self.identity.clone())).await.ok()?;
            let mut client = PopSyncClient::new(channel);
            Some((up, client.config(ReceiverStream::new(ups)).await.ok()?.into_inner()))
        })
        .await;
        let health = Health { ready: true, signed_by, ..Health::default() };
        let health = Health { authorities: authorities.to_vec(), ..health };
        tokio::spawn(async move {
            let mut down = down;
            let read = async { while let Ok(Some(_)) = down.message().await {} };
            let write = async {
                while up.send(say(config_up::Message::Health(health.clone()))).await.is_ok() {
                    sleep(Duration::from_millis(200)).await;
                }
            };
            tokio::join!(read, write);
        })
    }

    /// The same node with a fresh identity, which follows nothing.
    pub(crate) async fn renewed(&self, ca_pem: &str, replica: SocketAddr) -> Self {
        let key = KeyPair::generate().expect("random");
        let csr = CertificateParams::default().serialize_request(&key).expect("a good key");
        let channel = connect(ca_pem, replica, Some(self.identity.clone())).await;
        let request = RenewRequest { csr_der: csr.der().to_vec().into() };
        let mut client = EnrolmentClient::new(channel.expect("it listens"));
        let issued = within(client.renew(request)).await.expect("enrolled").into_inner();
        Self {
            applied: Arc::default(),
            connects: Arc::default(),
            gaps: Arc::default(),
            ca_pem: ca_pem.to_owned(),
            identity: Identity::from_pem(&issued.certificate_pem, key.serialize_pem()),
            task: tokio::spawn(async {}),
        }
    }

    /// Whether a replica that shows a certificate of this authority lets the node in.
    pub(crate) async fn is_let_in(&self, ca_pem: &str, replica: SocketAddr) -> bool {
        let Ok(channel) = connect(ca_pem, replica, Some(self.identity.clone())).await else {
            return false;
        };
        let (up, ups) = mpsc::channel(1);
        let hello = TelemetryHello { build: "test".to_owned(), answers: true };
        let hello = TelemetryUp { message: Some(telemetry_up::Message::Hello(hello)) };
        up.send(hello).await.expect("room");
        let mut client = PopSyncClient::new(channel);
        within(client.telemetry(ReceiverStream::new(ups))).await.is_ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    ca_pem: String,
    identity: Identity,
    applied: Arc<AtomicU64>,
    connects: Arc<AtomicU64>,
    gaps: Arc<AtomicU64>,
}

impl Follower {
    async fn run(self, replicas: Vec<SocketAddr>) {
        let mut next = rand::random_range(0..replicas.len());
        loop {
            self.connects.fetch_add(1, Ordering::Relaxed);
            let _ = self.lane(replicas[next]).await;
            next = (next + 1) % replicas.len();
            // Full jitter, as the PoP agent has it.
            sleep(Duration::from_millis(rand::random_range(50..500))).await;
        }
    }

    async fn lane(&self, replica: SocketAddr) -> Result<(), Status> {
        let channel = connect(&self.ca_pem, replica, Some(self.identity.clone())).await?;
        let (up, ups) = mpsc::channel(16);
        let applied = HashMap::from([(STREAM.to_owned(), self.applied.load(Ordering::SeqCst))]);
        let hello = PurgeHello {
            applied,
            build: "test".to_owned(),
            unpacks: true,
            ..PurgeHello::default()
        };
        let say = |message| PurgeUp { message: Some(message) };
        let _ = up.send(say(purge_up::Message::Hello(hello))).await;
        let mut client = PopSyncClient::new(channel);
        let mut down = client.purges(ReceiverStream::new(ups)).await?.into_inner();
        while let Some(message) = down.message().await? {
            match message.message.expect("a message") {
                purge_down::Message::Heartbeat(_) => continue,
                purge_down::Message::Trimmed(trimmed) => {
                    self.gaps.fetch_add(1, Ordering::Relaxed);
                    self.applied.store(trimmed.head, Ordering::SeqCst);
                }
                purge_down::Message::Batch(batch) => self.apply(batch),
                purge_down::Message::Packed(packed) => {
                    let plain =
                        unpack(&packed.packed, packed.plain_bytes as usize, BATCH_BYTES_MAX);
                    let batch = PurgeBatch::decode(&plain.expect("good")[..]).expect("a batch");
                    assert_eq!(batch.purges.last().expect("never empty").offset, packed.last);
                    self.apply(batch);
                }
            }
            let offset = self.applied.load(Ordering::SeqCst);
            let applied = PurgeApplied { stream: STREAM.to_owned(), offset };
            let _ = up.send(say(purge_up::Message::Applied(applied))).await;
        }
        Ok(())
    }
}

impl Follower {
    fn apply(&self, batch: PurgeBatch) {
        for purge in batch.purges {
            let before = self.applied.fetch_add(1, Ordering::SeqCst);
            // A hole or a double would move this node away from the head for ever.
            assert_eq!(purge.offset, before + 1, "in order, each once");
        }
    }
}

async fn connect(
    ca_pem: &str,
    replica: SocketAddr,
    identity: Option<Identity>,
) -> Result<Channel, Status> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca_pem))
        .domain_name("localhost");
    let tls = identity.into_iter().fold(tls, ClientTlsConfig::identity);
    let endpoint = Endpoint::from_shared(format!("https://{replica}")).expect("a url");
    let endpoint = endpoint.tls_config(tls).expect("good pem");
    within(endpoint.connect()).await.map_err(|error| Status::unavailable(error.to_string()))
}

const STREAM: &str = "main";
const BATCH_BYTES_MAX: usize = 1 << 20;
