//! Several replicas over one state: each says that it lives and what it sees of the nodes, and reads that of the others.
//!
//! A node keeps its lanes wherever it likes, so no replica sees them all by itself. What is shared here is for roll-outs,
//! views and quick confirmations; that a purge is complete never hangs on it, see `purge::confirm`. A replica that
//! lost its lease says nothing until it has it again, and what it said counts no more.

mod said;
mod busy;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_chassis::Drain;
use tidegate_contract::id::{NodeId, PopId};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::{
    busy::{BUSY_EVERY, Busy, Heard},
    said::{Said, TELL_EVERY},
};
use crate::{
    demand::Demand,
    fleet::{Elsewhere, Fleet},
    health::Reports,
    store::{
        Commit, CommitError, Held, Key, Lease, NodeName, NodeRow, Records, Registry, Revision,
        StoreError,
    },
};

/// This replica among the others.
pub struct Replica {
    id: String,
    holder: String,
    ttl: Duration,
    records: Arc<dyn Records>,
    lease: Arc<dyn Lease>,
    registry: Registry,
    fleet: Fleet,
    said: Said,
    busy: Busy,
}

/// A replica that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Living {
    /// Its id.
    pub id: String,
    /// What it says of itself: where it listens.
    pub holder: String,
    /// Its number, which grows with each time it began to live.
    pub epoch: u64,
}

/// What one replica sees, under `sight/<id>`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sights {
    nodes: BTreeMap<String, Elsewhere>,
}

impl Sights {
    fn is_like(&self, other: &Self) -> bool {
        self.nodes.len() == other.nodes.len()
            && self
                .nodes
                .iter()
                .zip(&other.nodes)
                .all(|((name, one), (other_name, other))| name == other_name && one.is_like(other))
    }
}

/// What a lease's record says.
#[derive(Deserialize)]
struct LeaseRecord {
    holder: String,
    epoch: u64,
}

impl Replica {
    /// A replica that others know by `id`, and by `holder` what it is.
    #[must_use]
    pub fn new(
        id: String,
        holder: String,
        ttl: Duration,
        lease: Arc<dyn Lease>,
        registry: Registry,
        fleet: Fleet,
        (reports, demand): (Reports, Demand),
    ) -> Self {
        let records = Arc::clone(registry.records());
        let clock = || {
            let fleet = fleet.clone();
            move || fleet.now_unix_ms()
        };
        let said = Said::new(id.clone(), Arc::clone(&records), reports.clone(), clock());
        let busy = Busy::new(id.clone(), Arc::clone(&records), demand, reports, clock());
        Self { id, holder, ttl, records, lease, registry, fleet, said, busy }
    }

