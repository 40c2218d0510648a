//! Releases: made from changes, signed, kept, handed out, taken back.
//!
//! One record names the newest release and one the roll-out under way; both are compared and swapped in the commit
//! that makes a release, so that of two publishers, in one process or in two replicas, one wins and the other is told.
//! While a release goes out no other is made but the one that takes it back: what is half out is never built upon.

mod conduct;
mod publish;
mod drafts;
mod course;
mod travel;
mod record;
mod library;
mod seal;
mod key;
mod vault;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_chassis::Clock;
use tidegate_contract::{
    anycast::PopSite,
    id::Generation,
    release::Build,
    release_compile::{CompileError, TIER_KEY_SECRET},
    resource::{Kind, ResourceKey, ResourceName},
    resource_spec::{PopSpec, PropertySpec, SecretSpec, Spec},
};
use tokio::sync::watch;

use crate::{
    ca::Authority,
    change::{ChangeError, SetError},
    resource::{Entry, State},
    rollout,
    store::{CommitError, Desired, Key, KeyError, Records, StoreError},
    unix_time::unix_ms,
};

use self::{
    key::ReleaseKey,
    library::Library,
    record::{pages_of, read},
};

pub use conduct::{conduct, reports};
pub use course::Course;
pub use drafts::Draft;
pub use key::{KeyError as ReleaseKeyError, PublicKey};
pub use publish::{Publish, Published};
pub use record::{Made, ReleaseRecord};
pub use seal::SealError;
pub use travel::travelling;
pub use vault::{Vault, VaultError};

/// Settings of releases.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a release is good. At half of it the same content is released again, so that only a control plane
    /// that is away for long lets one expire; nodes that run it then go on.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
    /// Releases that are kept, to go back to and to send differences from.
    pub keep_versions: u64,
    /// The oldest build of a node that releases are meant for; older ones refuse them and keep what they have.
    pub build_min: Build,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(30 * 24 * 3600),
            keep_versions: 100,
            build_min: Build::default(),
        }
    }
}

/// The releases of one control plane. Cheap to clone.
#[derive(Clone)]
pub struct Releases {
    inner: Arc<Inner>,
}

struct Inner {
    records: Arc<dyn Records>,
    library: Library,
    key: ReleaseKey,
    config: Config,
    rollout: rollout::Config,
    clock: Clock,
    course: watch::Sender<Arc<Course>>,
    /// The release that what steers goes by.
    steering: watch::Sender<Option<Arc<Made>>>,
    /// One look at a time, so that no older one overtakes.
    looking: tokio::sync::Mutex<()>,
    /// Releases read lately, for differences and looks back.
    lately: Mutex<Vec<Arc<Made>>>,
    /// One at a time in this process; other replicas are told apart by the records.
    publishing: tokio::sync::Mutex<()>,
}

