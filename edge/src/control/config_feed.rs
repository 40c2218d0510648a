//! Snapshots in: checked, put to use, kept on disk as last good, and only then acknowledged. Health goes the other way.
//!
//! Whatever is wrong with a snapshot, the one in use serves on and the control plane is told why.

use std::time::Duration;

use tidegate_contract::{
    id::{Generation, PopId},
    snapshot::{SNAPSHOT_BYTES_MAX, Snapshot},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    health_report::Vitals,
    identity::Identity,
    last_good::{Kept, LastGood},
    link::{Lane, LaneError},
    wire::{
        self, ConfigAck, ConfigDown, ConfigHello, ConfigUp, config_down, config_up,
        pop_sync_client::PopSyncClient,
    },
};
use crate::policy::PolicyHandle;

/// The lane of configuration. It outlives its connections.
pub(super) struct ConfigFeed {
    pub(super) policy: PolicyHandle,
    pub(super) last_good: LastGood,
    pub(super) in_use: InUse,
    pub(super) vitals: Vitals,
    pub(super) health_interval: Duration,
    /// How long the control plane may take to answer the call that opens the lane.
    pub(super) open_timeout: Duration,
    /// A snapshot that is being checked and kept: that is never cut off.
    pub(super) adopting: Option<Adopting>,
}

/// Number and hash of the snapshot in use; zeros when there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InUse {
    pub(super) generation: Generation,
    pub(super) digest: Option<[u8; 32]>,
}

impl InUse {
    pub(super) fn of(kept: &Kept) -> Self {
        Self { generation: kept.snapshot.generation, digest: Some(kept.digest) }
    }
}

impl Lane for ConfigFeed {
    const NAME: &'static str = "config";

    fn resume(&mut self) {
        if let Some(kept) = self.last_good.load()
            && self.policy.generation() == Some(kept.snapshot.generation)
        {
            self.in_use = InUse::of(&kept);
        }
    }

    async fn settle(&mut self) {
        if self.adopting.is_some()
            && let Err(error) = self.adopted().await
        {
            tracing::error!(%error, "a snapshot is refused");
        }
    }

    async fn converse(&mut self, channel: Channel, identity: &Identity) -> LaneError {
        match self.follow(channel, identity).await {
            Err(error) => error,
            Ok(()) => LaneError::Closed,
        }
    }
}

impl ConfigFeed {
    async fn follow(&mut self, channel: Channel, identity: &Identity) -> Result<(), LaneError> {
        let (up, said) = mpsc::channel(UP_MESSAGES_MAX);
        up.try_send(self.hello()).map_err(|_| LaneError::Stuck)?;
        let mut client = PopSyncClient::new(channel)
            .max_decoding_message_size(SNAPSHOT_BYTES_MAX + MESSAGE_OVERHEAD_BYTES);
        let opening = timeout(self.open_timeout, client.config(ReceiverStream::new(said)));
        let silent = |_| LaneError::Silent(self.open_timeout);
        let mut heard = opening.await.map_err(silent)??.into_inner();
        let mut pulse = interval(self.health_interval);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                next = heard.message() => {
                    let Some(message) = next? else { return Ok(()) };
                    if let Some(ack) = self.take(message, &identity.pop).await {
                        up.try_send(ack).map_err(|_| LaneError::Stuck)?;
                    }
                }
                _ = pulse.tick() => {
                    let health = config_up::Message::Health((self.vitals)().into());
                    up.try_send(ConfigUp { message: Some(health) }).map_err(|_| LaneError::Stuck)?;
                }
            }
        }
    }

    fn hello(&self) -> ConfigUp {
        let hello = ConfigHello {
            generation: self.in_use.generation.0,
            digest: self.in_use.digest.map(Vec::from).unwrap_or_default(),
            build: super::BUILD.to_owned(),
        };
        ConfigUp { message: Some(config_up::Message::Hello(hello)) }
    }

    /// Takes a snapshot and says how that went.
    async fn take(&mut self, message: ConfigDown, pop: &PopId) -> Option<ConfigUp> {
        let Some(config_down::Message::Snapshot(sent)) = message.message else { return None };
        let generation = sent.generation;
        let taken = self.adopt(sent, pop.clone()).await;
        let ack = match taken {
            Ok(()) => {
                tracing::info!(generation, "a snapshot is in use");
                ConfigAck { generation, applied: true, error: String::new() }
            }
            Err(error) => {
                tracing::error!(generation, %error, "a snapshot is refused");
                ConfigAck { generation, applied: false, error: error.to_string() }
            }
        };
        Some(ConfigUp { message: Some(config_up::Message::Ack(ack)) })
    }

    async fn adopt(&mut self, sent: wire::Snapshot, pop: PopId) -> Result<(), RefusedError> {
        let (policy, last_good, in_use) =
            (self.policy.clone(), self.last_good.clone(), self.in_use);
        let work = move || adopt(&policy, &last_good, in_use, &sent, &pop);
        self.adopting = Some(spawn_blocking(work));
        self.adopted().await
    }

    async fn adopted(&mut self) -> Result<(), RefusedError> {
        let Some(adopting) = &mut self.adopting else { return Ok(()) };
        let adopted = adopting.await;
        self.adopting = None;
        let (in_use, kept) = adopted.map_err(|error| RefusedError::Panic(error.to_string()))??;
        self.in_use = in_use;
        kept
    }
}

/// The work on a snapshot: what is in use then, and whether it is kept.
pub(super) type Adopting = JoinHandle<Result<(InUse, Result<(), RefusedError>), RefusedError>>;

/// Why a snapshot is not (or not durably) in use.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedError {
    #[error(transparent)]
    Snapshot(#[from] tidegate_contract::snapshot::SnapshotError),
    #[error("the message says generation {0}, the snapshot {1}")]
    Generation(u64, Generation),
    #[error("the snapshot is for PoP {0}, this node is in {1}")]
    Pop(PopId, PopId),
    #[error(transparent)]
    Policy(#[from] crate::policy::PolicyError),
    #[error("in use, but a restart would lose it: {0}")]
    Keep(std::io::Error),
    #[error("the snapshot made its check fail: {0}")]
    Panic(String),
}

/// Checks a snapshot, puts it to use and keeps it. The inner result is about keeping it alone.
fn adopt(
    policy: &PolicyHandle,
    last_good: &LastGood,
    in_use: InUse,
    sent: &wire::Snapshot,
    pop: &PopId,
) -> Result<(InUse, Result<(), RefusedError>), RefusedError> {
    let snapshot = Snapshot::from_bytes_with_digest(&sent.body, &sent.digest)?;
    if snapshot.generation.0 != sent.generation {
        return Err(RefusedError::Generation(sent.generation, snapshot.generation));
    }
    if snapshot.pop != *pop {
        return Err(RefusedError::Pop(snapshot.pop, pop.clone()));
    }
    let digest = sent.digest.as_slice().try_into().ok();
    let now = InUse { generation: snapshot.generation, digest };
    if now != in_use {
        policy.install(snapshot)?;
    }
    Ok((now, last_good.keep(&sent.body).map_err(RefusedError::Keep)))
}

/// Acknowledgements and health reports that wait to be sent.
const UP_MESSAGES_MAX: usize = 16;
/// What a message adds to the snapshot that it carries.
const MESSAGE_OVERHEAD_BYTES: usize = 1024;
