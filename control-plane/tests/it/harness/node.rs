//! A node as the control plane sees it: an identity, a purge lane, a configuration lane.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
};

use rcgen::{CertificateParams, KeyPair};
use tidegate_contract::{
    demand::TAKES_DEMAND,
    geo_feed::{RoundTrips, TAKES_ROUND_TRIPS},
    id::{Generation, PopId},
    node_question::{NodeAnswer, NodeQuestion},
    purge::PurgeOrder,
    release::{hash_of, root_of},
    release_compile::{Specs, compile},
    resource::{Kind, ResourceKey},
    resource_spec::Spec,
    sealing,
    snapshot::Snapshot as Config,
    telemetry::{Orders, Report},
};
use tidegate_control::wire::{
    Answer, ConfigAck, ConfigDown, ConfigHello, ConfigUp, EnrolRequest, Health, Identity as Issued,
    Purge, PurgeApplied, PurgeAsk, PurgeDown, PurgeHello, PurgeUp, Release, RenewRequest,
    TelemetryDown, TelemetryHello, TelemetryUp, config_down, config_up,
    enrolment_client::EnrolmentClient, pop_sync_client::PopSyncClient, purge_down, purge_up,
    telemetry_down, telemetry_up,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{TestControl, within};

/// A node with an identity, or without one.
#[derive(Clone)]
pub(crate) struct TestNode {
    sync: SocketAddr,
    ca_pem: String,
    pop: String,
    identity: Option<Identity>,
}

/// An open purge lane.
pub(crate) struct PurgeLane {
    up: mpsc::Sender<PurgeUp>,
    down: Streaming<PurgeDown>,
    /// The head of the heartbeat that opened the lane.
    pub(crate) head: u64,
}

/// An open configuration lane.
pub(crate) struct ConfigLane {
    up: mpsc::Sender<ConfigUp>,
    down: Streaming<ConfigDown>,
    pop: String,
    /// Hash and opened body of every resource.
    held: BTreeMap<ResourceKey, (Vec<u8>, Option<Vec<u8>>)>,
}

/// A release as it reads.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) generation: u64,
    pub(crate) digest: Vec<u8>,
    pub(crate) config: Config,
    pub(crate) message: Release,
}

/// An open telemetry lane.
pub(crate) struct TelemetryLane {
    up: mpsc::Sender<TelemetryUp>,
    down: Streaming<TelemetryDown>,
}

impl TelemetryLane {
    /// The next orders.
    pub(crate) async fn orders(&mut self) -> Orders {
        let message = self.down.message().await.expect("an open lane").expect("an open lane");
        let Some(telemetry_down::Message::Orders(bytes)) = message.message else {
            panic!("orders");
        };
        Orders::from_bytes(&bytes).expect("orders")
    }

    /// The next question; orders are left out.
    pub(crate) async fn question(&mut self) -> NodeQuestion {
        loop {
            let message = self.down.message().await.expect("an open lane").expect("an open lane");
            if let Some(telemetry_down::Message::Question(bytes)) = message.message {
                return NodeQuestion::from_bytes(&bytes).expect("a question");
            }
        }
    }

    /// What the node says to a question.
    pub(crate) async fn answer(&self, answer: &NodeAnswer) {
        let content = answer.to_bytes().expect("small").into();
        let message = telemetry_up::Message::Answer(Answer { number: answer.number, content });
        let _ = self.up.send(TelemetryUp { message: Some(message) }).await;
    }

    /// What the node measured.
    pub(crate) async fn round_trips(&self, batch: &RoundTrips) {
        let message = telemetry_up::Message::RoundTrips(batch.to_bytes().into());
        let _ = self.up.send(TelemetryUp { message: Some(message) }).await;
    }

    /// What its clients ask for, as bytes.
    pub(crate) async fn demand(&self, bytes: Vec<u8>) {
        let message = telemetry_up::Message::Demand(bytes.into());
        let _ = self.up.send(TelemetryUp { message: Some(message) }).await;
    }

    /// The error that the lane ends with.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match within(self.down.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::aborted("the lane has ended"),
                Err(status) => return status,
            }
        }
    }

    pub(crate) async fn report(&self, report: &Report) {
        let message = telemetry_up::Message::Report(report.to_bytes().into());
        let message = TelemetryUp { message: Some(message) };
        // The control plane may have gone: then the story is over.
        let _ = self.up.send(message).await;
    }
}

impl TestNode {
    /// A node that was never enrolled.
    pub(crate) fn stranger(control: &TestControl) -> Self {
        Self {
            sync: control.sync,
            ca_pem: control.ca_pem.clone(),
            pop: String::new(),
            identity: None,
        }
    }

