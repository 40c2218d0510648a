//! Makes releases: from a change, from an older release, from the same content again.
//!
//! Contents are written first; the release, the newest number and the roll-out follow in one commit that holds only
//! while nobody else made one in between. What was seen of a resource is checked again each time that is tried anew.

use std::sync::Arc;

use tidegate_contract::{
    id::{Generation, PopId},
    release::Header,
    resource::Kind,
};

use super::{
    Course, HEAD_RECORD, KEY_RECORD, Made, ROLLOUT_RECORD, ReleaseError, ReleaseRecord, Releases,
    pages_of, record::named_by, version_key,
};
use crate::{
    change::{Act, ChangeSet, Step, Wish, plan},
    resource::State,
    rollout::{NodeReport, Pace, Rollout, Split, split},
    store::{Commit, CommitError, Expect, Key, Revision},
    unix_time::millis,
};

/// A change to publish.
pub struct Publish<'a> {
    /// What shall be different.
    pub wish: &'a Wish,
    /// Who gets it at first.
    pub pace: Pace,
    /// Who asks: the label of a token.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
    /// The change-set that it is.
    pub set: Option<(&'a ChangeSet, Revision)>,
    /// Whether anything tells clients where to go: what goes away leaves that first.
    pub steers: bool,
    /// Whether it is only checked.
    pub is_dry: bool,
    /// What nodes report now: the yardstick of the roll-out.
    pub reports: &'a [NodeReport],
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Published {
    /// The version afterwards.
    pub version: Generation,
    /// What is different.
    pub steps: Vec<Step>,
}

impl Published {
    /// Whether anything is different.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether the one thing that was asked for is new.
    #[must_use]
    pub fn is_creation(&self) -> bool {
        self.steps.iter().any(|step| step.act == Act::Create)
    }
}

/// What a release is made of.
struct Draft<'a> {
    version: Generation,
    state: State,
    rollout: Option<Rollout>,
    author: &'a str,
    reason: &'a str,
    set: Option<(&'a ChangeSet, Revision)>,
    repeats: Option<u64>,
    pace: Pace,
}

impl Releases {
    /// Publishes a change.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn publish(&self, publish: Publish<'_>) -> Result<Published, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let course = self.course();
            let head = self.head()?;
            let version = Generation(head.version().0 + 1);
            let planned = plan(&head.state, publish.wish, version)?;
            let (steps, mut state) = (planned.steps, planned.state);
            if steps.is_empty() {
                let version = head.version();
                return Ok(Published { version, steps });
            }
            if course.rollout.is_some() {
                return Err(ReleaseError::UnderWay(head.version()));
            }
            if publish.is_dry {
                return Ok(Published { version, steps });
            }
            let (base, target) = (head.version().0, version.0);
            let now = self.now_unix_ms();
            let canary = self.inner.rollout.canary.as_ref();
            let mut split = split(&steps, publish.steers);
            if !split.then.is_empty() {
                let mut wish = publish.wish.clone();
                wish.deletes.retain(|key| !split.then.contains(key));
                match plan(&head.state, &wish, version) {
                    Ok(additions) => state = additions.state,
                    // Old and new cannot stand side by side: one host in two properties, say.
                    Err(_) => split = Split::default(),
                }
            }
            let pops = pops_of(&state);
            let begun =
                Rollout::begin((base, target), publish.pace, pops, canary, now, publish.reports);
            let rollout = begun.in_turns(split).unless_over().filter(|one| !one.order.is_empty());
            let draft = Draft {
                version,
                state,
                rollout,
                author: publish.author,
                reason: publish.reason,
                set: publish.set,
                repeats: None,
                pace: publish.pace,
            };
            if self.make(draft, &course).await? {
                return Ok(Published { version, steps });
            }
        }
        Err(ReleaseError::Contended)
    }

    /// Takes away what a roll-out that everybody runs has left for the next release; what steers gets it first.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn publish_rest(
        &self,
        course: &Course,
        rollout: &Rollout,
        reports: &[NodeReport],
    ) -> Result<Generation, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        let head = course.head.as_ref().ok_or(ReleaseError::NotFound(Generation(0)))?;
        let version = Generation(head.version().0 + 1);
        let deletes = rollout.then.iter().filter(|key| head.state.entries.contains_key(*key));
        let wish = Wish { deletes: deletes.cloned().collect(), ..Wish::default() };
        let state = plan(&head.state, &wish, version)?.state;
        let pops = pops_of(&state);
        let canary = self.inner.rollout.canary.as_ref();
        let (between, now) = ((head.version().0, version.0), self.now_unix_ms());
        let next = Rollout::begin(between, rollout.pace, pops, canary, now, reports);
        let next = next.in_turns(Split { steering_first: true, then: Vec::new() });
        let draft = Draft {
            version,
            state,
            rollout: Some(next),
            author: &head.record.author,
            reason: &head.record.reason,
            set: None,
            repeats: None,
            pace: rollout.pace,
        };
        // Whoever was faster has changed what is to be done.
        self.make(draft, course).await?;
        Ok(version)
    }

    /// Releases the content of an older version again, to everybody at once; ends the roll-out that may be under way.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn roll_back(
        &self,
        to: Generation,
        author: &str,
        reason: &str,
    ) -> Result<Generation, ReleaseError> {
        let state = self.version(to).await?.state.clone();
        self.repeat(to, &state, author, reason).await
    }

    /// Releases the newest content again: it would expire, or the key is another.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn reissue(&self, reason: &str) -> Result<Generation, ReleaseError> {
        let head = self.head()?;
        self.repeat(head.version(), &head.state, OWN_LABEL, reason).await
    }

    /// Releases the newest content again under a number above one that a node has: the records were restored from a
    /// backup. A jump of more than a million is refused, so that no node can use the numbers up.
    ///
    /// # Errors
    /// [`ReleaseError::TooFarAhead`]
    pub async fn raise_above(&self, seen: Generation) -> Result<Generation, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let (course, head) = (self.course(), self.head()?);
            if seen < head.version() {
                return Ok(head.version());
            }
            if seen.0 - head.version().0 > JUMP_MAX {
                return Err(ReleaseError::TooFarAhead);
            }
            let version = Generation(seen.0 + 1);
            let mut draft = draft_of(version, &head, "a node has a number that is not from here");
            // What was going out goes on under its new number.
            draft.rollout =
                course.rollout.clone().map(|rollout| Rollout { target: version.0, ..rollout });
            if self.make(draft, &course).await? {
                return Ok(version);
            }
        }
        Err(ReleaseError::Contended)
    }

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

    async fn repeat(
        &self,
        of: Generation,
        state: &State,
        author: &str,
        reason: &str,
    ) -> Result<Generation, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let course = self.course();
            let version = Generation(self.head()?.version().0 + 1);
            let draft = Draft {
                version,
                state: state.clone(),
                rollout: None,
                author,
                reason,
                set: None,
                repeats: Some(of.0),
                pace: Pace::Fast,
            };
            if self.make(draft, &course).await? {
                return Ok(version);
            }
        }
        Err(ReleaseError::Contended)
    }

    /// Signs and commits a release; false when somebody else was first.
    async fn make(&self, draft: Draft<'_>, course: &Course) -> Result<bool, ReleaseError> {
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

fn draft_of<'a>(version: Generation, of: &Made, reason: &'a str) -> Draft<'a> {
    Draft {
        version,
        state: of.state.clone(),
        rollout: None,
        author: OWN_LABEL,
        reason,
        set: None,
        repeats: Some(of.version().0),
        pace: Pace::Fast,
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

fn pops_of(state: &State) -> Vec<PopId> {
    let pops = state.of_kind(Kind::Pop).map(|(name, _)| PopId::parse(name.as_str()));
    pops.filter_map(Result::ok).collect()
}

/// What stands as the author of what the control plane does by itself.
const OWN_LABEL: &str = "control plane";
/// Replicas that publish at once; one of them wins each time.
const ATTEMPTS_MAX: usize = 8;
/// The largest step of `raise_above`.
const JUMP_MAX: u64 = 1_000_000;
