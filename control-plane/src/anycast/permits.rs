//! Gives permits: reads a group, asks the interlock, and commits the change if nobody was faster.
//!
//! A commit that was overtaken is tried again on the newer state, where the interlock is asked anew. Invariant: the record
//! that is written was checked as a whole against the record that it replaces.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::Clock;
use tidegate_contract::{
    anycast::Level,
    id::{AnycastGroupId, PopId, PrefixId},
};

use super::{
    interlock::{self, Change, Refusal},
    landing::Load,
    picture::{Picture, picture},
    sites::{Declared, Sites},
    state::{Assigned, GroupState, InterlockState},
};
use crate::{
    health::Reports,
    store::{Commit, CommitError, Expect, Key, Records, Revision, StoreError},
    unix_time::{millis, unix_ms},
};

/// Groups, their permits, and what nodes are told. Cheap to clone.
#[derive(Clone)]
pub struct Anycast {
    records: Arc<dyn Records>,
    declared: Declared,
    reports: Reports,
    clock: Clock,
}

/// A change of levels that somebody asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where.
    pub pop: PopId,
    /// Which prefixes; none means all of the group.
    pub prefixes: Vec<PrefixId>,
    /// What they shall be.
    pub level: Level,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a change does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The group.
    pub group: AnycastGroupId,
    /// The PoP.
    pub pop: PopId,
    /// What each prefix goes from and to.
    pub changes: BTreeMap<PrefixId, (Level, Level)>,
    /// The load that is expected of each PoP, in percent of its capacity.
    pub expected_percent: BTreeMap<PopId, u64>,
    /// The epoch of the permit; absent in a plan that was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AnycastError {
    /// There is no such group or PoP.
    #[error("there is no {0}")]
    NotFound(String),
    /// The interlock says no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Others changed it again and again.
    #[error("the group is changed by others all the time; try again")]
    Contended,
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store does not take it.
    #[error("{0}")]
    Commit(CommitError),
}

impl Anycast {
    /// Over records that all replicas share.
    #[must_use]
    pub fn new(
        records: Arc<dyn Records>,
        declared: Declared,
        reports: Reports,
        clock: Clock,
    ) -> Self {
        Self { records, declared, reports, clock }
    }

    /// Where PoPs are and what groups hold, as it is declared now.
    #[must_use]
    pub fn sites(&self) -> Arc<Sites> {
        (self.declared)()
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }

