//! The port that nodes dial: purges, configuration, enrolment.
//!
//! Whoever calls is who its certificate says, never who a message says. A lane writes from the log or the newest
//! snapshot at the pace of its node; nothing is queued for a node beyond a few messages.

mod purge_lane;
mod batches; // packed once for all lanes
mod rest; // how long lanes gather
pub mod purge_cursor; // what a lane says next
mod config_lane;
mod telemetry_lane;
mod enrolment;
mod caller;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{demand::TAKES_DEMAND, geo_feed::TAKES_ROUND_TRIPS};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue, transport::Server};

use crate::{
    access::Access,
    ca::{Authority, Peer},
    demand::Demand,
    drain::Drains,
    errands::Errands,
    fleet::{Fleet, Lane, LaneGuard, Subscription},
    geo::Geo,
    health::Reports,
    leader::Leader,
    listener::Connection,
    metrics::Metrics,
    purge::Purges,
    questions::Questions,
    rate::Rate,
    release::Releases,
    rotation::Rotation,
    store::Registry,
    wire::{
        ConfigDown, ConfigUp, PurgeDown, PurgeUp, TelemetryDown, TelemetryUp, config_up,
        enrolment_server::EnrolmentServer,
        pop_sync_server::{PopSync, PopSyncServer},
        purge_up, telemetry_up,
    },
};

use self::{enrolment::Enrolments, purge_lane::Moments};

/// Settings of the port for nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often each node gets a heartbeat; well below the lease, so that one may be lost.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long a node may take to say hello on a lane.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// After this silence on a connection the node is pinged.
    #[serde(with = "humantime_serde")]
    pub keepalive: Duration,
    /// A connection without an answer to a ping for so long is closed.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
    /// Purges of one message.
    pub batch_purges_max: usize,
    /// For how long purges gather behind one that was sent to a node, so that they travel as one message; one that comes
    /// alone never waits.
    #[serde(with = "humantime_serde")]
    pub batch_pause: Duration,
    /// For how long they gather at the most: the more a message carried, the longer the rest behind it. That bounds what a
    /// purge costs while many come; and this, what that adds to its way.
    #[serde(with = "humantime_serde")]
    pub batch_pause_max: Duration,
    /// Messages that wait for a slow node on each lane; above that the lane stops reading the log.
    pub queue_messages_max: usize,
    /// Calls at a time on one connection.
    pub calls_per_connection_max: u32,
    /// Nodes of one PoP.
    pub nodes_per_pop_max: usize,
    /// How often anybody may try to enrol a node.
    pub enrolment_rate: Rate,
    /// How often a node may renew its identity.
    pub renewal_rate: Rate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            hello_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(5),
            batch_purges_max: 256,
            batch_pause: Duration::from_millis(20),
            batch_pause_max: Duration::from_millis(80),
            queue_messages_max: 4,
            calls_per_connection_max: 16,
            nodes_per_pop_max: 64,
            enrolment_rate: Rate { per_second: 5.0, burst: 50.0 },
            renewal_rate: Rate { per_second: 0.1, burst: 10.0 },
        }
    }
}

/// What the port needs of the program. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// The purges.
    pub purges: Purges,
    /// The releases.
    pub releases: Releases,
    /// Tokens, approvals, the audit log.
    pub access: Access,
    /// The fleet.
    pub fleet: Fleet,
    /// Whether this replica leads.
    pub leader: Leader,
    /// What is registered.
    pub store: Registry,
    /// What nodes say of themselves and others.
    pub reports: Reports,
    /// What clients ask for most.
    pub demand: Demand,
    /// What single nodes shall do once.
    pub errands: Errands,
    /// What single nodes are asked.
    pub questions: Questions,
    /// What they shall do about routes and clients.
    pub drains: Drains,
    /// What the DNS is told.
    pub geo: Geo,
    /// The authority.
    pub authority: Arc<Authority>,
    /// What moves it to the next.
    pub rotation: Rotation,
    /// The time of day.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// The drain.
    pub drain: Drain,
}

/// Serves the port until the drain.
///
/// # Errors
/// The server ended by itself.
pub async fn serve(
    config: Config,
    parts: Parts,
    connections: mpsc::Receiver<Connection>,
) -> anyhow::Result<()> {
    let drain = parts.drain.clone();
    let enrolments = Enrolments::new(&config, parts.clone());
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(config.keepalive))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .max_concurrent_streams(config.calls_per_connection_max)
        .http2_max_header_list_size(HEADER_BYTES_MAX);
    let lanes = Lanes { config: Arc::new(config), parts, moments: Arc::default() };
    let lanes = PopSyncServer::new(lanes).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let enrolments = EnrolmentServer::new(enrolments).max_decoding_message_size(MESSAGE_BYTES_MAX);
    server
        .add_service(lanes)
        .add_service(enrolments)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections).map(Ok::<_, std::io::Error>),
            async move { drain.started().await },
        )
        .await?;
    Ok(())
}

struct Lanes {
    config: Arc<Config>,
    parts: Parts,
    moments: Arc<Moments>,
}

