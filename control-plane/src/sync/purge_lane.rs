//! One node's purge lane: the log from where the node stands, then as it grows.
//!
//! The first message is always a heartbeat: its head is where a node begins that said nothing of the stream. All
//! purges up to a heartbeat's head that the node did not have stand behind it on the lane, never lost, never out of
//! order. The lane reads the log page by page at the node's own pace. A heartbeat answers the newest question that was
//! read before the log was looked at, and none is sent while the log may not be the newest.
//!
//! A purge that comes alone goes at once. Behind it the lane rests ([`super::rest`]), and what was accepted meanwhile
//! goes as one message.

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Status, Streaming};

use super::{
    Config, Parts,
    batches::{Batches, Packed},
    caller,
    purge_cursor::{Cursor, Said, heartbeat},
    rest::Rests,
};
use crate::{
    fleet::{LaneGuard, Subscription},
    store::Page,
    wire::{PurgeDown, PurgeHello, PurgeUp, purge_up},
};

/// What all lanes of purges have in common: when they speak, and what they say then.
pub(super) struct Moments {
    began: Instant,
    batches: Batches,
}

impl Default for Moments {
    fn default() -> Self {
        Self { began: Instant::now(), batches: Batches::default() }
    }
}

type Down = mpsc::Sender<Result<PurgeDown, Status>>;

/// Runs the lane until either side ends it.
pub(super) async fn run(
    (config, moments): (&Config, &Moments),
    parts: &Parts,
    hello: PurgeHello,
    up: Streaming<PurgeUp>,
    down: &Down,
    guard: &LaneGuard,
) -> Result<(), Status> {
    let asked = AtomicU64::new(0);
    let stream = parts.purges.log().stream().as_str();
    let applied = hello.applied.get(stream).copied();
    let head = head_for(applied, config, parts).await?;
    let (cursor, begun) = Cursor::begin(applied, head);
    guard.stands_at(begun.stands_at);
    let rests = Rests::of(Subscription::of(hello.subscription), config);
    let unpacks = hello.unpacks;
    let asked = &asked;
    let mut writer = Writer { config, moments, parts, down, guard, asked, cursor, rests, unpacks };
    tokio::select! {
        end = writer.run(head) => end,
        end = read(parts, up, guard, asked) => end,
    }
}

struct Writer<'a> {
    config: &'a Config,
    moments: &'a Moments,
    parts: &'a Parts,
    down: &'a Down,
    guard: &'a LaneGuard,
    /// The newest question of the node.
    asked: &'a AtomicU64,
    cursor: Cursor,
    rests: Rests,
    /// Whether the node reads packed batches.
    unpacks: bool,
}

/// The head that a lane begins with, once this replica knows as much as the node does.
async fn head_for(applied: Option<u64>, config: &Config, parts: &Parts) -> Result<u64, Status> {
    let log = parts.purges.log();
    let unsure = || Status::unavailable("this replica does not know the newest purges");
    if !log.is_current() {
        return Err(unsure());
    }
    let mut head = log.head();
    let now = *head.borrow_and_update();
    let lags = |head: u64| {
        let (cursor, _) = Cursor::begin(applied, head);
        log.may_lag() && cursor.is_ahead_of(head)
    };
    if !lags(now) {
        return Ok(now);
    }
    let caught_up = timeout(config.hello_timeout, head.wait_for(|head| !lags(*head))).await;
    match caught_up {
        Ok(Ok(head)) => Ok(*head),
        _ => Err(unsure()),
    }
}

