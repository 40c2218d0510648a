//! Connections to the control plane, and the loop that keeps one lane open over them.
//!
//! Each lane has a connection of its own, so that a purge never queues behind a snapshot in one TCP stream. A lane
//! that ends, for whatever reason, is opened again after a jittered wait; it never ends the process.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

use super::{
    authorities::Authorities, backoff::Backoff, config::Config, follower::FollowError,
    identity::Identity, lane_board::LaneBoard, place::Places, turn::Turn,
};

/// How to reach the control plane.
#[derive(Clone)]
pub(super) struct Link {
    endpoints: Arc<[Endpoint]>,
    authorities: Authorities,
    server_name: Option<String>,
    connect_timeout: Duration,
    settled_after: Duration,
    backoff: Backoff,
    board: LaneBoard,
}

/// The identity in use; `None` until the node is enrolled.
pub(super) type IdentityInUse = watch::Receiver<Option<Arc<Identity>>>;

/// Why a connection or a lane ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneError {
    #[error("cannot connect within {0:?}")]
    ConnectTimeout(Duration),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the control plane ended the lane: {0}")]
    Status(#[from] tonic::Status),
    #[error("the control plane closed the lane")]
    Closed,
    #[error("no word from the control plane for {0:?}")]
    Silent(Duration),
    #[error("the control plane does not read what this node says")]
    Stuck,
    #[error(transparent)]
    Follow(#[from] FollowError),
}

/// One lane: a conversation that goes on until something breaks.
pub(super) trait Lane: Send {
    /// The name in logs.
    const NAME: &'static str;

    /// Talks until something ends it: there is no good end.
    fn converse(
        &mut self,
        channel: Channel,
        identity: &Identity,
    ) -> impl Future<Output = LaneError> + Send;

    /// Finishes what a conversation that was cut off has begun.
    fn settle(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl Link {
    /// Prepares connections to whoever these authorities vouch for.
    pub(super) fn new(config: &Config, authorities: Authorities) -> Result<Self, LaneError> {
        let endpoints: Result<_, _> =
            config.endpoints.iter().map(|text| endpoint(text, config)).collect();
        Ok(Self {
            endpoints: endpoints.map_err(|error| LaneError::Connect(with_causes(&error)))?,
            authorities,
            server_name: config.server_name.clone(),
            connect_timeout: config.connect_timeout,
            settled_after: config.backoff_max,
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            board: LaneBoard::default(),
        })
    }

    /// Which lanes are open.
    pub(super) fn board(&self) -> LaneBoard {
        self.board.clone()
    }

    /// The waits between two tries.
    pub(super) fn backoff(&self) -> Backoff {
        self.backoff.clone()
    }

    /// Connects to one of the endpoints: the `turn`-th, counted round and round.
    pub(super) async fn connect(
        &self,
        identity: Option<&Identity>,
        turn: usize,
    ) -> Result<Channel, LaneError> {
        let ca = Certificate::from_pem(&self.authorities.now().pem);
        let mut tls = ClientTlsConfig::new().ca_certificate(ca).timeout(self.connect_timeout);
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        if let Some(identity) = identity {
            tls = tls.identity(TlsIdentity::from_pem(&identity.chain_pem, &identity.key_pem));
        }
        let broken = |error: tonic::transport::Error| LaneError::Connect(with_causes(&error));
        let endpoint = self.endpoints[turn % self.endpoints.len()].clone();
        let endpoint = endpoint.tls_config(tls).map_err(broken)?;
        match timeout(self.connect_timeout, endpoint.connect()).await {
            Ok(connected) => connected.map_err(broken),
            Err(_) => Err(LaneError::ConnectTimeout(self.connect_timeout)),
        }
    }

    /// Keeps a lane open, at the places of the lane with a number, for as long as the process lives and it is its turn to
    /// talk.
    pub(super) async fn keep<L: Lane>(
        &self,
        mut lane: L,
        identity: IdentityInUse,
        (places, number): (Places, usize),
        whose: Turn,
    ) {
        self.board.begin((L::NAME, number));
        loop {
            let _talking = whose.begin().await;
            tokio::select! {
                () = self.keep_open(&mut lane, identity.clone(), &places, number) => return,
                () = whose.ended() => {}
            }
            self.board.closed((L::NAME, number), &"another process has it");
            lane.settle().await;
            tracing::info!(lane = L::NAME, "another process has the lane from now on");
        }
    }

    async fn keep_open<L: Lane>(
        &self,
        lane: &mut L,
        mut identity: IdentityInUse,
        places: &Places,
        number: usize,
    ) {
        let mut backoff = self.backoff();
        loop {
            let current = match identity.wait_for(Option::is_some).await {
                Ok(identity) => identity.clone(),
                // The holder of the identity is gone: the process is ending.
                Err(_) => return,
            };
            let Some(current) = current else { continue };
            let began = Instant::now();
            let place = places.current(number);
            let ended = match self.connect(Some(&current), place).await {
                Ok(channel) => {
                    tracing::info!(lane = L::NAME, place, "the control plane is reached");
                    self.board.opened((L::NAME, number), self.endpoint(place));
                    lane.converse(channel, &current).await
                }
                Err(error) => error,
            };
            self.board.closed((L::NAME, number), &ended);
            // A lane that breaks at once, again and again, must not be opened again and again at once.
            if began.elapsed() > self.settled_after {
                backoff.reset();
            }
            let wait = backoff.next(rand::random());
            tracing::warn!(lane = L::NAME, place, error = %ended, wait_ms = wait.as_millis(), "the lane ended");
            places.go_on(number);
            sleep(wait).await;
        }
    }

    fn endpoint(&self, place: usize) -> String {
        let uri = self.endpoints[place % self.endpoints.len()].uri();
        uri.authority().map(ToString::to_string).unwrap_or_default()
    }

    /// Places for some lanes of one kind.
    pub(super) fn places(&self, lanes_max: usize) -> Places {
        Places::new(self.endpoints.len(), lanes_max, self.first_turn())
    }

    /// Any of the endpoints, so that nodes spread over them.
    pub(super) fn first_turn(&self) -> usize {
        rand::random_range(0..self.endpoints.len())
    }
}

fn endpoint(text: &str, config: &Config) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(text.to_owned())?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(config.keepalive_interval))
        .http2_keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .keep_alive_while_idle(true))
}

/// The message of an error and of what caused it: "transport error" alone helps nobody.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