#[tonic::async_trait]
impl PopSync for Lanes {
    type PurgesStream = ReceiverStream<Result<PurgeDown, Status>>;
    type ConfigStream = ReceiverStream<Result<ConfigDown, Status>>;
    type TelemetryStream = ReceiverStream<Result<TelemetryDown, Status>>;

    async fn purges(
        &self,
        request: Request<Streaming<PurgeUp>>,
    ) -> Result<Response<Self::PurgesStream>, Status> {
        let peer = caller::node(&request, &self.parts).await?;
        let mut up = request.into_inner();
        let Some(purge_up::Message::Hello(hello)) = self.first(&mut up).await?.message else {
            return Err(no_hello());
        };
        let lane = Lane::Purges(Subscription::of(hello.subscription));
        let guard = self.open(&peer, lane, &hello.build).await?;
        let (down, stream) = mpsc::channel(self.config.queue_messages_max.max(1));
        let (config, parts) = (Arc::clone(&self.config), self.parts.clone());
        let moments = Arc::clone(&self.moments);
        tokio::spawn(async move {
            let words = purge_lane::run((&config, &moments), &parts, hello, up, &down, &guard);
            let end = until_end(words, &parts, &guard, &peer).await;
            close(end, &down, &guard, lane);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn config(
        &self,
        request: Request<Streaming<ConfigUp>>,
    ) -> Result<Response<Self::ConfigStream>, Status> {
        let peer = caller::node(&request, &self.parts).await?;
        let mut up = request.into_inner();
        let Some(config_up::Message::Hello(hello)) = self.first(&mut up).await?.message else {
            return Err(no_hello());
        };
        let guard = self.open(&peer, Lane::Config, &hello.build).await?;
        let (down, stream) = mpsc::channel(self.config.queue_messages_max.max(1));
        let parts = self.parts.clone();
        tokio::spawn(async move {
            let lane = config_lane::run(&parts, hello, up, &down, &guard);
            let end = until_end(lane, &parts, &guard, &peer).await;
            close(end, &down, &guard, Lane::Config);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn telemetry(
        &self,
        request: Request<Streaming<TelemetryUp>>,
    ) -> Result<Response<Self::TelemetryStream>, Status> {
        let peer = caller::node(&request, &self.parts).await?;
        let mut up = request.into_inner();
        let Some(telemetry_up::Message::Hello(hello)) = self.first(&mut up).await?.message else {
            return Err(no_hello());
        };
        let guard = self.open(&peer, Lane::Telemetry, &hello.build).await?;
        let (down, stream) = mpsc::channel(self.config.queue_messages_max.max(1));
        let parts = self.parts.clone();
        tokio::spawn(async move {
            let lane = telemetry_lane::run(&parts, up, (&down, hello.answers), &guard);
            let end = until_end(lane, &parts, &guard, &peer).await;
            close(end, &down, &guard, Lane::Telemetry);
        });
        let mut answer = Response::new(ReceiverStream::new(stream));
        let takes = MetadataValue::from_static("1");
        answer.metadata_mut().insert(TAKES_ROUND_TRIPS, takes.clone());
        answer.metadata_mut().insert(TAKES_DEMAND, takes);
        Ok(answer)
    }
}

impl Lanes {
    async fn first<T>(&self, up: &mut Streaming<T>) -> Result<T, Status> {
        timeout(self.config.hello_timeout, up.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello in time"))??
            .ok_or_else(no_hello)
    }

    async fn open(&self, peer: &Peer, lane: Lane, build: &str) -> Result<LaneGuard, Status> {
        let guard = self.parts.fleet.open_lane(&peer.name, lane, build);
        let guard = guard.ok_or_else(caller::unknown)?;
        // Once more: had the node been enrolled again since the call began, nothing would end this lane.
        caller::check_serial(peer, &self.parts).await?;
        tracing::info!(node = %peer.name, lane = lane.as_str(), "lane opened");
        Ok(guard)
    }
}

/// Runs a lane until it ends by itself, is to end, or the identity behind it has.
async fn until_end(
    lane: impl Future<Output = Result<(), Status>>,
    parts: &Parts,
    guard: &LaneGuard,
    peer: &Peer,
) -> Result<(), Status> {
    let left = peer.expires.duration_since(parts.clock.now()).unwrap_or_default();
    tokio::select! {
        end = lane => end,
        () = guard.ended() => Err(Status::aborted("another lane took this one's place")),
        () = parts.drain.started() => Err(Status::unavailable("the control plane drains")),
        () = sleep_until(Instant::now() + left) => Err(caller::expired()),
    }
}

fn close<T>(
    end: Result<(), Status>,
    down: &mpsc::Sender<Result<T, Status>>,
    guard: &LaneGuard,
    lane: Lane,
) {
    let reason = end.as_ref().err().map_or("closed by the node", Status::message);
    tracing::info!(node = %guard.name(), lane = lane.as_str(), reason, "lane closed");
    if let Err(status) = end {
        // A node that does not read finds the end of the stream instead.
        let _ = down.try_send(Err(status));
    }
}

fn no_hello() -> Status {
    Status::invalid_argument("a lane begins with hello")
}

/// The largest message of a node; all of them are small.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const HEADER_BYTES_MAX: u32 = 16 * 1024;
