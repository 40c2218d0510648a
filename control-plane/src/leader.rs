//! Which replica leads: the holder of the lease `leader`.
//!
//! Every replica answers and accepts; only the leader moves what must be moved by one: roll-outs, drains, trims. A
//! leader that was cut off learns of it within the lease's time, and until then its fence keeps what it writes out.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::Drain;
use tokio::{sync::watch, time::sleep};

use crate::{
    metrics::Metrics,
    store::{Commit, Expect, Held, Key, Lease},
};

/// Settings of leadership.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a leader that vanished is waited for. Replicas on one etcd lead in turn; a control plane of one
    /// process always leads.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How often a replica that does not lead looks whether it may.
    #[serde(with = "humantime_serde")]
    pub retry: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(5), retry: Duration::from_millis(500) }
    }
}

/// A time of leading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Its number; only grows, over all replicas.
    pub epoch: u64,
    fence: (Key, Expect),
}

impl Term {
    /// Makes a commit fail once this term is over.
    pub fn guard(&self, commit: &mut Commit) {
        commit.expect.push(self.fence.clone());
    }
}

/// Whether this replica leads, now and on every change. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leader {
    term: watch::Receiver<Option<Term>>,
    leads: watch::Receiver<bool>,
}

/// The side that takes the lease.
pub struct Candidate {
    lease: Arc<dyn Lease>,
    holder: String,
    config: Config,
    term: watch::Sender<Option<Term>>,
    leads: watch::Sender<bool>,
    metrics: Metrics,
}

/// A replica that does not lead yet, and what it tells of that.
#[must_use]
pub fn stand(
    lease: Arc<dyn Lease>,
    holder: String,
    config: Config,
    metrics: Metrics,
) -> (Candidate, Leader) {
    let (term, term_watch) = watch::channel(None);
    let (leads, leads_watch) = watch::channel(false);
    let leader = Leader { term: term_watch, leads: leads_watch };
    (Candidate { lease, holder, config, term, leads, metrics }, leader)
}

impl Leader {
    /// The term that this replica leads in.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.term.borrow().clone()
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.term.borrow().is_some()
    }

    /// Whether this replica leads, now and on every change.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// To be told when a term begins or ends.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Term>> {
        self.term.clone()
    }
}

impl Candidate {
    /// Leads whenever it may, until the drain; then lets another one lead.
    pub async fn run(self, drain: &Drain) {
        loop {
            match self.lease.acquire(LEASE, &self.holder, self.config.ttl).await {
                Ok(Some(held)) => self.lead(held, drain).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot ask who leads"),
            }
            tokio::select! {
                () = sleep(self.config.retry) => {}
                () = drain.started() => return,
            }
        }
    }

    async fn lead(&self, held: Held, drain: &Drain) {
        let term = Term { epoch: held.epoch(), fence: held.fence().clone() };
        tracing::info!(epoch = term.epoch, "leads");
        self.term.send_replace(Some(term));
        self.leads.send_replace(true);
        self.metrics.leads.set(1);
        tokio::select! {
            () = held.lost() => tracing::warn!(epoch = held.epoch(), "leads no longer: the lease is lost"),
            () = drain.started() => {}
        }
        self.metrics.leads.set(0);
        self.leads.send_replace(false);
        self.term.send_replace(None);
    }
}

const LEASE: &str = "leader";
