//! Change-sets in the records: drafted by one, looked at by another, published once.
//!
//! They are sealed, since a draft may hold a secret. A change-set is changed only as it was when it was read.

use tidegate_contract::id::Generation;

use super::{ReleaseError, Releases};
use crate::{
    change::{ChangeSet, ChangeState, Wish},
    store::{Commit, Expect, Key, Revision},
};

/// What somebody drafts.
pub struct Draft<'a> {
    /// What it is.
    pub title: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Who: the label of a token.
    pub author: &'a str,
    /// The version that it was drafted on; absent: the newest.
    pub base: Option<Generation>,
    /// What it changes.
    pub wish: Wish,
}

impl Releases {
    /// Keeps a draft as a change-set. What its author had seen is what the base has.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn draft(&self, draft: Draft<'_>) -> Result<ChangeSet, ReleaseError> {
        let head = self.head()?;
        let base = match draft.base {
            Some(base) if base != head.version() => self.version(base).await?,
            _ => head,
        };
        let mut wish = draft.wish;
        wish.saw(&base.state);
        // Its own faults are told now; conflicts may still come.
        crate::change::plan(&base.state, &wish, Generation(base.version().0 + 1))?;
        let open = self.change_sets().await?;
        let alive = open.iter().filter(|set| set.check_alive().is_ok()).count();
        if alive >= ALIVE_MAX {
            return Err(ReleaseError::TooManyDrafts(ALIVE_MAX));
        }
        let now = self.now_unix_ms();
        let set = ChangeSet {
            id: format!("c{now:013}-{}", hex::encode(rand::random::<[u8; 4]>())),
            title: draft.title.to_owned(),
            reason: draft.reason.to_owned(),
            author: draft.author.to_owned(),
            created_unix_ms: now,
            base: base.version().0,
            wish,
            state: ChangeState::Open,
            approved_by: None,
            version: None,
        };
        self.write_set(&set, Expect::Absent, past_of(&open)?).await?;
        Ok(set)
    }

    /// Every change-set, the newest first.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn change_sets(&self) -> Result<Vec<ChangeSet>, ReleaseError> {
        let listing = self.inner.records.list(CHANGE_PREFIX).await?;
        let read = |record: &crate::store::Record| self.open_set(&record.key, &record.value);
        listing.records.iter().rev().map(read).collect()
    }

    /// One change-set, and the commit that wrote it.
    ///
    /// # Errors
    /// [`ReleaseError::NoChange`]
    pub async fn change_set(&self, id: &str) -> Result<(ChangeSet, Revision), ReleaseError> {
        let missing = || ReleaseError::NoChange(id.chars().take(64).collect());
        let key = Key::parse(&format!("{CHANGE_PREFIX}{id}")).map_err(|_| missing())?;
        let record = self.inner.records.get(&key).await?.ok_or_else(missing)?;
        Ok((self.open_set(&key, &record.value)?, record.revision))
    }

    /// Changes a change-set as it was when it was read.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn move_set(
        &self,
        id: &str,
        act: impl FnOnce(&mut ChangeSet) -> Result<(), crate::change::SetError>,
    ) -> Result<ChangeSet, ReleaseError> {
        let (mut set, revision) = self.change_set(id).await?;
        act(&mut set)?;
        self.write_set(&set, Expect::At(revision), Vec::new()).await?;
        Ok(set)
    }

    /// A change-set as it lies in the records.
    pub(super) fn sealed_set(&self, set: &ChangeSet) -> Result<(Key, Vec<u8>), ReleaseError> {
        let key = Key::parse(&format!("{CHANGE_PREFIX}{}", set.id))?;
        let sealed = self.inner.library.vault.seal(key.as_str(), &serde_json::to_vec(set)?);
        Ok((key, sealed))
    }

    fn open_set(&self, key: &Key, sealed: &[u8]) -> Result<ChangeSet, ReleaseError> {
        let plain = self.inner.library.vault.unseal(key.as_str(), sealed)?;
        Ok(serde_json::from_slice(&plain)?)
    }

    async fn write_set(
        &self,
        set: &ChangeSet,
        expect: Expect,
        deletes: Vec<Key>,
    ) -> Result<(), ReleaseError> {
        let (key, sealed) = self.sealed_set(set)?;
        let expect = vec![(key.clone(), expect)];
        let commit = Commit { expect, puts: vec![(key, sealed.into())], deletes };
        self.inner.records.commit(commit).await?;
        Ok(())
    }
}

/// The oldest change-sets that came to an end and are more than are kept.
fn past_of(sets: &[ChangeSet]) -> Result<Vec<Key>, ReleaseError> {
    let past = sets.iter().filter(|set| set.check_alive().is_err()).skip(PAST_MAX);
    let key = |set: &ChangeSet| Key::parse(&format!("{CHANGE_PREFIX}{}", set.id));
    Ok(past.take(PAST_AT_ONCE).map(key).collect::<Result<_, _>>()?)
}

const CHANGE_PREFIX: &str = "change/";
/// Drafts that nobody has published or abandoned.
const ALIVE_MAX: usize = 200;
/// Change-sets that came to an end and are kept to look at.
const PAST_MAX: usize = 500;
/// Change-sets forgotten in one commit.
const PAST_AT_ONCE: usize = 50;
