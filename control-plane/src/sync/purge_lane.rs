//! One node's purge lane: the log from where the node stands, then as it grows.
//!
//! The first message is always a heartbeat: its head is where a node begins that said nothing of the stream. All
//! purges up to a heartbeat's head that the node did not have stand behind it on the lane, never lost, never out of
//! order. The lane reads the log page by page at the node's own pace.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};
use tonic::{Status, Streaming};

use super::{Config, Parts, caller};
use crate::{
    fleet::LaneGuard,
    store::{Entry, Page},
    wire::{
        Heartbeat, Purge, PurgeBatch, PurgeDown, PurgeHello, PurgeUp, Replacement, Trimmed,
        purge_down, purge_up,
    },
};

type Down = mpsc::Sender<Result<PurgeDown, Status>>;

/// Runs the lane until either side ends it.
pub(super) async fn run(
    config: &Config,
    parts: &Parts,
    hello: PurgeHello,
    up: Streaming<PurgeUp>,
    down: &Down,
    guard: &LaneGuard,
) -> Result<(), Status> {
    let mut writer = Writer { config, parts, down, guard, sent: 0 };
    tokio::select! {
        end = writer.run(hello) => end,
        end = read(parts, up, guard) => end,
    }
}

struct Writer<'a> {
    config: &'a Config,
    parts: &'a Parts,
    down: &'a Down,
    guard: &'a LaneGuard,
    sent: u64,
}

impl Writer<'_> {
    async fn run(&mut self, hello: PurgeHello) -> Result<(), Status> {
        let mut head = self.parts.purges.log().head();
        let mut beat = interval(self.config.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let head_now = *head.borrow_and_update();
        self.begin(&hello, head_now, &mut beat).await?;
        loop {
            self.replay(&mut beat).await?;
            tokio::select! {
                changed = head.changed() => changed.map_err(|_| gone())?,
                _ = beat.tick() => self.heartbeat().await?,
            }
        }
    }

    async fn begin(
        &mut self,
        hello: &PurgeHello,
        head: u64,
        beat: &mut Interval,
    ) -> Result<(), Status> {
        let stream = self.parts.purges.log().stream().as_str();
        let applied = hello.applied.get(stream).copied();
        self.sent = applied.unwrap_or(head);
        // Above the head: the log was restored and lost what the node has; only new words of the node count.
        self.guard.stands_at(match applied {
            None => Some(head),
            known => known.filter(|applied| *applied <= head),
        });
        beat.reset();
        self.send_heartbeat(head).await
    }

    /// Sends what the log holds behind what was sent.
    async fn replay(&mut self, beat: &mut Interval) -> Result<(), Status> {
        loop {
            let page = self.parts.purges.log().read(self.sent, self.config.batch_purges_max.max(1));
            match page.await.map_err(|error| caller::store(&error))? {
                Page::Entries(entries) => {
                    let Some(last) = entries.last() else { return Ok(()) };
                    let last = last.offset;
                    self.send_batch(&entries).await?;
                    self.sent = last;
                }
                Page::Gone { head } => self.skip_to(head).await?,
            }
            if is_due(beat) {
                self.heartbeat().await?;
            }
        }
    }

    async fn skip_to(&mut self, head: u64) -> Result<(), Status> {
        let log = self.parts.purges.log();
        tracing::warn!(node = %self.guard.name(), sent = self.sent, head, "the log is trimmed");
        self.parts.metrics.purge_gaps.inc();
        self.sent = head;
        let stream = log.stream().to_string();
        self.send(purge_down::Message::Trimmed(Trimmed { stream, head })).await
    }

    async fn send_batch(&self, entries: &[Arc<Entry>]) -> Result<(), Status> {
        let stream = self.parts.purges.log().stream().as_str();
        let purges = entries.iter().map(|entry| purge(stream, entry)).collect();
        self.send(purge_down::Message::Batch(PurgeBatch { purges })).await
    }

    async fn heartbeat(&self) -> Result<(), Status> {
        // Never below what was sent: a node would take that for a log that went back.
        let head = *self.parts.purges.log().head().borrow();
        self.send_heartbeat(head.max(self.sent)).await
    }

    async fn send_heartbeat(&self, head: u64) -> Result<(), Status> {
        let stream = self.parts.purges.log().stream().to_string();
        let head = HashMap::from([(stream, head)]);
        self.send(purge_down::Message::Heartbeat(Heartbeat { head })).await?;
        self.guard.beat();
        Ok(())
    }

    async fn send(&self, message: purge_down::Message) -> Result<(), Status> {
        self.down.send(Ok(PurgeDown { message: Some(message) })).await.map_err(|_| gone())
    }
}

/// Takes the node's acknowledgements.
async fn read(parts: &Parts, mut up: Streaming<PurgeUp>, guard: &LaneGuard) -> Result<(), Status> {
    let head = parts.purges.log().head();
    let stream = parts.purges.log().stream();
    while let Some(message) = up.message().await? {
        let Some(purge_up::Message::Applied(applied)) = message.message else {
            return Err(Status::invalid_argument("only acknowledgements follow hello"));
        };
        guard.heard();
        if applied.stream != stream.as_str() {
            continue;
        }
        if applied.offset > *head.borrow() {
            return Err(Status::invalid_argument("acknowledged what was never sent"));
        }
        // Nodes repeat themselves at every heartbeat.
        if guard.applied(applied.offset) {
            observe(parts, applied.offset).await;
        }
    }
    Ok(())
}

/// Measures the way of the newest purge there and back.
async fn observe(parts: &Parts, offset: u64) {
    let Some(before) = offset.checked_sub(1) else { return };
    let Ok(Page::Entries(entries)) = parts.purges.log().read(before, 1).await else { return };
    if let Some(entry) = entries.first() {
        let now = parts.fleet.now_unix_ms();
        let took = std::time::Duration::from_millis(now.saturating_sub(entry.accepted_unix_ms));
        parts.metrics.purge_ack_seconds.observe(took.as_secs_f64());
    }
}

fn purge(stream: &str, entry: &Entry) -> Purge {
    let replacement = entry.replacement.as_ref().map(|new| Replacement {
        headers: new.headers.clone().into_iter().collect(),
        body: new.body.clone(),
    });
    Purge {
        stream: stream.to_owned(),
        offset: entry.offset,
        id: entry.id.to_string(),
        order: entry.order_json.clone(),
        accepted_unix_ms: entry.accepted_unix_ms,
        replacement,
    }
}

/// Whether a tick is due, without waiting for it.
fn is_due(beat: &mut Interval) -> bool {
    use std::task::{Context, Poll, Waker};
    matches!(beat.poll_tick(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

fn gone() -> Status {
    Status::cancelled("the node is gone")
}
