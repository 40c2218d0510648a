//! The records of drains, and the loop that moves them from stage to stage.
//!
//! Only the replica that leads runs the loop; a commit that was overtaken is simply left to the next turn. Invariant: the
//! routes of a stage are permitted before the stage is recorded, so that a crash in between repeats a permit and never
//! skips one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidegate_contract::{id::PopId, telemetry::Orders};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::machine::{Drain, Facts, Stage, Step, Target, Times, next};
use crate::{
    anycast::{Anycast, AnycastError, DRAIN, Plan, Wanted},
    fleet::Readers,
    health::NodeReport,
    store::{Commit, CommitError, Expect, Key, Record, Revision, StoreError},
    unix_time::millis,
};

/// Drains. Cheap to clone.
#[derive(Clone)]
pub struct Drains {
    anycast: Anycast,
    readers: Readers,
    times: Arc<Times>,
}

/// A drain that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewDrain {
    /// Which PoP.
    pub pop: PopId,
    /// How far.
    pub target: Target,
    /// How long it waits altogether.
    pub deadline: Option<Duration>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why a drain is not begun or ended.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The PoP drains already.
    #[error("{0} drains already")]
    Already(PopId),
    /// The PoP does not drain.
    #[error("{0} does not drain")]
    Not(PopId),
    /// About its routes.
    #[error(transparent)]
    Anycast(#[from] AnycastError),
}

impl From<StoreError> for DrainError {
    fn from(error: StoreError) -> Self {
        Self::Anycast(error.into())
    }
}

impl Drains {
    /// Over the same records as the groups.
    #[must_use]
    pub fn new(anycast: Anycast, readers: Readers, times: Times) -> Self {
        Self { anycast, readers, times: Arc::new(times) }
    }