    /// Lives among the others until the drain.
    pub async fn run(self, drain: &Drain) {
        let follow = async {
            let (mut serials, mut heard) = (HashMap::new(), HashMap::new());
            let mut busy = Heard::default();
            let mut head = self.records.head();
            loop {
                if let Err(error) = self.look(&mut serials, &mut heard, &mut busy).await {
                    tracing::warn!(%error, "cannot see what the other replicas see");
                }
                // Many changes in a row are one.
                sleep(LOOK_MIN).await;
                // A lease that ends is no change of the records.
                let _ = timeout(LOOK_EVERY, head.changed()).await;
            }
        };
        let live = async {
            loop {
                match self.lease.acquire(&self.name(), &self.holder, self.ttl).await {
                    Ok(Some(held)) => self.share(&held).await,
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "cannot tell the other replicas"),
                }
                sleep(SHARE_EVERY).await;
            }
        };
        tokio::select! {
            () = follow => {}
            () = live => {}
            () = drain.started() => {}
        }
    }

    fn name(&self) -> String {
        format!("{REPLICA}{}", self.id)
    }

    /// Tells what is seen here, whenever that is something else, until the lease is lost.
    async fn share(&self, held: &Held) {
        if let Err(error) = self.forget_the_dead().await {
            tracing::warn!(%error, "cannot forget replicas that are gone");
        }
        let mut told: Option<Sights> = None;
        let (mut next, mut health) = (Instant::now(), Instant::now());
        let (mut tell, mut pages) = (Instant::now(), 0);
        let (mut tell_busy, mut has_told) = (Instant::now(), false);
        loop {
            if Instant::now() >= tell {
                tell = Instant::now() + TELL_EVERY;
                match self.said.tell(held.fence(), &mut pages).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(%error, "cannot tell what nodes say"),
                }
            }
            if Instant::now() >= tell_busy {
                tell_busy = Instant::now() + BUSY_EVERY;
                match self.busy.tell(held.fence(), &mut has_told).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(%error, "cannot tell what clients ask for"),
                }
            }
            tokio::select! {
                () = held.lost() => return,
                () = sleep_until(next) => next = Instant::now() + SHARE_EVERY,
            }
            let sights = self.sights();
            let is_like = told.as_ref().is_some_and(|told| told.is_like(&sights));
            if told.as_ref() == Some(&sights) || (is_like && Instant::now() < health) {
                continue;
            }
            health = Instant::now() + HEALTH_EVERY;
            let value = serde_json::to_vec(&sights).expect("plain data");
            let key = Key::parse(&format!("{SIGHT}{}", self.id)).expect("an id is plain");
            let commit = Commit {
                expect: vec![held.fence().clone()],
                puts: vec![(key, value.into())],
                deletes: Vec::new(),
            };
            match self.records.commit(commit).await {
                Ok(_) => told = Some(sights),
                Err(CommitError::Conflict { .. }) => return,
                Err(error) => tracing::warn!(%error, "cannot tell the other replicas"),
            }
        }
    }

    fn sights(&self) -> Sights {
        let here = self.fleet.here().into_iter();
        Sights { nodes: here.map(|(name, seen)| (name.to_string(), seen)).collect() }
    }

    async fn look(
        &self,
        serials: &mut HashMap<NodeName, Vec<u8>>,
        heard: &mut HashMap<Key, Revision>,
        busy: &mut Heard,
    ) -> Result<(), StoreError> {
        self.follow_nodes(serials).await?;
        let sights = self.records.list(SIGHT).await?.records;
        let living = living(self.records.as_ref()).await?;
        let living: HashSet<_> = living.into_iter().map(|one| one.id).collect();
        let mut all: HashMap<NodeName, Elsewhere> = HashMap::new();
        for record in sights {
            let id = &record.key.as_str()[SIGHT.len()..];
            if id == self.id || !living.contains(id) {
                continue;
            }
            let sights: Sights = serde_json::from_slice(&record.value)
                .map_err(|error| StoreError::damaged("sight", error))?;
            for (name, seen) in sights.nodes {
                let Some(name) = read_name(&name) else { continue };
                match all.get_mut(&name) {
                    Some(known) => known.merge(seen),
                    None => drop(all.insert(name, seen)),
                }
            }
        }
        self.fleet.seen_elsewhere(&all);
        self.said.hear(heard, |id| living.contains(id)).await?;
        self.busy.hear(busy, |id| living.contains(id)).await
    }

    /// Takes nodes in that were enrolled, renewed or removed through another replica.
    async fn follow_nodes(
        &self,
        serials: &mut HashMap<NodeName, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let rows = self.registry.nodes().await?;
        let names: HashSet<_> = rows.iter().map(|row| row.name.clone()).collect();
        for NodeRow { name, serial, serial_previous, expires_unix_ms, .. } in rows {
            match serials.insert(name.clone(), serial.clone()) {
                Some(before) if before == serial || Some(&before) == serial_previous.as_ref() => {
                    self.fleet.renewed(&name, expires_unix_ms);
                }
                None if self.fleet.knows(&name) => {}
                // New, or enrolled again: its old lanes end.
                _ if !self.fleet.is_as(&name, expires_unix_ms) => {
                    self.fleet.enrolled(name, expires_unix_ms);
                }
                _ => {}
            }
        }
        for name in self.fleet.names().into_iter().filter(|name| !names.contains(name)) {
            // It may have been enrolled here since the list was read.
            if self.registry.node(&name).await?.is_none() {
                serials.remove(&name);
                self.fleet.forget(&name);
            }
        }
        Ok(())
    }

    /// Removes what replicas saw that live no more.
    async fn forget_the_dead(&self) -> Result<(), StoreError> {
        let sights = self.records.list(SIGHT).await?.records;
        let living = living(self.records.as_ref()).await?;
        let is_dead = |key: &Key| living.iter().all(|one| key.as_str()[SIGHT.len()..] != one.id);
        let deletes: Vec<_> =
            sights.into_iter().map(|record| record.key).filter(is_dead).take(DEAD_MAX).collect();
        match self.records.commit(Commit { deletes, ..Commit::default() }).await {
            Err(CommitError::Store(error)) => Err(error),
            _ => {
                self.said.forget(|id| living.iter().any(|one| one.id == id)).await?;
                self.busy.forget(|id| living.iter().any(|one| one.id == id)).await
            }
        }
    }
}

/// The replicas that live.
///
/// # Errors
/// [`StoreError`]
pub async fn living(records: &dyn Records) -> Result<Vec<Living>, StoreError> {
    let prefix = format!("lease/{REPLICA}");
    let leases = records.list(&prefix).await?.records.into_iter();
    leases
        .map(|record| {
            let LeaseRecord { holder, epoch } = serde_json::from_slice(&record.value)
                .map_err(|error| StoreError::damaged("lease", error))?;
            Ok(Living { id: record.key.as_str()[prefix.len()..].to_owned(), holder, epoch })
        })
        .collect()
}

/// The replica that leads, by what it says of itself; `None` while nobody does.
///
/// # Errors
/// [`StoreError`]
pub async fn leading(records: &dyn Records) -> Result<Option<(String, u64)>, StoreError> {
    let key = Key::parse("lease/leader").expect("a good key");
    let found = records.get(&key).await?;
    let read = |value: &[u8]| {
        let LeaseRecord { holder, epoch } =
            serde_json::from_slice(value).map_err(|error| StoreError::damaged("lease", error))?;
        Ok((holder, epoch))
    };
    found.map(|record| read(&record.value)).transpose()
}

fn read_name(text: &str) -> Option<NodeName> {
    let (pop, node) = text.split_once('/')?;
    Some(NodeName { pop: PopId::parse(pop).ok()?, node: NodeId::parse(node).ok()? })
}

const REPLICA: &str = "replica-";
const SIGHT: &str = "sight/";
/// How often at most others are told; a confirmation through another replica takes so long.
const SHARE_EVERY: Duration = Duration::from_millis(250);
/// How often at most they are told when only health is new.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// How long it waits between two looks at the least.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// How often it is looked though no change was told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const DEAD_MAX: usize = 64;
