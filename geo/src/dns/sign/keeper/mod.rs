//! Keeps the folder of keys: takes the sets that the control plane tells, works out the next one, reads what changed.
//!
//! One at a time: whoever reads the folder sees no step half done. A set is noted before the first file is touched, so that a
//! start goes on with what a crash broke off. Invariant: keys that are wrong never take the place of those that sign, and a set
//! that is refused changes no file.

mod taking; // the files of a zone become those of a set

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use hickory_proto::rr::Name;
use prometheus::Registry;
use tidegate_chassis::Clock;
use tidegate_contract::zone_keys::{KEY_SETS_MAX, KeySet, ProvenSet, zone_name};

use super::{
    config::Config,
    key_file::{Folder, Key},
    key_set::{Held, SetError, propose},
    keys::{Keys, KeysError},
    rollover::{Holding, Kind, Life, Next, State, Times},
    seal::Secret,
    signer::Signer,
    step::{Act, NotNow, step},
};

use self::taking::{finish, held, take_one};

/// The folder of keys and what signs with them.
pub struct Keeper {
    folder: Folder,
    signer: Arc<Signer>,
    holding: Holding,
    clock: Clock,
    desk: Mutex<Desk>,
}

/// What is known of the folder.
#[derive(Default)]
struct Desk {
    seen: Fingerprint,
    /// What was told last, by zone.
    told: BTreeMap<String, ProvenSet>,
    /// The revision of the set that a zone's keys are of; none was taken where it is not there.
    revisions: BTreeMap<String, u64>,
    refused: BTreeMap<String, Refused>,
}

/// A set that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its revision; 0: it could not be read.
    pub revision: u64,
    /// Why.
    pub why: String,
    /// Whether it may be taken once the folder can be used.
    is_of_files: bool,
}

/// The next step of a roll-over, as somebody asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The apex of the zone.
    pub zone: &'a Name,
    /// Which kind of key; nothing: the only one.
    pub kind: Option<Kind>,
    /// The step is that the parent has the DS record of the new key.
    pub ds_seen: bool,
    /// The revision that the asker knows; 0: none.
    pub revision: u64,
}

/// What the next step would be.
#[derive(Debug)]
pub enum Proposed {
    /// It is due.
    Due(Due),
    /// It is not, and what is waited for.
    NotYet(Kind, Next),
}

/// A step that is due, and what it makes of the keys.
#[derive(Debug)]
pub struct Due {
    /// Of which kind of key.
    pub kind: Kind,
    /// The step.
    pub act: Act,
    /// The tag of the key that is new with it.
    pub new: Option<u16>,
    /// The keys after it.
    pub set: ProvenSet,
    /// The DS records that the parent is to have then.
    pub ds: Vec<String>,
    /// What comes after it.
    pub next: Next,
}

impl Keeper {
    /// Finishes what was broken off, and signs with the keys of the folder that the settings name; `None` when they name none.
    ///
    /// # Errors
    /// When the keys that are there cannot be used.
    pub fn open(
        config: &Config,
        registry: &Registry,
        clock: Clock,
    ) -> anyhow::Result<Option<Self>> {
        let Some(path) = &config.keys else { return Ok(None) };
        Self::of(Folder::new(path), config, registry, clock).map(Some)
    }

    fn of(
        folder: Folder,
        config: &Config,
        registry: &Registry,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        for zone in folder.noted().context("dnssec.keys")? {
            if let Err(error) = finish(&folder, &zone) {
                tracing::error!(%zone, %error, "a step that was broken off is not finished");
            }
        }
        let seen = folder.fingerprint().context("dnssec.keys")?;
        let keys = Keys::read(&folder).context("dnssec.keys")?;
        let signer = Arc::new(Signer::new(config, keys, registry));
        let desk = Desk { seen, revisions: revisions(&folder), ..Desk::default() };
        Ok(Self { folder, signer, holding: config.holding(), clock, desk: Mutex::new(desk) })
    }

