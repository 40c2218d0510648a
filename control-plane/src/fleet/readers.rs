//! Who answers clients by the state of the fleet, and up to which change each of them has seen it.
//!
//! A reader names itself and the revision that it works with; one that stays silent is forgotten, so that a DNS server
//! that is gone holds up no drain. Invariant: at most a few readers are remembered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::unix_time::millis;

/// The readers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readers(Arc<Mutex<BTreeMap<String, (u64, u64)>>>);

impl Readers {
    /// A reader says that it works with a revision.
    pub fn saw(&self, name: &str, revision: u64, now_unix_ms: u64) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|_, (_, heard)| is_here(*heard, now_unix_ms));
        if readers.contains_key(name) || readers.len() < READERS_MAX {
            readers.insert(name.to_owned(), (revision, now_unix_ms));
        }
    }

    /// Whether there are readers, and whether all of them have seen a revision.
    #[must_use]
    pub fn standing(&self, revision: u64, now_unix_ms: u64) -> (bool, bool) {
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = || readers.values().filter(|(_, heard)| is_here(*heard, now_unix_ms));
        (here().next().is_some(), here().all(|(seen, _)| *seen >= revision))
    }
}

fn is_here(heard_unix_ms: u64, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(heard_unix_ms) <= millis(SILENCE_MAX)
}

const READERS_MAX: usize = 256;
const SILENCE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readers_that_are_here_count() {
        let readers = Readers::default();
        assert_eq!(readers.standing(5, 0), (false, true));
        readers.saw("a", 5, 0);
        readers.saw("b", 4, 1000);
        assert_eq!(
            (readers.standing(4, 1000), readers.standing(5, 1000)),
            ((true, true), (true, false))
        );
        readers.saw("b", 5, 2000);
        assert_eq!(readers.standing(5, 2000), (true, true));
        assert_eq!(readers.standing(6, 62_001), (false, true));
    }
}
