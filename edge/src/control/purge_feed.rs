//! Purge orders in, applied in order, acknowledged.
//!
//! A purge is applied and, where the cache survives a restart, durable before it is acknowledged; the lane goes on
//! meanwhile, so that many become durable together. Nothing on this path waits for anything but the network: an
//! acknowledgement that finds no room is made up for at the next heartbeat.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tidegate_chassis::Clock;
use tidegate_contract::{
    id::StreamId,
    purge::{PurgeOrder, PurgeTarget},
    replacement::Replacement,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    Replace,
    identity::Identity,
    link::{Lane, LaneError},
    position::{Head, Positions, Step},
    relay::Predecessor,
    wire::{
        self, PurgeApplied, PurgeDown, PurgeHello, PurgeUp, pop_sync_client::PopSyncClient,
        purge_down, purge_up,
    },
};
use crate::cache::{
    lease::Lease,
    purge::{Durable, PurgeTable},
};

/// The lane of purges. It outlives its connections: what was applied is known to the next one.
pub(super) struct PurgeFeed {
    pub(super) purges: PurgeTable,
    pub(super) replace: Replace,
    pub(super) lease: Lease,
    pub(super) clock: Clock,
    /// After this long without a word the connection counts as dead; heartbeats come every second.
    pub(super) silence_max: Duration,
    pub(super) positions: Positions,
    /// The process before this one, while it lives: it gets what is applied here.
    pub(super) predecessor: Predecessor,
}

impl Lane for PurgeFeed {
    const NAME: &'static str = "purges";

    fn resume(&mut self) {
        self.positions = Positions::restored(&self.lease.seen());
    }

    async fn converse(&mut self, channel: Channel, _identity: &Identity) -> LaneError {
        match self.follow(channel).await {
            Err(error) => error,
            Ok(()) => LaneError::Closed,
        }
    }
}

impl PurgeFeed {
    async fn follow(&mut self, channel: Channel) -> Result<(), LaneError> {
        let (up, said) = mpsc::channel(UP_MESSAGES_MAX);
        up.try_send(self.hello()).map_err(|_| LaneError::Stuck)?;
        let mut client = PopSyncClient::new(channel).max_decoding_message_size(BATCH_BYTES_MAX);
        let silence_max = self.silence_max;
        let silent = move |_| LaneError::Silent(silence_max);
        let mut heard_at = self.now();
        let opening = client.purges(ReceiverStream::new(said));
        let mut heard = timeout(silence_max, opening).await.map_err(silent)??.into_inner();
        let mut durable = self.purges.durable();
        let mut predecessor = self.predecessor.clone();
        loop {
            let next = tokio::select! {
                next = timeout(silence_max, heard.message()) => next.map_err(silent)??,
                () = changed(durable.as_mut()) => {
                    self.acknowledge(&up);
                    continue;
                }
                () = predecessor.changed() => {
                    // Where the journal is had from it, more is durable from now on.
                    durable = self.purges.durable();
                    self.acknowledge(&up);
                    continue;
                }
            };
            let Some(message) = next else { return Ok(()) };
            // A process that was stopped wakes up to heartbeats as old as its sleep: they say nothing of now. So
            // the silence is measured from message to message, wherever the time went.
            let now = self.now();
            if now.duration_since(heard_at).unwrap_or_default() > silence_max {
                return Err(LaneError::Silent(silence_max));
            }
            heard_at = now;
            self.take(message, heard_at, &up)?;
        }
    }

    /// Where this node stands.
    fn hello(&self) -> PurgeUp {
        let applied = self.positions.iter().map(|(s, offset)| (s.to_string(), offset)).collect();
        let hello = PurgeHello { applied, build: super::BUILD.to_owned() };
        PurgeUp { message: Some(purge_up::Message::Hello(hello)) }
    }

    fn take(
        &mut self,
        message: PurgeDown,
        heard_at: SystemTime,
        up: &mpsc::Sender<PurgeUp>,
    ) -> Result<(), LaneError> {
        match message.message {
            Some(purge_down::Message::Batch(batch)) => {
                for purge in batch.purges {
                    self.apply(purge)?;
                }
                self.acknowledge(up);
            }
            Some(purge_down::Message::Heartbeat(heartbeat)) => {
                let mut heads = BTreeMap::new();
                for (stream, head) in heartbeat.head {
                    let stream = parse_stream(&stream)?;
                    self.note_head(&stream, head)?;
                    heads.insert(stream, head);
                }
                self.lease.heartbeat(heard_at);
                self.predecessor.heard(heard_at, heads);
                self.acknowledge(up);
            }
            Some(purge_down::Message::Trimmed(trimmed)) => {
                let stream = parse_stream(&trimmed.stream)?;
                tracing::warn!(%stream, head = trimmed.head, "purges were missed for good");
                self.start_at(&stream, trimmed.head)?;
                self.acknowledge(up);
            }
            // A message of a newer control plane.
            None => {}
        }
        Ok(())
    }