    /// What signs.
    #[must_use]
    pub fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// What a roll-over waits for.
    #[must_use]
    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    /// Whether the node may write its folder of keys: without that it takes no set.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.folder.is_writable()
    }

    /// The revision of the set that a zone's keys are of, 0 for none, and the newer one that is refused.
    #[must_use]
    pub fn standing(&self, apex: &Name) -> (u64, Option<Refused>) {
        let desk = self.desk();
        let zone = apex.to_ascii();
        (desk.revisions.get(&zone).copied().unwrap_or(0), desk.refused.get(&zone).cloned())
    }

    /// Takes what the control plane tells: the newest set of each zone. Blocks for as long as files take to be written.
    pub fn take(&self, told: &BTreeMap<String, ProvenSet>) {
        let is_zone = |(zone, _): &(&String, &ProvenSet)| zone_name(zone).is_ok();
        let told: BTreeMap<_, _> =
            told.iter().filter(is_zone).take(KEY_SETS_MAX).map(owned).collect();
        let mut desk = self.desk();
        if desk.told != told {
            desk.refused.retain(|zone, _| told.contains_key(zone));
            desk.told = told;
            self.settle(&mut desk);
        }
    }

    /// Reads the folder if it has changed, and takes again what could not be taken before.
    pub fn look(&self) {
        let mut desk = self.desk();
        if self.read(&mut desk) || desk.refused.values().any(|refused| refused.is_of_files) {
            self.settle(&mut desk);
        }
    }

    /// Works out the next step of a roll-over and writes nothing.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn propose(&self, wish: &Wish<'_>) -> Result<Proposed, String> {
        let desk = self.desk();
        let zone = wish.zone.to_ascii();
        let shown = |error: &dyn std::fmt::Display| format!("{zone}: {error}");
        let note = self.folder.note(wish.zone).map_err(|error| shown(&error))?;
        let is_refused =
            desk.refused.get(&zone).is_some_and(|refused| refused.revision == wish.revision);
        if note.taking.is_some() || note.revision() < wish.revision && !is_refused {
            return Err(format!("{zone}: revision {} is not taken yet", wish.revision));
        }
        let keys = self.folder.read().map_err(|error| shown(&error))?;
        let keys: Vec<Key> = keys.into_iter().filter(|key| key.zone == *wish.zone).collect();
        if keys.is_empty() {
            return Err(shown(&SetError::NoKeys));
        }
        let mut lives: Vec<Life> = keys.iter().map(|key| key.life).collect();
        let now = self.now();
        let (kind, act) = match step(&self.holding, &lives, wish.kind, wish.ds_seen, now) {
            Ok(due) => due,
            Err(NotNow::NotYet(kind, next)) => return Ok(Proposed::NotYet(kind, next)),
            Err(error) => return Err(shown(&error)),
        };
        let held = held(&self.folder, &keys).map_err(|error| shown(&error))?;
        let before = note.set();
        let new = if act == Act::Publish {
            // A tag that a key of before had is not given again as long as it is known.
            let known = before.iter().flat_map(KeySet::known).map(|key| key.tag);
            let taken: Vec<u16> = lives.iter().map(|life| life.tag).chain(known).collect();
            Some(fresh(wish.zone, kind, now, &taken).map_err(|error| shown(&error))?)
        } else {
            None
        };
        let revision = note.revision().max(wish.revision).saturating_add(1);
        let of_new = new.as_ref().map(|(held, _)| held);
        let set = propose(&zone, revision, &held, before.as_ref(), (act, of_new), now);
        let set = set.map_err(|error| shown(&error))?;
        act.take(&mut lives, now);
        lives.extend(of_new.map(|new| new.life));
        let is_vouched = |key: &&Key| {
            let after = lives.iter().find(|life| life.tag == key.life.tag);
            kind.signs_keys()
                && after.is_some_and(|life| {
                    life.kind.signs_keys() && life.times.state() != State::Retired
                })
        };
        let all = keys.iter().chain(new.as_ref().map(|(_, key)| key)).filter(is_vouched);
        let ds = all.filter_map(|key| Some(format!("{} IN DS {}", key.zone, key.ds().ok()?)));
        Ok(Proposed::Due(Due {
            kind,
            act,
            new: of_new.map(|new| new.life.tag),
            set,
            ds: ds.collect(),
            next: self.holding.next(kind, &lives, now),
        }))
    }

    /// Takes what was told and is newer than what the keys are of.
    fn settle(&self, desk: &mut Desk) {
        let is_newer = |(zone, set): &(&String, &ProvenSet)| {
            // What cannot be read is refused below.
            let revision = set.read().map_or(u64::MAX, |set| set.revision);
            revision >= desk.revisions.get(*zone).copied().unwrap_or(0)
        };
        let newer: Vec<(String, ProvenSet)> =
            desk.told.iter().filter(is_newer).map(owned).collect();
        if newer.is_empty() {
            return;
        }
        let mut is_changed = false;
        for (zone, proven) in newer {
            match take_one(&self.folder, &zone, &proven) {
                Ok(false) => _ = desk.refused.remove(&zone),
                Ok(true) => {
                    desk.refused.remove(&zone);
                    is_changed = true;
                    self.signer.metrics.sets_taken.inc();
                    tracing::info!(zone, "keys of a zone are taken from the control plane");
                }
                Err(error) => self.refuse(desk, zone, &proven, &error),
            }
        }
        if is_changed {
            self.read(desk);
        }
    }

    fn refuse(&self, desk: &mut Desk, zone: String, proven: &ProvenSet, error: &SetError) {
        let refused = Refused {
            revision: proven.read().map_or(0, |set| set.revision),
            why: error.to_string().chars().take(WHY_CHARS_MAX).collect(),
            is_of_files: matches!(error, SetError::File(_)),
        };
        // Again and again the same is said once.
        if desk.refused.get(&zone) != Some(&refused) {
            self.signer.metrics.sets_refused.inc();
            let (revision, why) = (refused.revision, &refused.why);
            tracing::error!(
                zone,
                revision,
                why,
                "keys of a zone are not taken, the old ones sign on"
            );
            desk.refused.insert(zone, refused);
        }
    }

    /// Reads the folder if it is not as it was seen; whether it was another one.
    fn read(&self, desk: &mut Desk) -> bool {
        let now = match self.folder.fingerprint() {
            Ok(now) if now == desk.seen => return false,
            Ok(now) => now,
            // Said once, until the folder can be looked at again.
            Err(_) if desk.seen.is_empty() => return false,
            Err(error) => {
                self.keep_old(&error.into());
                desk.seen = Fingerprint::new();
                return false;
            }
        };
        desk.seen = now;
        match Keys::read(&self.folder).and_then(|keys| self.signer.keys().may_become(keys)) {
            Ok(keys) => {
                let zones = keys.zones().count();
                self.signer.metrics.zones.set(zones as i64);
                self.signer.keys.store(Arc::new(keys));
                // After the keys: whoever sees a revision sees its keys.
                desk.revisions = revisions(&self.folder);
                tracing::info!(zones, "keys of zones read again");
            }
            Err(error) => self.keep_old(&error),
        }
        true
    }

    fn keep_old(&self, error: &KeysError) {
        self.signer.metrics.reload_failures.inc();
        tracing::error!(%error, "changed keys are not taken, the old ones sign on");
    }

    /// In whole seconds, as sets have it.
    fn now(&self) -> SystemTime {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(since.as_secs())
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that nobody has yet.
fn fresh(zone: &Name, kind: Kind, now: SystemTime, taken: &[u16]) -> Result<(Held, Key), SetError> {
    let drawn = Folder::draw(kind, taken)?;
    let life = Life { tag: drawn.tag, kind, times: Times::published(now) };
    let (secret, public) = Secret::of(&drawn.der).ok_or(SetError::Closed(life.tag))?;
    Ok((Held { life, public, secret }, drawn.into_key(zone, life)))
}

/// The revisions that are noted. What cannot be read counts as none: no set is taken over it.
fn revisions(folder: &Folder) -> BTreeMap<String, u64> {
    let noted = folder.noted().unwrap_or_default();
    let of = |zone: Name| Some((zone.to_ascii(), folder.note(&zone).ok()?.revision()));
    noted.into_iter().filter_map(of).collect()
}

fn owned((zone, set): (&String, &ProvenSet)) -> (String, ProvenSet) {
    (zone.clone(), set.clone())
}

type Fingerprint = Vec<(PathBuf, i64, i64, u64)>;
/// Of why a set is refused.
const WHY_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests;
