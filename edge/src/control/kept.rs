//! Releases on disk, from which a node starts without asking anybody.
//!
//! The newest, which may be on trial, and two that were good before it. Beside them stands what must be remembered
//! across a crash: the highest version ever taken, the highest number of a release key, and how often the process
//! ended without saying so since the newest came. Secrets in the files are sealed; whoever reads a file verifies it as
//! if it came from the network.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tidegate_contract::{id::PopId, release::RELEASE_BYTES_MAX};

use super::private_file;

/// The folder of releases.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
}

/// What is remembered beside the releases. Fields are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Journal {
    /// The PoP that the node was in.
    pub(super) pop: Option<PopId>,
    /// The highest version that was ever put to use here.
    pub(super) floor: u64,
    /// The highest number of a release key.
    pub(super) key_number: u64,
    /// The release that came last.
    pub(super) trial: Option<Trial>,
    /// The release that did harm and was given up.
    pub(super) refused: Option<Refused>,
}

/// How the newest release fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// Its version.
    pub(super) version: u64,
    /// When it was put to use.
    pub(super) swapped_unix_ms: u64,
    /// How often the process crashed since.
    pub(super) crashes: u32,
    /// The process that runs it; none after an orderly end.
    pub(super) process: Option<String>,
}

/// A release that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    /// Its version.
    pub(super) version: u64,
    /// Why.
    pub(super) error: String,
}

impl Journal {
    /// What a process that starts remembers: an end that was not orderly counts as a crash. True when the newest
    /// release is to be given up. A successor starts while the process before it still runs, and nobody crashed.
    pub(super) fn started(&mut self, process: &str, is_successor: bool, now_unix_ms: u64) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        let is_young = now_unix_ms.saturating_sub(trial.swapped_unix_ms) <= CRASH_WINDOW_MS;
        if trial.process.is_some() && !is_successor && is_young {
            trial.crashes += 1;
        }
        trial.process = Some(process.to_owned());
        if trial.crashes < CRASHES_MAX {
            return false;
        }
        let error =
            format!("crashed {CRASHES_MAX} times within 5 minutes of version {}", trial.version);
        self.refused = Some(Refused { version: trial.version, error });
        self.trial = None;
        true
    }

    /// A process ends in order.
    pub(super) fn ended(&mut self, process: &str) {
        if let Some(trial) = self.trial.as_mut().filter(|t| t.process.as_deref() == Some(process)) {
            trial.process = None;
        }
    }
}

impl Kept {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.to_owned() }
    }

    /// What is remembered; nothing when it cannot be read, which is said.
    pub(super) fn journal(&self) -> Journal {
        let read = private_file::read(&self.journal_path(), JOURNAL_BYTES_MAX);
        let journal = read.and_then(|content| match content {
            Some(content) => serde_json::from_slice(&content).map_err(io::Error::other),
            None => Ok(Journal::default()),
        });
        journal.unwrap_or_else(|error| {
            tracing::error!(%error, "what was remembered of releases is unusable");
            Journal::default()
        })
    }

    /// Remembers durably.
    pub(super) fn remember(&self, journal: &Journal) -> io::Result<()> {
        let content = serde_json::to_vec(journal).map_err(io::Error::other)?;
        private_file::replace(&self.journal_path(), &content)
    }

    /// The releases on disk, the newest first; what cannot be read is passed over and said.
    pub(super) fn load(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..FILES).filter_map(|age| {
            let path = self.path(age);
            private_file::read(&path, FILE_BYTES_MAX).unwrap_or_else(|error| {
                tracing::error!(file = %path.display(), %error, "a kept release is unusable");
                None
            })
        })
    }

    /// Keeps a release as the newest, durably, and those before it.
    pub(super) fn keep(&self, release: &[u8]) -> io::Result<()> {
        rename(&self.path(1), &self.path(2))?;
        // The newest is replaced in one step: at no moment is there none.
        private_file::replace_keeping(&self.path(0), &self.path(1), release)
    }

    /// Forgets the newest; the one before it takes its place.
    pub(super) fn forget_newest(&self) -> io::Result<()> {
        rename(&self.path(1), &self.path(0))?;
        rename(&self.path(2), &self.path(1))
    }

    fn path(&self, age: usize) -> PathBuf {
        match age {
            0 => self.folder.join("release"),
            age => self.folder.join(format!("release-{age}")),
        }
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.join("release-journal.json")
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The newest and two good ones.
const FILES: usize = 3;
/// A release and the keys of its items.
const FILE_BYTES_MAX: usize = RELEASE_BYTES_MAX + 16 * 1024 * 1024;
const JOURNAL_BYTES_MAX: usize = 64 * 1024;
/// Crashes after which a release is given up.
const CRASHES_MAX: u32 = 3;
/// How long after a swap a crash is the release's.
const CRASH_WINDOW_MS: u64 = 5 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn on_trial() -> Journal {
        let trial = Trial { version: 7, swapped_unix_ms: 1000, crashes: 0, process: None };
        Journal { floor: 7, trial: Some(trial), ..Journal::default() }
    }

    #[test]
    fn three_crashes_soon_after_a_swap_give_a_release_up() {
        let mut journal = on_trial();
        assert!(!journal.started("a", false, 1000), "the process that took it");
        assert!(!journal.started("b", false, 2000));
        assert!(!journal.started("c", false, 3000));
        assert!(journal.started("d", false, 4000));
        assert_eq!(journal.trial, None);
        assert!(journal.refused.is_some_and(|refused| refused.version == 7));
        assert_eq!(journal.floor, 7, "it is not taken again");
    }

    #[test]
    fn orderly_ends_successors_and_late_crashes_do_not_count() {
        let mut journal = on_trial();
        for round in 0..9 {
            assert!(!journal.started("a", false, 1000 + round));
            journal.ended("a");
        }
        assert!(!journal.started("b", false, 2000));
        for successor in ["c", "d", "e", "f"] {
            assert!(!journal.started(successor, true, 3000));
        }
        journal.ended("b");
        assert!(journal.trial.as_ref().is_some_and(|trial| trial.process.is_some()));
        for round in 0..9 {
            assert!(!journal.started("g", false, 1001 + CRASH_WINDOW_MS + round));
        }
    }

    #[test]
    fn three_releases_are_kept_and_the_newest_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path());
        for release in [b"one", b"two", b"333", b"444"] {
            kept.keep(release).unwrap();
        }
        let all = |kept: &Kept| kept.load().collect::<Vec<_>>();
        assert_eq!(all(&kept), [b"444", b"333", b"two"]);
        kept.forget_newest().unwrap();
        assert_eq!(all(&kept), [b"333", b"two"]);
        fs::remove_file(folder.path().join("release")).unwrap();
        assert_eq!(all(&kept), [b"two"], "a crash between two renames");
        let journal = on_trial();
        kept.remember(&journal).unwrap();
        assert_eq!(kept.journal(), journal);
        fs::write(folder.path().join("release-journal.json"), "{").unwrap();
        assert_eq!(kept.journal(), Journal::default());
    }
}