    /// A node with an identity that it made itself.
    pub(crate) fn impostor(control: &TestControl, pop: &str, node: &str) -> Self {
        let key = KeyPair::generate().expect("random");
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://tidegate/pop/{pop}/node/{node}").try_into().expect("ascii");
        params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        let certificate = params.self_signed(&key).expect("a good key").pem();
        let identity = Identity::from_pem(certificate, key.serialize_pem());
        Self { identity: Some(identity), pop: pop.to_owned(), ..Self::stranger(control) }
    }

    /// Exchanges a one-time token for an identity.
    pub(crate) async fn enrol(
        control: &TestControl,
        token: &str,
        node: &str,
    ) -> Result<Self, Status> {
        let stranger = Self::stranger(control);
        let (key, csr_der) = csr();
        let request = EnrolRequest { token: token.to_owned(), node: node.to_owned(), csr_der };
        let mut client = EnrolmentClient::new(stranger.connect().await?);
        let issued = within(client.enrol(request)).await?.into_inner();
        Ok(stranger.with(&key, &issued))
    }

    /// Exchanges the identity for a fresh one.
    pub(crate) async fn renew(&self) -> Result<Self, Status> {
        let (key, csr_der) = csr();
        let mut client = EnrolmentClient::new(self.connect().await?);
        let issued = within(client.renew(RenewRequest { csr_der })).await?.into_inner();
        Ok(self.with(&key, &issued))
    }

    /// The same node at a control plane that listens elsewhere.
    pub(crate) fn at(&self, control: &TestControl) -> Self {
        Self { sync: control.sync, ..self.clone() }
    }

    /// Opens a purge lane; `applied` is what the node says of the stream.
    pub(crate) async fn purge_lane(&self, applied: Option<u64>) -> Result<PurgeLane, Status> {
        self.subscribe(applied, 0).await
    }

    /// Opens one of the node's two purge lanes.
    pub(crate) async fn subscribe(
        &self,
        applied: Option<u64>,
        subscription: u32,
    ) -> Result<PurgeLane, Status> {
        let (up, ups) = mpsc::channel(16);
        let applied: HashMap<_, _> =
            applied.map(|offset| ("main".to_owned(), offset)).into_iter().collect();
        let hello = PurgeHello { applied, build: "test".to_owned(), subscription, unpacks: false };
        let hello = PurgeUp { message: Some(purge_up::Message::Hello(hello)) };
        up.send(hello).await.expect("room");
        let mut client = PopSyncClient::new(self.connect().await?);
        let down = within(client.purges(ReceiverStream::new(ups))).await?.into_inner();
        let mut lane = PurgeLane { up, down, head: 0 };
        match lane.next().await? {
            purge_down::Message::Heartbeat(beat) => lane.head = beat.head["main"],
            other => panic!("a lane begins with a heartbeat, not {other:?}"),
        }
        Ok(lane)
    }

    /// Opens a configuration lane; the node says that it runs this generation.
    pub(crate) async fn config_lane(
        &self,
        generation: u64,
        digest: &[u8],
    ) -> Result<ConfigLane, Status> {
        let (up, ups) = mpsc::channel(16);
        let digest = digest.to_vec().into();
        let private = PrivateKey::from_private_key(&X25519, &SEALING_KEY).expect("a key");
        let sealing_key = private.compute_public_key().expect("a key").as_ref().to_vec().into();
        let build = "test".to_owned();
        let hello = ConfigHello { generation, digest, build, sealing_key, floor: 0 };
        let hello = ConfigUp { message: Some(config_up::Message::Hello(hello)) };
        up.send(hello).await.expect("room");
        let mut client =
            PopSyncClient::new(self.connect().await?).max_decoding_message_size(32 << 20);
        let down = within(client.config(ReceiverStream::new(ups))).await?.into_inner();
        Ok(ConfigLane { up, down, pop: self.pop.clone(), held: BTreeMap::new() })
    }

    /// Opens a telemetry lane.
    pub(crate) async fn telemetry_lane(&self) -> Result<TelemetryLane, Status> {
        self.telemetry_lane_of(true).await
    }

