//! Releases: made from changes, signed, kept, handed out, taken back.
//!
//! One record names the newest release and one the roll-out under way; both are compared and swapped in the commit
//! that makes a release, so that of two publishers, in one process or in two replicas, one wins and the other is told.
//! While a release goes out no other is made but the one that takes it back: what is half out is never built upon.

mod conduct;
mod publish;
mod repeat;
mod make;
mod drafts;
mod course;
mod travel;
mod record;
mod library;
mod seal;
mod key;
mod vault;
mod error;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::{Generation, PopId},
    release::Build,
    release_compile::TIER_KEY_SECRET,
    resource::{Kind, ResourceKey, ResourceName},
    resource_spec::{SecretSpec, Spec},
    tier::TierKey,
};
use tokio::sync::watch;

use crate::{
    ca::Authority,
    resource::{Desired, Entry, State},
    rollout,
    store::{Key, KeyError, Records},
    unix_time::unix_ms,
};

use self::{
    key::ReleaseKey,
    library::Library,
    record::{pages_of, read},
};

pub use conduct::{conduct, forget_gone, reports};
pub use course::Course;
pub use drafts::Draft;
pub use error::ReleaseError;
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
    /// The releases of a store. The first one is made when there is none.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn open(parts: Parts<'_>, config: Config) -> Result<Self, ReleaseError> {
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
            releases.begin().await?;
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

    /// Whether the newest release has a PoP; another replica may have made one a moment ago, so it looks again before it
    /// says no.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn has_pop(&self, pop: &PopId) -> Result<bool, ReleaseError> {
        if self.head()?.state.has_pop(pop) {
            return Ok(true);
        }
        self.refresh().await?;
        Ok(self.head()?.state.has_pop(pop))
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

    /// The first release: the key that all nodes share, and nothing else. No node ever sees its version, 0: it holds no
    /// PoP.
    async fn begin(&self) -> Result<(), ReleaseError> {
        let name = ResourceName::parse(TIER_KEY_SECRET);
        let name = name.map_err(|error| ReleaseError::Damaged(error.to_string()))?;
        let salt = hex::encode(rand::random::<[u8; 16]>());
        let value = String::from(TierKey::new(rand::random()));
        let secret = Spec::Secret(SecretSpec { salt, value });
        let mut state = State::default();
        let (key, version) = (ResourceKey::new(Kind::Secret, name), Generation(0));
        state.entries.insert(key, Entry::new(version, secret));
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

/// The record of the newest release's number.
pub(crate) const HEAD_RECORD: &str = "release/head";
const ROLLOUT_RECORD: &str = "release/rollout";
const KEY_RECORD: &str = "release/key";
const VERSION_PREFIX: &str = "release/version/";
/// Releases kept in memory; they share what they have in common.
const LATELY_MAX: usize = 8;
