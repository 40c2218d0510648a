//! What clients ask for most, shared between replicas: a list of the busiest must not hang on which of them is asked.
//!
//! Each replica writes one record every five seconds, while another one lives to read it. Invariant: a node counts at one
//! replica; who speaks to another one now is forgotten here.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::living;
use crate::{
    demand::Demand,
    health::Reports,
    store::{Commit, CommitError, Expect, Key, Records, Revision, StoreError},
};

/// What was told to this replica and to the others.
pub(super) struct Busy {
    id: String,
    records: Arc<dyn Records>,
    demand: Demand,
    reports: Reports,
    now_unix_ms: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// What was heard of the others, and when it was looked last.
#[derive(Default)]
pub(super) struct Heard {
    revisions: HashMap<Key, Revision>,
    next: Option<Instant>,
}

impl Busy {
    pub(super) fn new(
        id: String,
        records: Arc<dyn Records>,
        demand: Demand,
        reports: Reports,
        now_unix_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { id, records, demand, reports, now_unix_ms: Box::new(now_unix_ms) }
    }

    /// Tells what was told here, as long as the fence holds. False when it does not.
    pub(super) async fn tell(
        &self,
        fence: &(Key, Expect),
        has_told: &mut bool,
    ) -> Result<bool, StoreError> {
        self.forget_moved();
        let is_alone = living(self.records.as_ref()).await?.len() < 2;
        let (demand, now) = (self.demand.clone(), (self.now_unix_ms)());
        // A large fleet's is some work.
        let share = tokio::task::spawn_blocking(move || demand.share(now)).await;
        let share = share.unwrap_or_default();
        // Nobody reads it, or there is nothing to say and nothing to take back.
        if (is_alone || share.is_empty()) && !*has_told {
            return Ok(true);
        }
        let value = serde_json::to_vec(&share).expect("plain data");
        let commit = Commit {
            expect: vec![fence.clone()],
            puts: vec![(self.key(), value.into())],
            deletes: Vec::new(),
        };
        match self.records.commit(commit).await {
            Ok(_) => {
                *has_told = !share.is_empty() && !is_alone;
                Ok(true)
            }
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(CommitError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "what clients ask for is not told");
                Ok(true)
            }
        }
    }

    /// Takes what the other replicas told since the last time.
    pub(super) async fn hear(
        &self,
        heard: &mut Heard,
        is_living: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        if heard.next.is_some_and(|next| Instant::now() < next) {
            return Ok(());
        }
        heard.next = Some(Instant::now() + HEAR_EVERY);
        let records = self.records.list(FOLDER).await?.records;
        heard.revisions.retain(|key, _| records.iter().any(|record| record.key == *key));
        let mut is_new = false;
        for record in records {
            let id = &record.key.as_str()[FOLDER.len()..];
            if id == self.id || !is_living(id) {
                continue;
            }
            match heard.revisions.insert(record.key.clone(), record.revision) {
                Some(before) if before != record.revision => {}
                // Known already; or of any age: the next one will tell.
                _ => continue,
            }
            let share = serde_json::from_slice(&record.value)
                .map_err(|error| StoreError::damaged("busy", error))?;
            self.demand.heard(id, share, (self.now_unix_ms)());
            is_new = true;
        }
        if is_new {
            self.forget_moved();
        }
        self.demand.retain_replicas(is_living);
        Ok(())
    }

    /// Removes what replicas told that live no more.
    pub(super) async fn forget(&self, is_living: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let records = self.records.list(FOLDER).await?.records.into_iter();
        let is_dead = |key: &Key| !is_living(&key.as_str()[FOLDER.len()..]);
        let dead = records.map(|record| record.key).filter(is_dead).take(DEAD_MAX);
        let deletes: Vec<_> = dead.collect();
        if deletes.is_empty() {
            return Ok(());
        }
        match self.records.commit(Commit { deletes, ..Commit::default() }).await {
            Err(CommitError::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets nodes whose newest word another replica heard: they count there.
    fn forget_moved(&self) {
        let moved = self.reports.all().into_iter().filter(|node| !node.is_here);
        let moved: BTreeSet<_> = moved.map(|node| node.name).collect();
        self.demand.retain(|name| !moved.contains(name));
    }

    fn key(&self) -> Key {
        Key::parse(&format!("{FOLDER}{}", self.id)).expect("an id is plain")
    }
}

/// How often each replica tells.
pub(super) const BUSY_EVERY: Duration = Duration::from_secs(5);
/// How often at most the others are looked at.
const HEAR_EVERY: Duration = Duration::from_secs(2);
const FOLDER: &str = "busy/";
const DEAD_MAX: usize = 64;
