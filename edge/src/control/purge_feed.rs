//! One subscription to the purges: a lane whose words go to the follower that all subscriptions share.
//!
//! A purge is applied and, where the cache survives a restart, durable before it is acknowledged; the lane goes on
//! meanwhile, so that many become durable together. Nothing on this path waits for anything but the network: an
//! acknowledgement that finds no room is made up for at the next heartbeat. The first of many purges is acknowledged at
//! once; those that follow share one acknowledgement for as long as [`super::follower::TOLD_EVERY`].

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_chassis::Clock;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    audit_witness::{AuditWitness, Testimony},
    follower::{BATCH_BYTES_MAX, Follower, Heard, acknowledgement},
    identity::Identity,
    link::{Lane, LaneError},
    relay::Predecessor,
    wire::{
        PurgeDown, PurgeUp, pop_sync_client::PopSyncClient, purge_down::Message::Heartbeat,
        purge_up,
    },
};
use crate::cache::purge::Durable;

/// A lane of purges. It outlives its connections: what was applied is known to the next one.
pub(super) struct PurgeFeed {
    pub(super) follower: Arc<Mutex<Follower>>,
    /// The process before this one, while it lives: what it has applied limits what is acknowledged.
    pub(super) predecessor: Predecessor,
    /// Which of the node's subscriptions this is.
    pub(super) subscription: u32,
    pub(super) clock: Clock,
    pub(super) witness: AuditWitness,
    /// After this long without a word the connection counts as dead; heartbeats come every second.
    pub(super) silence_max: Duration,
}

impl Lane for PurgeFeed {
    const NAME: &'static str = "purges";

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
        let silence_max = self.silence_max;
        let silent = move |_| LaneError::Silent(silence_max);
        let mut spoken_at = self.clock.now();
        let (hello, mut heard) = self.follower().hello(super::BUILD, self.subscription, spoken_at);
        up.try_send(hello).map_err(|_| LaneError::Stuck)?;
        let mut client = PopSyncClient::new(channel).max_decoding_message_size(BATCH_BYTES_MAX);
        let opening = client.purges(ReceiverStream::new(said));
        let mut down = timeout(silence_max, opening).await.map_err(silent)??.into_inner();
        let mut durable = self.follower().purges().durable();
        let mut predecessor = self.predecessor.clone();
        let mut due = None;
        loop {
            let next = tokio::select! {
                next = timeout(silence_max, down.message()) => next.map_err(silent)??,
                () = changed(durable.as_mut()) => {
                    due = self.acknowledge(&up, false);
                    continue;
                }
                () = at(due) => {
                    due = self.acknowledge(&up, false);
                    continue;
                }
                () = predecessor.changed() => {
                    // Where the journal is had from it, more is durable from now on.
                    durable = self.follower().purges().durable();
                    due = self.acknowledge(&up, false);
                    continue;
                }
            };
            let Some(message) = next else { return Ok(()) };
            // A process that was stopped wakes up on a connection that the other side most likely gave up: a new one
            // is the faster way. What was in the socket is as old as its questions, so that it does no harm.
            let now = self.clock.now();
            if now.duration_since(spoken_at).unwrap_or_default() > silence_max {
                return Err(LaneError::Silent(silence_max));
            }
            spoken_at = now;
            due = self.take(message, &mut heard, &up)?;
        }
    }

    fn take(
        &mut self,
        message: PurgeDown,
        heard: &mut Heard,
        up: &mpsc::Sender<PurgeUp>,
    ) -> Result<Option<Instant>, LaneError> {
        let now = self.clock.now();
        let is_answer = matches!(message.message, Some(Heartbeat(_)));
        if let Some(Heartbeat(heartbeat)) = &message.message {
            self.witness(heartbeat.audit_number, &heartbeat.audit_hash);
        }
        self.follower().take(message, heard, now)?;
        let due = self.acknowledge(up, is_answer);
        if is_answer {
            let ask = purge_up::Message::Ask(heard.questions.ask(now));
            // One that finds no room is the same as one that gets lost: the next answer is to an older question.
            let _ = up.try_send(PurgeUp { message: Some(ask) });
        }
        Ok(due)
    }

    /// Writes down what is heard of the audit log, where the control plane cannot change it.
    fn witness(&mut self, number: u64, hash: &[u8]) {
        let testimony = self.witness.hear(number, hash, self.clock.now());
        let hash = || hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match testimony {
            None => {}
            Some(Testimony::Row) => {
                tracing::info!(target: "audit", witness = %format_args!("{number}:{}", hash()), "audit row heard");
            }
            Some(Testimony::Rewritten) => {
                let witness = format!("{number}:{}", hash());
                tracing::error!(target: "audit", witness, "the control plane's audit log was rewritten");
            }
        }
    }

    /// Tells where streams stand: with every heartbeat all of it, in between what neither lane has told, and that not too
    /// often; gives back when that is to be told which was too early. One that finds no room is covered by the next.
    fn acknowledge(&self, up: &mpsc::Sender<PurgeUp>, is_whole: bool) -> Option<Instant> {
        let now = self.clock.now();
        let mut follower = self.follower();
        let mut applied = follower.applied();
        if !is_whole {
            applied.retain(|applied| follower.is_news(applied));
            let early = follower.told_too_lately(now);
            if !applied.is_empty() && !early.is_zero() {
                return Some(Instant::now() + early);
            }
        }
        for applied in applied {
            if up.try_send(acknowledgement(applied.clone())).is_err() {
                return None;
            }
            follower.told(applied, now);
        }
        None
    }

    /// Never held over a wait.
    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Returns at a time; never where there is none.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Acknowledgements that wait to be sent.
const UP_MESSAGES_MAX: usize = 64;