    /// Opens a telemetry lane of a build that answers questions, or of one that does not.
    pub(crate) async fn telemetry_lane_of(&self, answers: bool) -> Result<TelemetryLane, Status> {
        let (up, ups) = mpsc::channel(16);
        let hello = TelemetryHello { build: "test".to_owned(), answers };
        let hello = TelemetryUp { message: Some(telemetry_up::Message::Hello(hello)) };
        up.send(hello).await.expect("room");
        let mut client = PopSyncClient::new(self.connect().await?);
        let answer = within(client.telemetry(ReceiverStream::new(ups))).await?;
        assert!(answer.metadata().contains_key(TAKES_ROUND_TRIPS));
        assert!(answer.metadata().contains_key(TAKES_DEMAND));
        Ok(TelemetryLane { up, down: answer.into_inner() })
    }

    async fn connect(&self) -> Result<Channel, Status> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .domain_name("localhost");
        let tls = match &self.identity {
            Some(identity) => tls.identity(identity.clone()),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.sync)).expect("a url");
        let endpoint = endpoint.tls_config(tls).expect("good pem");
        within(endpoint.connect()).await.map_err(|error| Status::unavailable(error.to_string()))
    }

    fn with(&self, key: &KeyPair, issued: &Issued) -> Self {
        let identity = Identity::from_pem(&issued.certificate_pem, key.serialize_pem());
        Self { identity: Some(identity), pop: issued.pop.clone(), ..self.clone() }
    }
}

impl PurgeLane {
    /// The next purges, heartbeats left out.
    pub(crate) async fn batch(&mut self) -> Vec<(u64, PurgeOrder)> {
        let read = |purge: Purge| {
            let order = serde_json::from_slice(&purge.order).expect("an order");
            (purge.offset, order)
        };
        self.purges().await.into_iter().map(read).collect()
    }

    /// The same as they travel.
    pub(crate) async fn purges(&mut self) -> Vec<Purge> {
        let batch = async {
            loop {
                match self.next().await.expect("an open lane") {
                    purge_down::Message::Heartbeat(_) => {}
                    purge_down::Message::Batch(batch) => return batch.purges,
                    other => panic!("{other:?}"),
                }
            }
        };
        // Heartbeats come for ever: the limit is on the whole wait.
        within(batch).await
    }

    /// Purges until one has this offset; checks that none is missing, doubled or out of order.
    pub(crate) async fn until(&mut self, mut after: u64, last: u64) {
        while after < last {
            for (offset, _) in self.batch().await {
                assert_eq!(offset, after + 1);
                after = offset;
            }
        }
    }

    /// The next message; an error when the lane has ended.
    pub(crate) async fn next(&mut self) -> Result<purge_down::Message, Status> {
        let message = within(self.down.message()).await?;
        let message = message.ok_or_else(|| Status::aborted("the lane has ended"))?;
        Ok(message.message.expect("a message"))
    }

    /// The error that the lane ends with.
    pub(crate) async fn end(&mut self) -> Status {
        let end = async {
            loop {
                if let Err(status) = self.next().await {
                    return status;
                }
            }
        };
        within(end).await
    }

    /// Asks for the head and reads until the answer; gives back its head.
    pub(crate) async fn ask(&mut self, number: u64) -> u64 {
        let ask = purge_up::Message::Ask(PurgeAsk { number });
        self.up.send(PurgeUp { message: Some(ask) }).await.expect("an open lane");
        let answer = async {
            loop {
                if let purge_down::Message::Heartbeat(beat) = self.next().await.expect("open")
                    && beat.answers >= number
                {
                    assert_eq!(beat.answers, number, "more was never asked");
                    return beat.head["main"];
                }
            }
        };
        within(answer).await
    }

    /// Says that everything up to an offset is applied.
    pub(crate) async fn ack(&self, offset: u64) {
        let applied = PurgeApplied { stream: "main".to_owned(), offset };
        let message = PurgeUp { message: Some(purge_up::Message::Applied(applied)) };
        self.up.send(message).await.expect("an open lane");
    }
}

impl ConfigLane {
    /// The next release, as a node takes it: on top of what it holds, with the root checked.
    pub(crate) async fn release(&mut self) -> Taken {
        loop {
            let message = within(self.down.message()).await.expect("an open lane");
            let message = message.expect("an open lane").message.expect("a message");
            let config_down::Message::Release(message) = message;
            if message.from_root.is_empty() || message.from_root == self.root() {
                return self.take(message);
            }
            // It was made before an acknowledgement arrived.
            let generation = message.header.as_ref().expect("a header").version;
            self.wants_whole(generation, message.nonce).await;
        }
    }

    /// The node holds what it held on another lane.
    pub(crate) fn holds(&mut self, before: &Self) {
        self.held.clone_from(&before.held);
    }

    /// As [`Self::release`], acknowledged.
    pub(crate) async fn applied(&mut self) -> Taken {
        let taken = self.release().await;
        self.ack(taken.generation, None).await;
        taken
    }

