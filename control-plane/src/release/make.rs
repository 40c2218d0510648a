//! Makes one release: contents first, then the record, the newest number and the roll-out in one commit.
//!
//! Invariant: the commit holds only while nobody else made a release in between, in this process or in another replica.

use std::sync::Arc;

use tidegate_contract::{id::Generation, release::Header};

use super::{
    Course, HEAD_RECORD, KEY_RECORD, Made, ROLLOUT_RECORD, ReleaseError, ReleaseRecord, Releases,
    pages_of,
    record::{label_pages_of, named_by},
    version_key,
};
use crate::{
    change::ChangeSet,
    resource::State,
    rollout::{Pace, Rollout},
    store::{Commit, CommitError, Expect, Key, Revision},
    unix_time::millis,
};

/// What a release is made of.
pub(super) struct Draft<'a> {
    pub(super) version: Generation,
    pub(super) state: State,
    pub(super) rollout: Option<Rollout>,
    pub(super) author: &'a str,
    pub(super) reason: &'a str,
    pub(super) set: Option<(&'a ChangeSet, Revision)>,
    pub(super) repeats: Option<u64>,
    pub(super) pace: Pace,
}

impl Releases {
    /// Writes the next state of a roll-out; false when somebody else did in between.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn move_rollout(
        &self,
        from: &Course,
        next: Option<&Rollout>,
    ) -> Result<bool, ReleaseError> {
        let mut commit = Commit { expect: expectations(from)?, ..Commit::default() };
        put_rollout(&mut commit, next)?;
        let is_done = self.try_commit(commit).await?;
        self.refresh().await?;
        Ok(is_done)
    }

    /// Forgets contents that no kept release names.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn sweep(&self) -> Result<usize, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        let mut named = std::collections::BTreeSet::new();
        for record in self.records().await? {
            let made = self.version(record.header.version).await?;
            named.extend(named_by(&made));
        }
        self.inner.library.retain(&named).await
    }

    pub(super) async fn make_first(
        &self,
        version: Generation,
        state: State,
    ) -> Result<(), ReleaseError> {
        let draft = Draft {
            version,
            state,
            rollout: None,
            author: OWN_LABEL,
            reason: "the first release",
            set: None,
            repeats: None,
            pace: Pace::Fast,
        };
        let _one_at_a_time = self.inner.publishing.lock().await;
        let course = self.course();
        // Another replica may have been first.
        self.make(draft, &course).await?;
        Ok(())
    }

    /// Signs and commits a release; false when somebody else was first.
    pub(super) async fn make(
        &self,
        draft: Draft<'_>,
        course: &Course,
    ) -> Result<bool, ReleaseError> {
        let inner = &self.inner;
        let now = self.now_unix_ms();
        let header = Header {
            version: draft.version,
            root: draft.state.root(),
            created_unix_ms: now,
            expires_unix_ms: now.saturating_add(millis(inner.config.lifetime)),
            build_min: inner.config.build_min,
        };
        let (mut contents, pages) = pages_of(&draft.state);
        let (label_contents, labels) = label_pages_of(&draft.state);
        contents.extend(label_contents);
        let before = course.head.as_ref().map(|head| &head.state.entries);
        let is_new = |(key, entry): &(_, &crate::resource::Entry)| {
            before.and_then(|before| before.get(*key)) != Some(*entry)
        };
        let specs = draft.state.entries.iter().filter(is_new);
        contents.extend(specs.map(|(_, entry)| (entry.hash, entry.body.clone())));
        inner.library.keep(&contents).await?;
        let record = ReleaseRecord {
            header,
            signature: hex::encode(inner.key.sign(&header)),
            key: (*inner.key.public()).clone(),
            author: draft.author.to_owned(),
            reason: draft.reason.to_owned(),
            change: draft.set.map(|(set, _)| set.id.clone()),
            repeats: draft.repeats,
            pace: draft.pace,
            pages,
            labels,
        };
        let mut commit = Commit { expect: expectations(course)?, ..Commit::default() };
        let put = |commit: &mut Commit, key: Key, value: Vec<u8>| {
            commit.puts.push((key, value.into()));
        };
        put(&mut commit, version_key(draft.version)?, serde_json::to_vec(&record)?);
        put(&mut commit, Key::parse(HEAD_RECORD)?, serde_json::to_vec(&draft.version)?);
        put(&mut commit, Key::parse(KEY_RECORD)?, serde_json::to_vec(&record.key)?);
        if let Some((set, revision)) = draft.set {
            let mut set = set.clone();
            set.publish(draft.version.0)?;
            let (key, sealed) = self.sealed_set(&set)?;
            commit.expect.push((key.clone(), Expect::At(revision)));
            put(&mut commit, key, sealed);
        }
        put_rollout(&mut commit, draft.rollout.as_ref())?;
        if let Some(old) = draft.version.0.checked_sub(inner.config.keep_versions) {
            // A base of a roll-out is one version old, so it is never among these.
            commit.deletes.push(version_key(Generation(old))?);
        }
        let is_done = self.try_commit(commit).await?;
        if is_done {
            self.remember(Arc::new(Made::new(record, draft.state)));
        }
        self.refresh().await?;
        Ok(is_done)
    }

    async fn try_commit(&self, commit: Commit) -> Result<bool, ReleaseError> {
        match self.inner.records.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn expectations(course: &Course) -> Result<Vec<(Key, Expect)>, ReleaseError> {
    let expect = |name: &str, revision: Option<u64>| -> Result<_, ReleaseError> {
        Ok((Key::parse(name)?, revision.map_or(Expect::Absent, Expect::At)))
    };
    let (head, rollout) = course.revisions;
    Ok(vec![expect(HEAD_RECORD, head)?, expect(ROLLOUT_RECORD, rollout)?])
}

fn put_rollout(commit: &mut Commit, rollout: Option<&Rollout>) -> Result<(), ReleaseError> {
    let key = Key::parse(ROLLOUT_RECORD)?;
    match rollout {
        Some(rollout) => commit.puts.push((key, serde_json::to_vec(rollout)?.into())),
        None => commit.deletes.push(key),
    }
    Ok(())
}

/// What stands as the author of what the control plane does by itself.
pub(super) const OWN_LABEL: &str = "control plane";
/// Replicas that publish at once; one of them wins each time.
pub(super) const ATTEMPTS_MAX: usize = 8;
