//! Approvals: asked for by one person, given by another, used once.
//!
//! Every step is a compare-and-swap on the approval's record, so that of two uses or two decisions one alone happens.

use std::collections::BTreeSet;

use super::{
    Access, AccessError,
    danger::{self, Approval, ApprovalState, Claim},
    decode, encode,
};
use crate::{
    store::{Commit, Expect, Key, Record},
    unix_time::{millis, unix_ms},
};

/// Why a dangerous act may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clearance {
    /// It needs nobody else.
    NotNeeded,
    /// A second person approved: approval and person.
    Approved(String, String),
}

impl Access {
    /// Lets a dangerous act go on, or asks for an approval of it. An approval that is shown is used up.
    ///
    /// # Errors
    /// [`AccessError::ApprovalNeeded`] with the approval that waits, or why the shown one does not do.
    pub async fn clear(&self, claim: Claim, shown: Option<&str>) -> Result<Clearance, AccessError> {
        if let Some(id) = shown {
            return self.use_approval(id, &claim).await;
        }
        if !self.needs_second(&claim.person).await? {
            return Ok(Clearance::NotNeeded);
        }
        let id = self.ask(claim).await?;
        Err(AccessError::ApprovalNeeded { id })
    }

    /// Whether [`Access::clear`] would want a second person of somebody who shows no approval.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn needs_second(&self, person: &str) -> Result<bool, AccessError> {
        Ok(self.config.two_person.is_needed(person, &self.approvers().await?))
    }

    /// Every approval, newest first; those that ended are forgotten.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn approvals(&self) -> Result<Vec<Approval>, AccessError> {
        let records = self.records.list(PREFIX).await?.records;
        let read = |record: &Record| decode::<Approval>("approval", &record.value);
        let mut approvals = records.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        approvals.sort_by(|a, b| (b.asked_unix_ms, &b.id).cmp(&(a.asked_unix_ms, &a.id)));
        Ok(approvals)
    }

    /// The approval that a person would decide on.
    ///
    /// # Errors
    /// As of [`Access::decide`].
    pub async fn decidable(&self, id: &str, person: &str) -> Result<Approval, AccessError> {
        let (_, approval) = self.approval(id).await?;
        danger::may_decide(&approval, person, self.now())
            .map_err(|why| AccessError::ApprovalRefused { id: approval.id.clone(), why })?;
        Ok(approval)
    }

    /// Decides on an approval.
    ///
    /// # Errors
    /// [`AccessError::ApprovalRefused`] when it is not this person's to decide.
    pub async fn decide(
        &self,
        id: &str,
        person: &str,
        is_approved: bool,
    ) -> Result<Approval, AccessError> {
        let (record, mut approval) = self.approval(id).await?;
        danger::may_decide(&approval, person, self.now())
            .map_err(|why| AccessError::ApprovalRefused { id: approval.id.clone(), why })?;
        approval.state =
            if is_approved { ApprovalState::Approved } else { ApprovalState::Rejected };
        approval.decided_by = Some(person.to_owned());
        self.put_approval(&approval, Some(Expect::At(record.revision)), vec![]).await?;
        Ok(approval)
    }

    async fn use_approval(&self, id: &str, claim: &Claim) -> Result<Clearance, AccessError> {
        let (record, mut approval) = self.approval(id).await?;
        danger::allows(&approval, claim, self.now())
            .map_err(|why| AccessError::ApprovalRefused { id: approval.id.clone(), why })?;
        approval.state = ApprovalState::Used;
        self.put_approval(&approval, Some(Expect::At(record.revision)), vec![]).await?;
        Ok(Clearance::Approved(approval.id, approval.decided_by.unwrap_or_default()))
    }

    /// Asks for an approval, or finds the one that was asked for before.
    async fn ask(&self, claim: Claim) -> Result<String, AccessError> {
        let now = self.now();
        let approvals = self.approvals().await?;
        let is_same = |approval: &&Approval| {
            let asked = &approval.claim;
            (asked.danger, &asked.target, &asked.digest, &asked.person)
                == (claim.danger, &claim.target, &claim.digest, &claim.person)
                && matches!(approval.state, ApprovalState::Pending | ApprovalState::Approved)
                && approval.expires_unix_ms > now
        };
        if let Some(approval) = approvals.iter().find(is_same) {
            return Ok(approval.id.clone());
        }
        // What ended stays a while, for who wants to see what became of it; then it makes room.
        let is_over = |approval: &&Approval| {
            approval.expires_unix_ms + millis(self.config.approval_lifetime) < now
        };
        let over: Vec<_> = approvals.iter().filter(is_over).take(FORGOTTEN_AT_ONCE_MAX).collect();
        if approvals.len() - over.len() >= self.config.approvals_max {
            return Err(AccessError::Invalid(format!(
                "{} approvals wait or ended a short time ago; no more are kept",
                self.config.approvals_max
            )));
        }
        let id = hex::encode(rand::random::<[u8; 6]>());
        let approval = Approval {
            id: id.clone(),
            claim,
            state: ApprovalState::Pending,
            asked_unix_ms: now,
            expires_unix_ms: now + millis(self.config.approval_lifetime),
            decided_by: None,
        };
        let over = over.into_iter().filter_map(|approval| key(&approval.id).ok()).collect();
        self.put_approval(&approval, Some(Expect::Absent), over).await?;
        Ok(id)
    }

    async fn approval(&self, id: &str) -> Result<(Record, Approval), AccessError> {
        let record = match key(id) {
            Ok(key) => self.records.get(&key).await?,
            Err(_) => None,
        };
        let short = || id.chars().take(ID_SHOWN_CHARS).collect();
        let record =
            record.ok_or_else(|| AccessError::NotFound { what: "approval", id: short() })?;
        let approval = decode("approval", &record.value)?;
        Ok((record, approval))
    }

    async fn put_approval(
        &self,
        approval: &Approval,
        expect: Option<Expect>,
        deletes: Vec<Key>,
    ) -> Result<(), AccessError> {
        let key = key(&approval.id)?;
        let expect = expect.map(|expect| (key.clone(), expect)).into_iter().collect();
        let puts = vec![(key, encode(approval))];
        self.records.commit(Commit { expect, puts, deletes }).await?;
        Ok(())
    }

    /// The persons who may approve now.
    async fn approvers(&self) -> Result<Vec<String>, AccessError> {
        let mut persons = BTreeSet::new();
        for token in self.tokens().await? {
            let scopes = self.scopes_of(&token).await?;
            if !token.has_ended(self.now()) && scopes.allows_somewhere(super::Verb::Approve) {
                persons.insert(token.person().to_owned());
            }
        }
        Ok(persons.into_iter().collect())
    }

    /// The time of day, in milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        unix_ms(self.clock.now())
    }
}

fn key(id: &str) -> Result<Key, AccessError> {
    Key::parse(&format!("{PREFIX}{id}")).map_err(|error| AccessError::Invalid(error.to_string()))
}

const PREFIX: &str = "approval/";
const FORGOTTEN_AT_ONCE_MAX: usize = 64;
const ID_SHOWN_CHARS: usize = 64;