impl Writer<'_> {
    async fn run(&mut self, head_now: u64) -> Result<(), Status> {
        let mut head = self.parts.purges.log().head();
        let mut beat = interval(self.config.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        // Its head was read after hello: that is question 0.
        self.send_heartbeat(head_now, 0).await?;
        loop {
            let sent = self.replay(&mut beat).await?;
            if sent > 0 {
                let rest = self.rests.behind(sent, self.moments.began.elapsed());
                self.rest(rest, &mut beat).await?;
                // What came meanwhile.
                continue;
            }
            tokio::select! {
                changed = head.changed() => changed.map_err(|_| gone())?,
                _ = beat.tick() => self.heartbeat().await?,
            }
        }
    }

    /// Lets purges gather; heartbeats go on.
    async fn rest(&self, how_long: Duration, beat: &mut Interval) -> Result<(), Status> {
        let mut rest = pin!(sleep(how_long));
        loop {
            tokio::select! {
                () = &mut rest => return Ok(()),
                _ = beat.tick() => self.heartbeat().await?,
            }
        }
    }

    /// Sends what the log holds behind what was sent: one message, or as many as are full; how many purges that were. What
    /// comes while the last one is sent may wait for the next.
    async fn replay(&mut self, beat: &mut Interval) -> Result<usize, Status> {
        let batch_max = self.config.batch_purges_max.max(1);
        let mut sent = 0;
        loop {
            let purges = self.say(batch_max).await?;
            sent += purges;
            if purges < batch_max {
                return Ok(sent);
            }
            if is_due(beat) {
                self.heartbeat().await?;
            }
        }
    }

    /// Sends one message of purges, if there are any; how many.
    async fn say(&mut self, batch_max: usize) -> Result<usize, Status> {
        let (log, after) = (self.parts.purges.log(), self.cursor.after());
        let stream = log.stream().as_str();
        if let Some(packed) = self.moments.batches.behind(after).filter(|_| self.unpacks) {
            return self.say_packed(packed).await;
        }
        let page = log.read(after, batch_max).await.map_err(|error| caller::store(&error))?;
        if let Page::Entries(entries) = &page
            && self.unpacks
            && let Some(packed) = self.moments.batches.pack(stream, after, entries)
        {
            return self.say_packed(packed).await;
        }
        let said = self.cursor.take(page);
        let purges = match &said {
            Said::Trimmed(head) => {
                tracing::warn!(node = %self.guard.name(), head, "the log lacks what was missed");
                self.parts.metrics.purge_gaps.inc();
                // What follows is there to be said at once.
                batch_max
            }
            Said::Purges(purges) => purges.len(),
            Said::Nothing => 0,
        };
        if let Some(message) = said.message(stream) {
            self.send(message).await?;
        }
        Ok(purges)
    }

    async fn say_packed(&mut self, packed: Packed) -> Result<usize, Status> {
        self.cursor.said_until(packed.last);
        self.send(packed.message).await?;
        Ok(packed.purges)
    }

    async fn heartbeat(&self) -> Result<(), Status> {
        // In this order: the head must be looked at after the question was read.
        let answers = self.asked.load(Ordering::Acquire);
        let log = self.parts.purges.log();
        if !log.is_current() {
            // The node's lease runs out, or another replica feeds it.
            return Ok(());
        }
        let head = *log.head().borrow();
        self.send_heartbeat(head, answers).await
    }

    async fn send_heartbeat(&self, head: u64, answers: u64) -> Result<(), Status> {
        let stream = self.parts.purges.log().stream().as_str();
        let audit = {
            let head = self.parts.access.audit().head();
            let row = head.borrow();
            (row.number, hex::decode(&row.hash).unwrap_or_default().into())
        };
        self.send(heartbeat(stream, head, answers, audit)).await?;
        self.guard.beat();
        Ok(())
    }

    async fn send(&self, message: PurgeDown) -> Result<(), Status> {
        self.down.send(Ok(message)).await.map_err(|_| gone())
    }
}

/// Takes the node's acknowledgements and questions.
async fn read(
    parts: &Parts,
    mut up: Streaming<PurgeUp>,
    guard: &LaneGuard,
    asked: &AtomicU64,
) -> Result<(), Status> {
    let head = parts.purges.log().head();
    let stream = parts.purges.log().stream();
    while let Some(message) = up.message().await? {
        guard.heard();
        let applied = match message.message {
            Some(purge_up::Message::Applied(applied)) => applied,
            Some(purge_up::Message::Ask(ask)) => {
                asked.fetch_max(ask.number, Ordering::AcqRel);
                continue;
            }
            Some(purge_up::Message::Hello(_)) => {
                return Err(Status::invalid_argument("hello is said once"));
            }
            // A message of a newer node.
            None => continue,
        };
        if applied.stream != stream.as_str() {
            continue;
        }
        // The other replica may have told the node of more than is known here.
        if applied.offset > *head.borrow() && !parts.purges.log().may_lag() {
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
        let took = Duration::from_millis(now.saturating_sub(entry.accepted_unix_ms));
        parts.metrics.purge_ack_seconds.observe(took.as_secs_f64());
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