    /// Rises whenever orders may be others.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Revision> {
        self.anycast.records().head()
    }

    /// The groups behind them.
    #[must_use]
    pub fn anycast(&self) -> &Anycast {
        &self.anycast
    }

    /// Who answers clients by them.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// All drains.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn all(&self) -> Result<BTreeMap<PopId, Drain>, StoreError> {
        let listing = self.anycast.records().list(FOLDER).await?;
        let read = |record: Record| decode(&record).map(|drain| (drain.pop.clone(), drain));
        listing.records.into_iter().map(read).collect()
    }

    /// The drain of a PoP.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn of(&self, pop: &PopId) -> Result<Option<Drain>, StoreError> {
        Ok(self.find(pop).await?.map(|(drain, _)| drain))
    }

    /// What beginning a drain would do to routes.
    ///
    /// # Errors
    /// [`DrainError`]
    pub async fn plan(&self, new: &NewDrain) -> Result<Vec<Plan>, DrainError> {
        if self
            .find(&new.pop)
            .await?
            .is_some_and(|(drain, _)| drain.returns_since_unix_ms.is_none())
        {
            return Err(DrainError::Already(new.pop.clone()));
        }
        let sites = self.anycast.sites();
        let mut plans = Vec::new();
        for (group, _) in sites.groups_of(&new.pop) {
            plans
                .push(self.anycast.plan(group, &wanted(new.pop.clone(), new.target.last())).await?);
        }
        Ok(plans)
    }

    /// Begins a drain: reserves the withdrawal and records it.
    ///
    /// # Errors
    /// [`DrainError`]
    pub async fn begin(&self, new: NewDrain) -> Result<(Drain, Vec<Plan>), DrainError> {
        let found = self.find(&new.pop).await?;
        if found.as_ref().is_some_and(|(drain, _)| drain.returns_since_unix_ms.is_none()) {
            return Err(DrainError::Already(new.pop));
        }
        let plans = self.anycast.reserve(&new.pop, Some(&new.target.level())).await?;
        let now = self.anycast.now_unix_ms();
        let drain = Drain {
            pop: new.pop,
            stage: Stage::Permit,
            target: new.target,
            since_unix_ms: now,
            begun_unix_ms: now,
            deadline_unix_ms: now + millis(new.deadline.unwrap_or(self.times.deadline)),
            by: new.by,
            reason: new.reason,
            returns_since_unix_ms: None,
            slow_start_ms: 0,
        };
        if self.swap(&drain, found.map(|(_, revision)| revision)).await? {
            Ok((drain, plans))
        } else {
            Err(DrainError::Already(drain.pop))
        }
    }

    /// Brings a PoP back: routes at once, its share of clients slowly.
    ///
    /// # Errors
    /// [`DrainError`]
    pub async fn undo(
        &self,
        pop: &PopId,
        slow_start: Option<Duration>,
    ) -> Result<Drain, DrainError> {
        let (mut drain, revision) =
            self.find(pop).await?.ok_or_else(|| DrainError::Not(pop.clone()))?;
        self.announce(pop, Stage::Permit).await?;
        self.turn_back(&mut drain, slow_start);
        if !self.swap(&drain, Some(revision)).await? {
            return Err(AnycastError::Contended.into());
        }
        self.anycast.reserve(pop, None).await?;
        Ok(drain)
    }

    /// What bringing a PoP back would do: the drain as it would be, and what would change about routes.
    ///
    /// # Errors
    /// [`DrainError`]
    pub async fn plan_undo(
        &self,
        pop: &PopId,
        slow_start: Option<Duration>,
    ) -> Result<(Drain, Vec<Plan>), DrainError> {
        let found = self.find(pop).await?;
        let (mut drain, _) = found.ok_or_else(|| DrainError::Not(pop.clone()))?;
        let (sites, mut plans) = (self.anycast.sites(), Vec::new());
        for (group, members) in sites.groups_of(pop) {
            let (state, _) = self.anycast.state(group).await?;
            let level = Stage::Permit.level();
            if members.prefixes.iter().any(|prefix| state.level(pop, prefix) != level) {
                let wanted = wanted(pop.clone(), Stage::Permit);
                plans.push(self.anycast.plan(group, &wanted).await?);
            }
        }
        self.turn_back(&mut drain, slow_start);
        Ok((drain, plans))
    }

    fn turn_back(&self, drain: &mut Drain, slow_start: Option<Duration>) {
        drain.returns_since_unix_ms = Some(self.anycast.now_unix_ms());
        drain.slow_start_ms = millis(slow_start.unwrap_or(self.times.slow_start));
    }

    /// What the nodes of a PoP shall do about routes and clients.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn orders(&self, pop: &PopId) -> Result<Orders, StoreError> {
        let is_leaving = self.of(pop).await?.is_some_and(|drain| drain.asks_to_leave());
        Ok(Orders { is_leaving, ..self.anycast.orders(pop).await? })
    }

    /// Moves every drain by one stage at the most.
    ///
    /// # Errors
    /// [`DrainError`]
    pub async fn turn(&self) -> Result<(), DrainError> {
        let listing = self.anycast.records().list(FOLDER).await?;
        for record in listing.records {
            let mut drain = decode(&record)?;
            let now = self.anycast.now_unix_ms();
            let reports = self.anycast.reports().fresh(now);
            let facts = facts(&drain, &reports, self.readers.standing(record.revision, now));
            match next(&drain, &facts, &self.times, now) {
                Step::Stay => {}
                Step::Enter(stage) => {
                    self.announce(&drain.pop, stage).await?;
                    (drain.stage, drain.since_unix_ms) = (stage, now);
                    if self.swap(&drain, Some(record.revision)).await? {
                        tracing::info!(pop = %drain.pop, stage = stage.as_str(), "the drain goes on");
                    }
                }
                Step::Forget => {
                    let expect = vec![(record.key.clone(), Expect::At(record.revision))];
                    let gone = Commit { expect, deletes: vec![record.key], ..Commit::default() };
                    if committed(self.anycast.records().commit(gone).await)? {
                        tracing::info!(pop = %drain.pop, "the drain is over");
                    }
                }
            }
        }
        Ok(())
    }

    /// Judges health, moves drains and sheds load, until the drain of this process. Everybody judges; only who leads
    /// changes anything.
    pub async fn run(&self, is_leader: watch::Receiver<bool>, ending: &tidegate_chassis::Drain) {
        let mut ticks = interval(TURN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = 0u64;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ending.started() => return,
            }
            self.anycast.reports().judge(self.anycast.now_unix_ms());
            if !*is_leader.borrow() {
                continue;
            }
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "a drain does not go on");
            }
            turn += 1;
            if turn.is_multiple_of(SHED_EVERY)
                && let Err(error) = self.anycast.shed().await
            {
                tracing::warn!(%error, "load is not shed");
            }
        }
    }

    /// The routes of a stage, in every group of the PoP.
    async fn announce(&self, pop: &PopId, stage: Stage) -> Result<(), AnycastError> {
        let sites = self.anycast.sites();
        for (group, members) in sites.groups_of(pop) {
            let (state, _) = self.anycast.state(group).await?;
            let level = stage.level();
            if members.prefixes.iter().all(|prefix| state.level(pop, prefix) == level) {
                continue;
            }
            self.anycast.set(group, &wanted(pop.clone(), stage)).await?;
        }
        Ok(())
    }

    async fn find(&self, pop: &PopId) -> Result<Option<(Drain, Revision)>, StoreError> {
        let record = self.anycast.records().get(&key(pop)).await?;
        record.map(|record| Ok((decode(&record)?, record.revision))).transpose()
    }

    /// False when somebody was faster.
    async fn swap(&self, drain: &Drain, revision: Option<Revision>) -> Result<bool, DrainError> {
        let key = key(&drain.pop);
        let value = serde_json::to_vec(drain).expect("a drain is plain data");
        let expect = vec![(key.clone(), revision.map_or(Expect::Absent, Expect::At))];
        let commit = Commit { expect, puts: vec![(key, value.into())], ..Commit::default() };
        committed(self.anycast.records().commit(commit).await)
    }
}

fn committed(done: Result<Revision, CommitError>) -> Result<bool, DrainError> {
    match done {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict { .. }) => Ok(false),
        Err(error) => Err(AnycastError::Commit(error).into()),
    }
}

fn wanted(pop: PopId, stage: Stage) -> Wanted {
    let (by, reason) = (DRAIN.to_owned(), format!("stage {}", stage.as_str()));
    Wanted { pop, prefixes: Vec::new(), level: stage.level(), by, reason }
}

fn facts(drain: &Drain, reports: &[NodeReport], (has_readers, is_seen): (bool, bool)) -> Facts {
    let nodes = || reports.iter().filter(|node| node.name.pop == drain.pop);
    let speakers = nodes().filter_map(|node| node.report.speaker.as_ref());
    let levels = speakers.flat_map(|speaker| speaker.levels.values());
    Facts {
        has_readers,
        is_seen,
        is_leaving: nodes().all(|node| node.report.is_leaving),
        rank_min: levels.map(tidegate_contract::anycast::Level::rank).min(),
        connections: nodes().map(|node| node.report.load.connections).sum(),
    }
}

fn decode(record: &Record) -> Result<Drain, StoreError> {
    serde_json::from_slice(&record.value).map_err(|error| StoreError::damaged("drain", error))
}

fn key(pop: &PopId) -> Key {
    Key::parse(&format!("{FOLDER}{pop}")).expect("an id is a good part of a key")
}

const FOLDER: &str = "drain/";
const TURN: Duration = Duration::from_secs(1);
/// In turns: the research's loop of ten seconds.
const SHED_EVERY: u64 = 10;