    fn take(&mut self, message: Release) -> Taken {
        if message.from_root.is_empty() {
            self.held.clear();
        } else {
            assert_eq!(message.from_root, self.root(), "a difference from what this node holds");
        }
        for key in &message.del {
            self.held.remove(&ResourceKey::parse(key).expect("a key")).expect("there");
        }
        for item in &message.put {
            let key = ResourceKey::parse(&item.key).expect("a key");
            let opened = item.sealed.as_ref().map(|sealed| open(&key, &item.hash, sealed));
            let body = item.body.as_ref().map(|body| body.to_vec()).or(opened);
            if let Some(body) = &body {
                assert_eq!(hash_of(body)[..], item.hash[..], "{key}");
            }
            if key.kind == Kind::Secret {
                assert_eq!(item.body, None, "no secret travels in clear");
            }
            self.held.insert(key, (item.hash.to_vec(), body));
        }
        let header = message.header.clone().expect("a header");
        assert_eq!(header.root, self.root(), "the root that was signed");
        let specs: Specs = self
            .held
            .iter()
            .filter_map(|(key, (_, body))| Some((key, body.as_ref()?)))
            .map(|(key, body)| {
                (key.clone(), Spec::parse(key.kind, &key.name, body).expect("a good spec"))
            })
            .collect();
        let pop = PopId::parse(self.pop.as_str()).expect("good");
        let config = compile(&specs, &pop, Generation(header.version)).expect("it compiles");
        let digest = header.root.to_vec();
        Taken { generation: header.version, digest, config, message }
    }

    fn root(&self) -> Vec<u8> {
        let leaf = |(key, (hash, _)): (&ResourceKey, &(Vec<u8>, _))| {
            (key.clone(), hash.as_slice().try_into().expect("32 bytes"))
        };
        let leaves: Vec<_> = self.held.iter().map(leaf).collect();
        root_of(leaves.iter().map(|(key, hash)| (key, hash))).to_vec()
    }

    /// The error that the lane ends with.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match within(self.down.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::aborted("the lane has ended"),
                Err(status) => return status,
            }
        }
    }

    /// Says that a generation runs, or why it does not.
    pub(crate) async fn ack(&self, generation: u64, error: Option<&str>) {
        let ack = ConfigAck {
            generation,
            applied: error.is_none(),
            error: error.unwrap_or_default().to_owned(),
            ..ConfigAck::default()
        };
        self.send(config_up::Message::Ack(ack)).await;
    }

    /// Says that a difference did not fit.
    pub(crate) async fn wants_whole(&self, generation: u64, nonce: u64) {
        let ack = ConfigAck { generation, nonce, wants_whole: true, ..ConfigAck::default() };
        self.send(config_up::Message::Ack(ack)).await;
    }

    /// Tells of the node's health.
    pub(crate) async fn health(&self, ready: bool, draining: bool) {
        let health =
            Health { ready, draining, requests_total: 1000, hits_total: 950, ..Health::default() };
        self.send(config_up::Message::Health(health)).await;
    }

    async fn send(&self, message: config_up::Message) {
        self.up.send(ConfigUp { message: Some(message) }).await.expect("an open lane");
    }
}

/// Opens a secret as a node does.
fn open(key: &ResourceKey, hash: &[u8], sealed: &[u8]) -> Vec<u8> {
    let own = PrivateKey::from_private_key(&X25519, &SEALING_KEY).expect("a key");
    let public = own.compute_public_key().expect("a key");
    let (ephemeral, rest) = sealed.split_at(sealing::PUBLIC_KEY_BYTES);
    let theirs = UnparsedPublicKey::new(&X25519, ephemeral);
    let secret = agree(&own, theirs, "no agreement", |agreed| {
        Ok(sealing::key_of(agreed, ephemeral, public.as_ref()))
    });
    let secret = UnboundKey::new(&AES_256_GCM, &secret.expect("a key")).expect("a key");
    let bound = sealing::bound_to(key, hash.try_into().expect("32 bytes"));
    let mut rest = rest.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let opened = LessSafeKey::new(secret).open_in_place(nonce, Aad::from(bound), &mut rest);
    opened.expect("sealed for this node").to_vec()
}

/// The private key of every node here.
const SEALING_KEY: [u8; 32] = [7; 32];

fn csr() -> (KeyPair, bytes::Bytes) {
    let key = KeyPair::generate().expect("random");
    let request = CertificateParams::default().serialize_request(&key).expect("a good key");
    (key, request.der().to_vec().into())
}