    fn apply(&mut self, purge: wire::Purge) -> Result<(), LaneError> {
        let stream = parse_stream(&purge.stream)?;
        match self.positions.step(&stream, purge.offset) {
            Step::Duplicate => return Ok(()),
            Step::Gap(expected) => {
                let (stream, found) = (stream.to_string(), purge.offset);
                return Err(LaneError::Gap { stream, expected, found });
            }
            Step::Unknown => self.start_at(&stream, purge.offset.saturating_sub(1))?,
            Step::Next => {}
        }
        let (offset, order) = (purge.offset, order_of(&purge));
        let made_at = Duration::from_millis(purge.accepted_unix_ms);
        let made_at = SystemTime::UNIX_EPOCH.checked_add(made_at).unwrap_or_else(|| self.now());
        tracing::debug!(%stream, offset, id = %purge.id, "a purge is applied");
        match replacement_of(purge) {
            Some(new) => (self.replace)(&order, &new, made_at),
            None => {
                self.purges.apply(&order);
            }
        }
        self.predecessor.purged(&stream, offset, &order);
        self.stand_at(&stream, offset)
    }

    fn note_head(&mut self, stream: &StreamId, head: u64) -> Result<(), LaneError> {
        match self.positions.head(stream, head) {
            Head::Lag(_) => {}
            Head::Unknown => self.start_at(stream, head)?,
            Head::WentBack => {
                tracing::warn!(%stream, head, "the purge log went back");
                self.start_at(stream, head)?;
            }
        }
        self.lease.set_head(stream, head);
        Ok(())
    }

    /// Goes on from an offset without having seen what led there: everything that may change is suspect.
    fn start_at(&mut self, stream: &StreamId, offset: u64) -> Result<(), LaneError> {
        self.purges.suspect_mutable();
        self.predecessor.began(stream, offset);
        self.stand_at(stream, offset)
    }

    fn stand_at(&mut self, stream: &StreamId, offset: u64) -> Result<(), LaneError> {
        let set = self.positions.set(stream, offset);
        set.map_err(|error| LaneError::Protocol(error.to_string()))?;
        self.purges.note_position(stream, offset);
        self.lease.set_applied(stream, offset);
        Ok(())
    }

    /// Tells where every stream stands. The offsets only grow, so one that finds no room is covered by the next.
    fn acknowledge(&self, up: &mpsc::Sender<PurgeUp>) {
        let durable = self.purges.durable().map(|durable| durable.borrow().positions.clone());
        // The journal is the predecessor's while it lives, and its last connections count.
        let known = self.predecessor.applied().or(durable);
        for (stream, offset) in self.positions.iter() {
            let offset = match &known {
                None => offset,
                Some(known) => match known.get(stream) {
                    Some(known) => offset.min(*known),
                    None => continue,
                },
            };
            let applied = PurgeApplied { stream: stream.to_string(), offset };
            let message = PurgeUp { message: Some(purge_up::Message::Applied(applied)) };
            if up.try_send(message).is_err() {
                return;
            }
        }
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

/// Returns when more is durable; never where nothing has to be.
async fn changed(durable: Option<&mut watch::Receiver<Durable>>) {
    let is_changed = match durable {
        Some(durable) => durable.changed().await.is_ok(),
        None => false,
    };
    if !is_changed {
        std::future::pending().await
    }
}

fn parse_stream(text: &str) -> Result<StreamId, LaneError> {
    StreamId::parse(text).map_err(|error| LaneError::Protocol(error.to_string()))
}

/// The order of a purge. One that this build cannot read may name anything, so everything is marked stale: that
/// costs revalidations, while passing over it would leave something wrong in the cache.
fn order_of(purge: &wire::Purge) -> PurgeOrder {
    serde_json::from_slice(&purge.order).unwrap_or_else(|error| {
        tracing::error!(id = %purge.id, %error, "an unreadable purge is applied to everything");
        PurgeOrder { target: PurgeTarget::All, soft: true }
    })
}

/// What stands in the place of what is purged; what breaks the rules is left out, so that upstream is asked.
fn replacement_of(purge: wire::Purge) -> Option<Replacement> {
    let wire::Replacement { headers, body } = purge.replacement?;
    let new = Replacement { headers: headers.into_iter().collect(), body };
    new.checked()
        .inspect_err(|error| tracing::error!(id = %purge.id, %error, "a purge is applied alone"))
        .ok()
}

/// Acknowledgements that wait to be sent.
const UP_MESSAGES_MAX: usize = 64;
/// The largest message of the lane, in bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