    /// What nodes report.
    #[must_use]
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        unix_ms(self.clock.now())
    }

    /// A group's record, and which commit wrote it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn state(
        &self,
        group: &AnycastGroupId,
    ) -> Result<(GroupState, Option<Revision>), StoreError> {
        let Some(record) = self.records.get(&group_key(group)).await? else {
            return Ok((GroupState::default(), None));
        };
        let state = serde_json::from_slice(&record.value)
            .map_err(|error| StoreError::damaged("anycast group", error))?;
        Ok((state, Some(record.revision)))
    }

    /// A group as it is now.
    ///
    /// # Errors
    /// [`AnycastError::NotFound`], or the store's.
    pub async fn picture(
        &self,
        group: &AnycastGroupId,
    ) -> Result<(Picture, GroupState), AnycastError> {
        let sites = self.sites();
        let (state, _) = self.state(group).await?;
        Ok((self.picture_of(group, &sites, &state)?, state))
    }

    /// As [`Self::picture`], as if the interlock were this one.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn picture_with(
        &self,
        group: &AnycastGroupId,
        interlock: InterlockState,
    ) -> Result<(Picture, GroupState), AnycastError> {
        let (mut state, _) = self.state(group).await?;
        state.interlock = interlock;
        Ok((self.picture_of(group, &self.sites(), &state)?, state))
    }

    /// What a change would do.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn plan(
        &self,
        group: &AnycastGroupId,
        wanted: &Wanted,
    ) -> Result<Plan, AnycastError> {
        let sites = self.sites();
        let (state, _) = self.state(group).await?;
        self.planned(group, &sites, &state, wanted).map(|(plan, _)| plan)
    }

    /// Makes a change, if it may be.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn set(&self, group: &AnycastGroupId, wanted: &Wanted) -> Result<Plan, AnycastError> {
        for _ in 0..TRIES {
            let sites = self.sites();
            let (mut state, revision) = self.state(group).await?;
            let (mut plan, change) = self.planned(group, &sites, &state, wanted)?;
            assign(&mut state, &change, wanted, self.now_unix_ms());
            plan.epoch = Some(state.epoch);
            if self.swap(group, &state, revision).await? {
                tracing::info!(%group, pop = %wanted.pop, level = %wanted.level, epoch = state.epoch, by = wanted.by, "a permit is given");
                return Ok(plan);
            }
        }
        Err(AnycastError::Contended)
    }

    /// Changes a group's interlock.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn set_interlock(
        &self,
        group: &AnycastGroupId,
        interlock: &InterlockState,
    ) -> Result<(), AnycastError> {
        self.picture(group).await?;
        for _ in 0..TRIES {
            let (mut state, revision) = self.state(group).await?;
            state.interlock = interlock.clone();
            state.epoch += 1;
            if self.swap(group, &state, revision).await? {
                return Ok(());
            }
        }
        Err(AnycastError::Contended)
    }

    /// Reserves the withdrawal of a PoP in all of its groups, if the interlock allows it; or gives it back.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn reserve(
        &self,
        pop: &PopId,
        level: Option<&Level>,
    ) -> Result<Vec<Plan>, AnycastError> {
        for _ in 0..TRIES {
            let sites = self.sites();
            let mut commit = Commit::default();
            let mut plans = Vec::new();
            for (group, members) in sites.groups_of(pop) {
                let (mut state, revision) = self.state(group).await?;
                if let Some(level) = level {
                    let (by, reason) = ("drain".to_owned(), String::new());
                    let (prefixes, pop) = (members.prefixes.clone(), pop.clone());
                    let wanted = Wanted { pop, prefixes, level: level.clone(), by, reason };
                    plans.push(self.planned(group, &sites, &state, &wanted)?.0);
                    state.reserved.insert(wanted.pop);
                } else {
                    state.reserved.remove(pop);
                }
                state.epoch += 1;
                push(&mut commit, group_key(group), revision, encode(&state));
            }
            match self.records.commit(commit).await {
                Ok(_) => return Ok(plans),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(AnycastError::Commit(error)),
            }
        }
        Err(AnycastError::Contended)
    }

    /// Sheds load in every group that asks for it: one round.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn shed(&self) -> Result<Vec<Plan>, AnycastError> {
        let sites = self.sites();
        let mut plans = Vec::new();
        for group in sites.groups.keys() {
            let (state, _) = self.state(group).await?;
            if !state.interlock.is_shedding {
                continue;
            }
            for Change { pop, prefixes, level } in
                super::ladder::round(&self.picture_of(group, &sites, &state)?)
            {
                let by = "shedding".to_owned();
                let reason = "load".to_owned();
                match self.set(group, &Wanted { pop, prefixes, level, by, reason }).await {
                    Ok(plan) => plans.push(plan),
                    // Somebody else changed the picture in between: the next round sees that.
                    Err(AnycastError::Refused(_) | AnycastError::Contended) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(plans)
    }

    fn picture_of(
        &self,
        group: &AnycastGroupId,
        sites: &Sites,
        state: &GroupState,
    ) -> Result<Picture, AnycastError> {
        let declared = sites.groups.get(group);
        let declared = declared.ok_or_else(|| AnycastError::NotFound(format!("group {group}")))?;
        Ok(picture(group, declared, state, &sites.pops, &self.reports, self.now_unix_ms()))
    }

    fn planned(
        &self,
        group: &AnycastGroupId,
        sites: &Sites,
        state: &GroupState,
        wanted: &Wanted,
    ) -> Result<(Plan, Change), AnycastError> {
        let mut picture = self.picture_of(group, sites, state)?;
        // What is reserved for a drain is the drain's own to carry out.
        if wanted.by == DRAIN
            && let Some(site) = picture.sites.get_mut(&wanted.pop)
        {
            site.is_going = false;
        }
        let prefixes =
            if wanted.prefixes.is_empty() { &picture.prefixes } else { &wanted.prefixes };
        let (pop, prefixes) = (wanted.pop.clone(), prefixes.clone());
        let change = Change { pop, prefixes, level: wanted.level.clone() };
        let after = interlock::check(&picture, &change)?;
        let from = |prefix: &PrefixId| (state.level(&change.pop, prefix), change.level.clone());
        let percent = |(pop, load): (PopId, Load)| (pop, load.percent);
        let plan = Plan {
            group: group.clone(),
            pop: change.pop.clone(),
            changes: change.prefixes.iter().map(|prefix| (prefix.clone(), from(prefix))).collect(),
            expected_percent: after.into_iter().map(percent).collect(),
            epoch: None,
        };
        Ok((plan, change))
    }

    /// False when somebody was faster.
    async fn swap(
        &self,
        group: &AnycastGroupId,
        state: &GroupState,
        revision: Option<Revision>,
    ) -> Result<bool, AnycastError> {
        let mut commit = Commit::default();
        push(&mut commit, group_key(group), revision, encode(state));
        match self.records.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(AnycastError::Commit(error)),
        }
    }
}

fn assign(state: &mut GroupState, change: &Change, wanted: &Wanted, now_unix_ms: u64) {
    state.epoch += 1;
    let told = state.levels.entry(change.pop.clone()).or_default();
    for prefix in &change.prefixes {
        let assigned = Assigned {
            level: change.level.clone(),
            epoch: state.epoch,
            expires_unix_ms: now_unix_ms + millis(PERMIT),
            since_unix_ms: now_unix_ms,
            by: wanted.by.clone(),
            reason: wanted.reason.clone(),
        };
        told.insert(prefix.clone(), assigned);
    }
}

pub(super) fn push(commit: &mut Commit, key: Key, revision: Option<Revision>, value: Vec<u8>) {
    let expect = revision.map_or(Expect::Absent, Expect::At);
    commit.expect.push((key.clone(), expect));
    commit.puts.push((key, value.into()));
}

fn encode(state: &GroupState) -> Vec<u8> {
    serde_json::to_vec(state).expect("a group's record is plain data")
}

fn group_key(group: &AnycastGroupId) -> Key {
    Key::parse(&format!("anycast/{group}")).expect("an id is a good part of a key")
}

/// Who carries out drains.
pub const DRAIN: &str = "drain";
/// How long a node may take to begin what it was permitted.
pub(super) const PERMIT: Duration = Duration::from_secs(60);
/// How often a change is tried that others overtake.
const TRIES: u32 = 8;
