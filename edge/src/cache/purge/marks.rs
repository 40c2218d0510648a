//! The marks that purges leave on names.
//!
//! Pure. Invariant: a mark never becomes milder, but when it can concern nothing that is still served.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tidegate_contract::surrogate_key::KeyHash;

use super::{Limits, Verdict};

/// All marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) by_name: HashMap<KeyHash, Mark>,
    pub(super) everything: Mark,
    /// The number below which mutable objects are suspect.
    pub(super) mutable: u64,
    /// The number below which all objects are suspect, since purges of them were missed for good.
    pub(super) missed: u64,
    /// The number below which objects come from an earlier run, and are suspect until it is known that nothing was
    /// missed.
    pub(super) restored: u64,
}

/// What purges say of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last hard purge, 0 for none.
    pub(super) hard: u64,
    /// The last soft purge, 0 for none.
    pub(super) soft: u64,
    /// When the last of them was applied.
    pub(super) at: SystemTime,
}

impl Marks {
    /// Makes room for new names when there are too many; true when everything was marked instead.
    pub(super) fn shrink(&mut self, limits: Limits, seq: u64, now: SystemTime) -> bool {
        if self.by_name.len() <= limits.names_max {
            return false;
        }
        self.drop_older(now, limits.keep_max);
        // Half of the limit must be free, or the next purge scans again.
        if self.by_name.len() <= limits.names_max / 2 {
            return false;
        }
        tracing::warn!(
            names = self.by_name.len(),
            "too many purged names to remember: everything is revalidated once"
        );
        self.by_name.clear();
        self.everything.set(false, seq, now);
        true
    }

    /// Takes in the marks of the process that followed.
    pub(super) fn take_in(&mut self, newer: Self) {
        for (name, mark) in newer.by_name {
            self.by_name.entry(name).or_default().take_in(mark);
        }
        self.everything.take_in(newer.everything);
        self.mutable = self.mutable.max(newer.mutable);
        self.missed = self.missed.max(newer.missed);
        self.restored = self.restored.max(newer.restored);
    }

    /// Forgets what is older than anything that is served.
    pub(super) fn drop_older(&mut self, now: SystemTime, keep_max: Duration) {
        self.by_name.retain(|_, mark| mark.at.checked_add(keep_max).is_none_or(|end| end >= now));
    }

    pub(super) fn verdict(
        &self,
        names: impl IntoIterator<Item = KeyHash>,
        born: u64,
        is_mutable: bool,
    ) -> Verdict {
        let mut verdict = self.everything.verdict(born);
        let suspect_below =
            self.restored.max(self.missed).max(if is_mutable { self.mutable } else { 0 });
        if suspect_below > born {
            verdict = verdict.max(Verdict::Suspect);
        }
        if self.by_name.is_empty() {
            return verdict;
        }
        for name in names {
            if let Some(mark) = self.by_name.get(&name) {
                verdict = verdict.max(mark.verdict(born));
            }
        }
        verdict
    }
}

impl Mark {
    pub(super) fn set(&mut self, is_soft: bool, seq: u64, at: SystemTime) {
        if is_soft {
            self.soft = seq;
        } else {
            self.hard = seq;
        }
        self.at = at;
    }

    fn take_in(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
        self.at = self.at.max(other.at);
    }

    fn verdict(&self, born: u64) -> Verdict {
        if self.hard > born {
            Verdict::Hard
        } else if self.soft > born {
            Verdict::Soft { at: self.at }
        } else {
            Verdict::Valid
        }
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self { hard: 0, soft: 0, at: SystemTime::UNIX_EPOCH }
    }
}
