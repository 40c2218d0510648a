//! Releases in: handed to the intake, and answered. Health goes the other way.
//!
//! Whatever is wrong with a release, the one in use serves on and the control plane is told why; also when that shows
//! only later.

use std::{sync::Arc, time::Duration};

use tidegate_contract::{id::PopId, release::RELEASE_BYTES_MAX};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    authorities::Authorities,
    health_report::Vitals,
    identity::Identity,
    intake::Intake,
    kept::Refused,
    link::{IdentityInUse, Lane, LaneError},
    wire::{
        ConfigAck, ConfigDown, ConfigHello, ConfigUp, Health, config_down, config_up,
        pop_sync_client::PopSyncClient,
    },
};

/// The lane of configuration. It outlives its connections.
pub(super) struct ConfigFeed {
    pub(super) intake: Arc<Intake>,
    /// The release that was given up last.
    pub(super) refused: watch::Receiver<Option<Refused>>,
    pub(super) vitals: Vitals,
    /// Whom this node believes.
    pub(super) authorities: Authorities,
    /// Who this node is.
    pub(super) in_use: IdentityInUse,
    pub(super) health_interval: Duration,
    /// How long the control plane may take to answer the call that opens the lane.
    pub(super) open_timeout: Duration,
}

impl Lane for ConfigFeed {
    const NAME: &'static str = "config";

    async fn settle(&mut self) {
        self.intake.settled().await;
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
            .max_decoding_message_size(RELEASE_BYTES_MAX + MESSAGE_OVERHEAD_BYTES);
        let opening = timeout(self.open_timeout, client.config(ReceiverStream::new(said)));
        let silent = |_| LaneError::Silent(self.open_timeout);
        let mut heard = opening.await.map_err(silent)??.into_inner();
        let mut pulse = interval(self.health_interval);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // What was given up while nobody listened is told again.
        self.refused.mark_changed();
        loop {
            tokio::select! {
                next = heard.message() => {
                    let Some(message) = next? else { return Ok(()) };
                    if let Some(ack) = self.take(message, &identity.pop).await {
                        say(&up, config_up::Message::Ack(ack))?;
                    }
                }
                Ok(()) = self.refused.changed() => {
                    let refused = self.refused.borrow_and_update().clone();
                    if let Some(Refused { version, error }) = refused {
                        say(&up, config_up::Message::Ack(self.nack(version, 0, error)))?;
                    }
                }
                _ = pulse.tick() => {
                    say(&up, config_up::Message::Health(self.health()))?;
                }
            }
        }
    }

    fn health(&self) -> Health {
        let bundle = self.authorities.now();
        let identity = self.in_use.borrow().clone();
        let signed_by = identity.map_or(0, |identity| bundle.mark_of(&identity.issuer));
        Health { authorities: bundle.marks(), signed_by, ..(self.vitals)().into() }
    }

    fn hello(&self) -> ConfigUp {
        let (generation, digest, floor) = self.intake.position();
        let hello = ConfigHello {
            generation,
            digest,
            build: super::BUILD.to_owned(),
            sealing_key: self.intake.sealing_key.public().to_vec(),
            floor,
        };
        ConfigUp { message: Some(config_up::Message::Hello(hello)) }
    }

    /// Takes a release and says how that went.
    async fn take(&mut self, message: ConfigDown, pop: &PopId) -> Option<ConfigAck> {
        let Some(config_down::Message::Release(release)) = message.message else { return None };
        let (nonce, began) = (release.nonce, Instant::now());
        let generation = release.header.as_ref().map_or(0, |header| header.version);
        Some(match self.intake.take(release, pop).await {
            Ok(()) => {
                tracing::info!(generation, "a release is in use");
                let apply_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                ConfigAck { generation, applied: true, nonce, apply_us, ..ConfigAck::default() }
            }
            Err(error) => {
                let wants_whole = error.wants_whole();
                if wants_whole {
                    tracing::info!(generation, %error, "a difference does not fit");
                } else {
                    tracing::error!(generation, %error, "a release is refused");
                }
                ConfigAck { wants_whole, ..self.nack(generation, nonce, error.to_string()) }
            }
        })
    }

    fn nack(&self, generation: u64, nonce: u64, error: String) -> ConfigAck {
        let (runs, ..) = self.intake.position();
        ConfigAck { generation, nonce, error, runs, ..ConfigAck::default() }
    }
}

fn say(up: &mpsc::Sender<ConfigUp>, message: config_up::Message) -> Result<(), LaneError> {
    up.try_send(ConfigUp { message: Some(message) }).map_err(|_| LaneError::Stuck)
}

/// Acknowledgements and health reports that wait to be sent.
const UP_MESSAGES_MAX: usize = 16;
/// What a message adds to the bodies that it carries: keys and hashes of its items.
const MESSAGE_OVERHEAD_BYTES: usize = 16 * 1024 * 1024;
