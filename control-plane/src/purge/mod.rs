//! Purges: accepted once, put in order, delivered to all, confirmed.
//!
//! A purge is answered only when it is durable in the log. Delivery reads the log from each node's own offset, so
//! a slow or absent node costs no memory and misses nothing.

mod confirm;
mod since;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    id::PurgeId,
    purge::{PurgeOrder, PurgeTarget},
    replacement::Replacement,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    fleet::Fleet,
    leader::Leader,
    metrics::Metrics,
    store::{AppendError, Appended, Entry, Log, NewPurge, StoreError, TrimPolicy},
    unix_time::unix_ms,
};

pub use confirm::{ConfirmState, Confirmation, confirm, is_complete, is_reached};
pub use since::first_since;

/// Settings of purges.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long purges are kept for nodes that were away. A node that was away for longer treats everything that
    /// can change as purged.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// The most purges that are kept.
    pub keep_entries_max: u64,
    /// Bodies that came with purges and are kept for nodes that were away, the newest so many, of at most 256 KiB
    /// each. A node that gets a purge without its body asks upstream.
    pub keep_replacements_max: u64,
    /// How often old purges are looked for.
    #[serde(with = "humantime_serde")]
    pub trim_every: Duration,
    /// Purges kept in memory too, for the nodes that keep up.
    pub tail_entries_max: usize,
    /// The freshness lease of the nodes: a node that got no heartbeat for so long no longer serves what can change
    /// without asking upstream. Must not be shorter than what the nodes are set to.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Added to the lease for the way of the last heartbeat.
    #[serde(with = "humantime_serde")]
    pub lease_margin: Duration,
    /// The longest that a caller may wait for confirmations.
    #[serde(with = "humantime_serde")]
    pub wait_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 3600),
            keep_entries_max: 10_000_000,
            keep_replacements_max: 1024,
            trim_every: Duration::from_secs(60),
            tail_entries_max: 8192,
            lease: Duration::from_secs(5),
            lease_margin: Duration::from_secs(1),
            wait_max: Duration::from_secs(30),
        }
    }
}

/// The purges of one stream. Cheap to clone.
#[derive(Clone)]
pub struct Purges {
    log: Arc<dyn Log>,
    fleet: Fleet,
    config: Config,
    clock: Clock,
    metrics: Metrics,
}

impl Purges {
    /// Purges over a log.
    #[must_use]
    pub fn new(
        log: Arc<dyn Log>,
        fleet: Fleet,
        config: Config,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let purges = Self { log, fleet, config, clock, metrics };
        purges.show_head();
        purges
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Accepts a purge; durable when this returns.
    ///
    /// # Errors
    /// [`AppendError`]
    pub async fn accept(
        &self,
        order: PurgeOrder,
        idempotency_key: Option<String>,
    ) -> Result<Appended, AppendError> {
        self.accept_with(order, None, idempotency_key).await
    }

    /// Accepts a purge with what stands in the place of what is purged; both are durable when this returns.
    ///
    /// # Errors
    /// [`AppendError`]
    pub async fn accept_with(
        &self,
        order: PurgeOrder,
        replacement: Option<Replacement>,
        idempotency_key: Option<String>,
    ) -> Result<Appended, AppendError> {
        let kind = kind(&order.target);
        let now = self.clock.now();
        let id = new_id(now);
        let purge = NewPurge {
            id,
            order,
            replacement_digest: replacement.as_ref().map(Replacement::digest),
            replacement: replacement.map(Into::into),
            accepted_unix_ms: unix_ms(now),
            idempotency_key,
        };
        let appended = self.log.append(purge).await?;
        if appended.is_new {
            self.metrics.purges.with_label_values(&[kind]).inc();
            self.show_head();
        }
        Ok(appended)
    }

    /// How far every node is with a purge, now.
    #[must_use]
    pub fn confirmations(&self, entry: &Entry) -> Vec<Confirmation> {
        let lease = self.config.lease + self.config.lease_margin;
        let (progress, now) = (self.fleet.progress(entry.offset), self.fleet.now_unix_ms());
        confirm(entry, progress, now, lease, !self.log.may_lag())
    }

    /// Waits until so many of a hundred nodes are not pending, at most until the deadline or the drain.
    pub async fn wait(
        &self,
        entry: &Entry,
        percent: u8,
        deadline: Instant,
        drain: &Drain,
    ) -> Vec<Confirmation> {
        let mut changes = self.fleet.changes();
        loop {
            changes.mark_unchanged();
            let confirmations = self.confirmations(entry);
            if is_reached(&confirmations, percent)
                || Instant::now() >= deadline
                || drain.is_started()
            {
                return confirmations;
            }
            tokio::select! {
                _ = changes.changed() => {}
                // A lease that runs out is no change of the fleet.
                () = sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)) => {}
                () = drain.started() => {}
            }
        }
    }

    /// Forgets what is not to be kept, again and again while this replica leads, until the drain.
    pub async fn trim_until(&self, leader: &Leader, drain: &Drain) -> Result<(), StoreError> {
        loop {
            if leader.is_leader()
                && let Err(error) = self.trim().await
            {
                tracing::warn!(%error, "cannot forget old purges");
            }
            tokio::select! {
                () = tokio::time::sleep(self.config.trim_every) => {}
                () = drain.started() => return Ok(()),
            }
        }
    }

    /// Forgets what is not to be kept; returns how many purges that was.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn trim(&self) -> Result<u64, StoreError> {
        let policy =
            TrimPolicy { keep: self.config.keep, entries_max: self.config.keep_entries_max };
        let mut total = 0;
        loop {
            let gone = self.log.trim(policy, unix_ms(self.clock.now())).await?;
            if gone == 0 {
                return Ok(total);
            }
            self.metrics.purges_trimmed.inc_by(gone);
            total += gone;
        }
    }

    fn show_head(&self) {
        let head = *self.log.head().borrow();
        self.metrics.purge_head.set(i64::try_from(head).unwrap_or(i64::MAX));
    }
}

/// The kind of a target in metrics and logs.
#[must_use]
pub fn kind(target: &PurgeTarget) -> &'static str {
    target.kind()
}

fn new_id(now: SystemTime) -> PurgeId {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = uuid::Timestamp::from_unix(uuid::NoContext, since.as_secs(), since.subsec_nanos());
    PurgeId::parse(uuid::Uuid::new_v7(at).to_string()).expect("a uuid has the form of an id")
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);
