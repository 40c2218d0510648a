//! One authority takes the place of another while nodes stay connected, on every replica alike.
//!
//! The record says who signs and who is believed; each replica follows it. The key of the next authority goes to the other
//! replicas sealed under `records.key`, which all of them have, and is forgotten when the rotation ends: a backup of the
//! records alone gives it to nobody. Invariant: a step is recorded before any replica acts on it.

mod plan;

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::{Clock, Drain};

use crate::{
    ca::{Authority, CaError, ServerIdentity},
    fleet::Fleet,
    release::{ReleaseError, Releases, Vault, VaultError},
    store::{Commit, CommitError, Expect, Key, Records, Revision, StoreError},
};

pub use plan::{CutOff, Mark, Marks, NodeTrust, Phase, Step, cut_off};

/// Moves a control plane from one authority to the next. Cheap to clone.
#[derive(Clone)]
pub struct Rotation(Arc<Inner>);

struct Inner {
    records: Arc<dyn Records>,
    authority: Arc<Authority>,
    identity: Arc<ServerIdentity>,
    vault: Vault,
    releases: Releases,
    fleet: Fleet,
    clock: Clock,
    /// One step at a time in this process; other replicas are told apart by the record.
    stepping: tokio::sync::Mutex<()>,
}

/// What a rotation works on.
pub struct Parts {
    /// Where the record lies.
    pub records: Arc<dyn Records>,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// What this server shows.
    pub identity: Arc<ServerIdentity>,
    /// What nodes verify.
    pub releases: Releases,
    /// What nodes say.
    pub fleet: Fleet,
    /// The time of day.
    pub clock: Clock,
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// It is not its turn.
    #[error("{0}")]
    NotNow(&'static str),
    /// Nodes would lose their way.
    #[error("{}", cut_off_words(.0))]
    CutsOff(Vec<CutOff>),
    /// A release goes out.
    #[error("a release is going out: promote it, wait for it or roll it back first")]
    ReleaseUnderWay,
    /// Somebody else was faster.
    #[error("somebody else rotates at the same time; try again")]
    Contended,
    /// The record does not read.
    #[error("the record of the authority does not read: {0}")]
    Record(#[from] serde_json::Error),
    /// About the keys.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The next key does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// About the release that repeats the newest one.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A commit was refused.
    #[error(transparent)]
    Commit(CommitError),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The next authority on its way to the other replicas.
#[derive(Serialize, Deserialize)]
struct Travelling {
    number: u64,
    key_pem: String,
    pem: String,
}

impl Rotation {
    /// Over the records that all replicas share.
    ///
    /// # Errors
    /// The key of the records cannot be read.
    pub fn new(parts: Parts, data_dir: &Path) -> Result<Self, RotationError> {
        let Parts { records, authority, identity, releases, fleet, clock } = parts;
        let (vault, stepping) = (Vault::open(data_dir)?, tokio::sync::Mutex::default());
        Ok(Self(Arc::new(Inner {
            records,
            authority,
            identity,
            vault,
            releases,
            fleet,
            clock,
            stepping,
        })))
    }

    /// The authority that is moved.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// Where it stands. This replica goes by it when this returns, so that nobody is told of a phase together with the
    /// authorities of the one before.
    ///
    /// # Errors
    /// [`RotationError`]
    pub async fn mark(&self) -> Result<Mark, RotationError> {
        let _one_at_a_time = self.0.stepping.lock().await;
        Ok(self.caught_up().await?.0)
    }

    /// Whom the step that comes next would cut off.
    ///
    /// # Errors
    /// [`RotationError`]
    pub async fn lacking(&self) -> Result<Vec<CutOff>, RotationError> {
        let mark = self.mark().await?;
        let step = match mark.phase() {
            Phase::Steady => return Ok(Vec::new()),
            Phase::Prepared => Step::Switch,
            Phase::Switched => Step::Finish,
        };
        Ok(self.cut_off(step, &mark))
    }

    /// Makes a step, or only says whether it could be made.
    ///
    /// # Errors
    /// [`RotationError`]
    pub async fn step(&self, step: Step, is_dry: bool) -> Result<Mark, RotationError> {
        let inner = &self.0;
        let _one_at_a_time = inner.stepping.lock().await;
        let (mark, revision) = self.caught_up().await?;
        // Whether it is its turn, before anything is made.
        let after = mark.after(step, None)?;
        if matches!(step, Step::Switch | Step::Finish) {
            inner.releases.refresh().await?;
            if inner.releases.course().rollout.is_some() {
                return Err(RotationError::ReleaseUnderWay);
            }
        }
        if step == Step::Finish && !is_dry {
            // Somebody may have released under the word of the one before.
            self.vouch_for_head().await?;
        }
        let cut_off = self.cut_off(step, &mark);
        if !cut_off.is_empty() {
            return Err(RotationError::CutsOff(cut_off));
        }
        if is_dry {
            return Ok(after);
        }
        let next_key = next_key();
        let (mut puts, mut deletes, mut after) = (Vec::new(), Vec::new(), after);
        match step {
            Step::Begin => {
                let (next, key_pem) = inner.authority.make_next(inner.clock.now())?;
                after = mark.after(step, Some(&next.sha256))?;
                let (number, pem) = (next.number(), next.pem.clone());
                let travelling = serde_json::to_vec(&Travelling { number, key_pem, pem })?;
                let sealed = inner.vault.seal(next_key.as_str(), &travelling);
                puts.push((next_key, sealed.into()));
            }
            Step::Switch => {}
            Step::Finish | Step::Abandon => deletes.push(next_key),
        }
        puts.push((mark_key(), serde_json::to_vec(&after)?.into()));
        let expect = vec![(mark_key(), Expect::At(revision))];
        match inner.records.commit(Commit { expect, puts, deletes }).await {
            Ok(_) => {}
            Err(CommitError::Conflict { .. }) => return Err(RotationError::Contended),
            Err(error) => return Err(RotationError::Commit(error)),
        }
        self.go_by(&after, Some(&mark)).await?;
        if step == Step::Switch {
            self.vouch_for_head().await?;
        }
        Ok(after)
    }

    /// Follows what other replicas record, until the drain.
    pub async fn follow(&self, drain: &Drain) {
        let mut heads = self.0.records.head();
        let mut known: Option<Mark> = None;
        loop {
            heads.mark_unchanged();
            let followed = async {
                // Not in the middle of a step of this process.
                let _one_at_a_time = self.0.stepping.lock().await;
                let (mark, _) = self.read().await?;
                if known.as_ref() != Some(&mark) {
                    self.go_by(&mark, known.as_ref()).await?;
                    known = Some(mark);
                }
                Ok::<_, RotationError>(())
            };
            let followed = followed.await;
            if let Err(error) = &followed {
                tracing::error!(%error, "this replica does not go by the authority that it should");
            }
            // No change of the records may follow: what failed is tried again.
            let again = async {
                match followed {
                    Ok(()) => std::future::pending().await,
                    Err(_) => tokio::time::sleep(FOLLOW_AGAIN).await,
                }
            };
            tokio::select! {
                changed = heads.changed() => if changed.is_err() { return },
                () = again => {}
                () = drain.started() => return,
            }
        }
    }

    /// Does what the record says, in this process and its folder.
    async fn go_by(&self, mark: &Mark, before: Option<&Mark>) -> Result<(), RotationError> {
        let inner = &self.0;
        let is_news = believe(&inner.authority, mark, inner.records.as_ref(), &inner.vault).await?;
        if is_news {
            tracing::warn!(target: "audit", phase = ?mark.phase(), signs = mark.ca_sha256, "authorities");
            inner.identity.renew(&inner.authority, inner.clock.now())?;
            inner.releases.vouched_by(&inner.authority)?;
        }
        let named = |one: &str| one == mark.ca_sha256 || mark.beside().contains(&one);
        for gone in before.iter().flat_map(|b| b.beside()).filter(|one| !named(one)) {
            inner.authority.forget(gone)?;
        }
        Ok(())
    }

    /// Releases the same again under the word of the authority that signs, where that is not so already.
    async fn vouch_for_head(&self) -> Result<(), RotationError> {
        let releases = &self.0.releases;
        if !releases.is_head_vouched_by(&self.0.authority)? {
            let version = releases.reissue("the word of a new authority").await?;
            tracing::info!(%version, "the same is released again, under a new authority");
        }
        Ok(())
    }

    fn cut_off(&self, step: Step, mark: &Mark) -> Vec<CutOff> {
        let believed = self.0.authority.believed();
        let next = believed.all.iter().find(|one| Some(&one.sha256) == mark.next_sha256.as_ref());
        let head = self.0.releases.course().version().0;
        let marks = Marks { signs: believed.signs.mark, next: next.map(|one| one.mark), head };
        let nodes = self.0.fleet.sights().into_iter().map(|sight| {
            let said = sight.health.unwrap_or_default();
            let believes = said.authorities.into_iter().filter(|mark| *mark != 0).collect();
            let (name, generation) = (sight.name, sight.generation);
            NodeTrust { name, believes, signed_by: said.signed_by, generation }
        });
        cut_off(step, marks, &nodes.collect::<Vec<_>>())
    }

    /// What is recorded, once this replica goes by it: another may have made the last step a moment ago.
    async fn caught_up(&self) -> Result<(Mark, Revision), RotationError> {
        let (mark, revision) = self.read().await?;
        if !self.0.authority.believed().are(&mark.ca_sha256, &mark.beside()) {
            self.go_by(&mark, None).await?;
        }
        Ok((mark, revision))
    }

    async fn read(&self) -> Result<(Mark, Revision), RotationError> {
        let record = self.0.records.get(&mark_key()).await?;
        let record = record.ok_or(RotationError::NotNow("the authority's mark is gone"))?;
        Ok((serde_json::from_slice(&record.value)?, record.revision))
    }
}

/// Lets those be believed whom the record names; one whose files are missing is taken from the records. True when that is
/// something else than before.
///
/// # Errors
/// [`CaError::Unknown`] when one is nowhere.
pub async fn believe(
    authority: &Authority,
    mark: &Mark,
    records: &dyn Records,
    vault: &Vault,
) -> Result<bool, RotationError> {
    match authority.believe(&mark.ca_sha256, &mark.beside()) {
        Err(CaError::Unknown(_)) => {}
        done => return Ok(done?),
    }
    if let Some(record) = records.get(&next_key()).await? {
        let plain = vault.unseal(record.key.as_str(), &record.value)?;
        let Travelling { number, key_pem, pem } = serde_json::from_slice(&plain)?;
        authority.adopt(number, &key_pem, pem)?;
    }
    Ok(authority.believe(&mark.ca_sha256, &mark.beside())?)
}

/// Where the record lies that all replicas go by.
pub(crate) fn mark_key() -> Key {
    Key::parse("authority").expect("a good key")
}

fn next_key() -> Key {
    Key::parse("authority/next").expect("a good key")
}

fn cut_off_words(all: &[CutOff]) -> String {
    let some = all.iter().take(NAMED_MAX).map(|one| format!("{}: {}", one.node, one.why));
    let some = some.collect::<Vec<_>>().join("; ");
    format!("{} nodes would be cut off: {some}", all.len())
}

/// The pause before a replica that could not follow tries again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);
/// Nodes that a refusal names; `tidegate ca rotate status` shows all of them.
const NAMED_MAX: usize = 5;