/// Why a release was not made or not found.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The change itself is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The change-set is past that.
    #[error(transparent)]
    Set(#[from] SetError),
    /// Something refers to what is not there.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Another release is going out.
    #[error("version {0} is going out: promote it, wait for it or roll it back first")]
    UnderWay(Generation),
    /// No release is going out.
    #[error("no release is going out")]
    NothingUnderWay,
    /// There is no such release, or it is no longer kept.
    #[error("there is no version {0}, or it is no longer kept")]
    NotFound(Generation),
    /// There is no such change-set.
    #[error("there is no change-set {0}")]
    NoChange(String),
    /// Too much lies about.
    #[error("there are {0} change-sets that nobody published or abandoned")]
    TooManyDrafts(usize),
    /// Somebody else was faster, again and again.
    #[error("others publish at the same time; try again")]
    Contended,
    /// A node has a number that is not from here, and too far ahead.
    #[error("the node's version is too far ahead")]
    TooFarAhead,
    /// What is stored is not what was stored.
    #[error("{0}")]
    Damaged(String),
    /// A value does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// There is no key to sign with.
    #[error(transparent)]
    Key(#[from] ReleaseKeyError),
    /// A name that cannot be a key of the records.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// A record that does not read.
    #[error("a record does not read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A commit was refused.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What releases need of the program.
pub struct Parts<'a> {
    /// Where they lie.
    pub records: Arc<dyn Records>,
    /// Where their keys lie.
    pub data_dir: &'a Path,
    /// Who signs the release key.
    pub authority: &'a Authority,
    /// The time of day.
    pub clock: Clock,
    /// How they go out.
    pub rollout: rollout::Config,
}

impl Releases {
    /// The releases of a store. The first one is made of `first` when there is none.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn open(
        parts: Parts<'_>,
        config: Config,
        first: &Desired,
    ) -> Result<Self, ReleaseError> {
        let Parts { records, data_dir, authority, clock, rollout } = parts;
        let known = records.get(&Key::parse(KEY_RECORD)?).await?;
        let known: Option<PublicKey> =
            known.map(|record| serde_json::from_slice(&record.value)).transpose()?;
        let key = ReleaseKey::open(data_dir, authority, known.as_ref())?;
        let is_rotated = known.as_ref() != Some(&*key.public());
        let vault = Arc::new(Vault::open(data_dir)?);
        let library = Library { records: Arc::clone(&records), vault };
        let course = watch::Sender::new(Arc::new(Course::nothing()));
        let inner = Inner {
            records,
            library,
            key,
            config,
            rollout,
            clock,
            course,
            steering: watch::Sender::new(None),
            looking: tokio::sync::Mutex::default(),
            lately: Mutex::default(),
            publishing: tokio::sync::Mutex::default(),
        };
        let releases = Self { inner: Arc::new(inner) };
        releases.refresh().await?;
        if releases.course().head.is_none() {
            releases.begin(first).await?;
        } else if is_rotated {
            releases.reissue("a new release key").await?;
        }
        // What was told before this process began is not known; nobody steers by it yet.
        releases.steer();
        Ok(releases)
    }

    /// Which release every PoP shall run, now and on every change.
    #[must_use]
    pub fn courses(&self) -> watch::Receiver<Arc<Course>> {
        self.inner.course.subscribe()
    }

    /// The same, now.
    #[must_use]
    pub fn course(&self) -> Arc<Course> {
        Arc::clone(&self.inner.course.borrow())
    }

    /// The release that what steers (DNS, content steering) goes by, now and on every change. It is the newest one as
    /// soon as caches serve what came with it; what goes away leaves it before it leaves the caches.
    #[must_use]
    pub fn steering_releases(&self) -> watch::Receiver<Option<Arc<Made>>> {
        self.inner.steering.subscribe()
    }

    /// The same, now.
    #[must_use]
    pub fn steering_release(&self) -> Option<Arc<Made>> {
        self.inner.steering.borrow().clone()
    }

    /// Lets what steers go by the release that it shall.
    fn steer(&self) {
        let wanted = self.course().release_for_steering().cloned();
        self.inner.steering.send_if_modified(|told| {
            let version = |made: &Option<Arc<Made>>| made.as_ref().map(|made| made.version());
            let is_news = version(told) != version(&wanted);
            if is_news {
                *told = wanted;
            }
            is_news
        });
    }

    /// The newest release.
    ///
    /// # Errors
    /// [`ReleaseError::NotFound`] before the first, which `open` makes.
    pub fn head(&self) -> Result<Arc<Made>, ReleaseError> {
        self.course().head.clone().ok_or(ReleaseError::NotFound(Generation(0)))
    }

    /// Properties and PoPs of the newest release.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub fn desired(&self) -> Result<Desired, ReleaseError> {
        let head = self.head()?;
        Ok(head.state.desired(head.version())?)
    }

    /// A release that is kept.
    ///
    /// # Errors
    /// [`ReleaseError::NotFound`]
    pub async fn version(&self, version: Generation) -> Result<Arc<Made>, ReleaseError> {
        if let Some(made) = self.lately(version) {
            return Ok(made);
        }
        let record = self.inner.records.get(&version_key(version)?).await?;
        let record = record.ok_or(ReleaseError::NotFound(version))?;
        let head = self.course().head.clone();
        let near = head.as_ref().map(|head| &head.state);
        let made = read(serde_json::from_slice(&record.value)?, &self.inner.library, near).await?;
        Ok(self.remember(Arc::new(made)))
    }

    /// Every release that is kept, the newest first, without what it holds.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn records(&self) -> Result<Vec<ReleaseRecord>, ReleaseError> {
        let listing = self.inner.records.list(VERSION_PREFIX).await?;
        let read = |record: &crate::store::Record| serde_json::from_slice(&record.value);
        let all: Result<Vec<_>, _> = listing.records.iter().rev().map(read).collect();
        Ok(all?)
    }

    /// How releases go out.
    #[must_use]
    pub fn rollout_config(&self) -> &rollout::Config {
        &self.inner.rollout
    }

    /// Lets the authority that signs now vouch for the release key, in what is made from now on.
    ///
    /// # Errors
    /// [`ReleaseError::Key`]
    pub fn vouched_by(&self, authority: &Authority) -> Result<(), ReleaseError> {
        Ok(self.inner.key.vouched_by(authority)?)
    }

    /// Whether the authority that signs now vouches for the newest release.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub fn is_head_vouched_by(&self, authority: &Authority) -> Result<bool, ReleaseError> {
        Ok(self.head()?.record.key.is_vouched_by(authority))
    }

    /// Looks again at what the records say; true when something is different.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn refresh(&self) -> Result<bool, ReleaseError> {
        let _one_at_a_time = self.inner.looking.lock().await;
        let before = self.course();
        let head = self.inner.records.get(&Key::parse(HEAD_RECORD)?).await?;
        let rollout = self.inner.records.get(&Key::parse(ROLLOUT_RECORD)?).await?;
        let revisions = (head.as_ref().map(|r| r.revision), rollout.as_ref().map(|r| r.revision));
        if before.revisions == revisions {
            return Ok(false);
        }
        let head = match head {
            Some(head) => {
                let version: u64 = serde_json::from_slice(&head.value)?;
                Some(self.version(Generation(version)).await?)
            }
            None => None,
        };
        let rollout: Option<rollout::Rollout> =
            rollout.map(|record| serde_json::from_slice(&record.value)).transpose()?;
        let base = match &rollout {
            Some(rollout) => Some(self.version(Generation(rollout.base)).await?),
            None => None,
        };
        let course = Course { head, base, rollout, revisions };
        self.inner.course.send_replace(Arc::new(course));
        Ok(true)
    }

    /// The first release, of what a control plane without releases had.
    async fn begin(&self, first: &Desired) -> Result<(), ReleaseError> {
        // No node ever sees version 0: it holds no PoP.
        let version = first.generation;
        let mut state = State::default();
        let mut add = |kind, name: &str, generation, spec| {
            let name = ResourceName::parse(name);
            let name = name.map_err(|error| ReleaseError::Damaged(error.to_string()))?;
            state.entries.insert(ResourceKey::new(kind, name), Entry::new(generation, spec));
            Ok::<_, ReleaseError>(())
        };
        for (property, generation) in &first.properties {
            let spec = Spec::Property(Box::new(PropertySpec::from(property.clone())));
            add(Kind::Property, property.id.as_str(), *generation, spec)?;
        }
        for pop in &first.pops {
            let shield_upstream = pop.shield_upstream.clone();
            let spec = PopSpec { role: pop.role, shield_upstream, site: PopSite::default() };
            add(Kind::Pop, pop.id.as_str(), version, Spec::Pop(spec))?;
        }
        let salt = hex::encode(rand::random::<[u8; 16]>());
        let value = String::from(first.tier_key.clone());
        add(Kind::Secret, TIER_KEY_SECRET, version, Spec::Secret(SecretSpec { salt, value }))?;
        self.make_first(version, state).await
    }

    fn lately(&self, version: Generation) -> Option<Arc<Made>> {
        let lately = self.inner.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.iter().find(|made| made.version() == version).cloned()
    }

    fn remember(&self, made: Arc<Made>) -> Arc<Made> {
        let mut lately = self.inner.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.retain(|known| known.version() != made.version());
        if lately.len() >= LATELY_MAX {
            lately.remove(0);
        }
        lately.push(Arc::clone(&made));
        made
    }

    fn now_unix_ms(&self) -> u64 {
        unix_ms(self.inner.clock.now())
    }
}

fn version_key(version: Generation) -> Result<Key, KeyError> {
    Key::parse(&format!("{VERSION_PREFIX}{:020}", version.0))
}

const HEAD_RECORD: &str = "release/head";
const ROLLOUT_RECORD: &str = "release/rollout";
const KEY_RECORD: &str = "release/key";
const VERSION_PREFIX: &str = "release/version/";
/// Releases kept in memory; they share what they have in common.
const LATELY_MAX: usize = 8;
