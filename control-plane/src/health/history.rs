//! How a PoP was: its verdicts as they changed, in the records, so that every replica and the next start know them.
//!
//! One record a PoP, bounded in length and age. Invariant: the newest change always stays, so that it is known since when a
//! PoP is as it is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PopId;

use super::verdict::{Health, Opinion};
use crate::{
    leader::Term,
    store::{Commit, CommitError, Expect, Key, Record, Records, Revision, StoreError},
    unix_time::millis,
};

/// A verdict that is another one than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at_unix_ms: u64,
    /// What it was.
    pub from: Health,
    /// What it is since.
    pub to: Health,
    /// Why.
    pub why: String,
}

/// The changes of one PoP, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(Vec<Change>);

impl History {
    /// The changes, the oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    /// Takes the verdict of a moment; whether it is another one than before.
    fn note(&mut self, verdict: Opinion, now_unix_ms: u64) -> bool {
        let from = self.0.last().map_or(Health::Unknown, |last| last.to);
        if from == verdict.health {
            return false;
        }
        let why = verdict.why.to_owned();
        self.0.push(Change { at_unix_ms: now_unix_ms, from, to: verdict.health, why });
        let surplus = self.0.len().saturating_sub(CHANGES_MAX);
        let is_old = |change: &Change| is_past(change, now_unix_ms);
        let old = self.0.iter().take_while(|change| is_old(change)).count();
        self.0.drain(..surplus.max(old).min(self.0.len() - 1));
        true
    }

    fn is_past(&self, now_unix_ms: u64) -> bool {
        self.0.last().is_none_or(|last| is_past(last, now_unix_ms))
    }
}

/// The changes of all PoPs that are written down.
///
/// # Errors
/// [`StoreError`]
pub async fn histories(records: &dyn Records) -> Result<BTreeMap<PopId, History>, StoreError> {
    let listing = records.list(FOLDER).await?;
    let read = |record: &Record| Ok((pop_of(record)?, decode(record)?));
    listing.records.iter().map(read).collect()
}

/// Writes them down; the replica that leads has one.
pub struct Historian {
    records: Arc<dyn Records>,
    known: BTreeMap<PopId, (History, Revision)>,
    reading: Option<Reading>,
}

/// When what is known was read.
#[derive(Clone, Copy)]
struct Reading {
    epoch: u64,
    /// When the term was first seen.
    began_unix_ms: u64,
    read_unix_ms: u64,
}

impl Historian {
    /// Over the records of all replicas.
    #[must_use]
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self { records, known: BTreeMap::new(), reading: None }
    }

    /// Takes the verdicts of a moment about every PoP that there is.
    ///
    /// # Errors
    /// [`CommitError`]: what is not written yet is written at the next moment.
    pub async fn note(
        &mut self,
        term: &Term,
        verdicts: &[(PopId, Opinion)],
        now_unix_ms: u64,
    ) -> Result<(), CommitError> {
        let mut commit = Commit::default();
        let before = self.reading.filter(|reading| reading.epoch == term.epoch);
        let is_fresh =
            |reading: &Reading| now_unix_ms.abs_diff(reading.read_unix_ms) < millis(READ_AGAIN);
        let reading = match before.filter(is_fresh) {
            Some(reading) => reading,
            None => {
                commit.deletes = self.read(verdicts, now_unix_ms).await?;
                let began_unix_ms = before.map_or(now_unix_ms, |before| before.began_unix_ms);
                Reading { epoch: term.epoch, began_unix_ms, read_unix_ms: now_unix_ms }
            }
        };
        self.reading = Some(reading);
        let is_settled = now_unix_ms.abs_diff(reading.began_unix_ms) >= millis(SETTLED);
        // Who leads since a moment ago has not heard of every node yet.
        let counts = |verdict: &Opinion| verdict.health == Health::Good || is_settled;
        let mut news = Vec::new();
        for (pop, verdict) in verdicts.iter().filter(|(_, verdict)| counts(verdict)) {
            let known = self.known.get(pop);
            let mut history = known.map(|(history, _)| history.clone()).unwrap_or_default();
            if news.len() < AT_ONCE_MAX && history.note(*verdict, now_unix_ms) {
                let expect = known.map_or(Expect::Absent, |(_, revision)| Expect::At(*revision));
                let value = serde_json::to_vec(&history).expect("a history is plain data");
                commit.expect.push((key(pop), expect));
                commit.puts.push((key(pop), value.into()));
                news.push((pop.clone(), history));
            }
        }
        if commit.puts.is_empty() && commit.deletes.is_empty() {
            return Ok(());
        }
        term.guard(&mut commit);
        let committed = self.records.commit(commit).await;
        match &committed {
            Ok(revision) => {
                self.known.extend(news.into_iter().map(|(pop, new)| (pop, (new, *revision))));
            }
            // Somebody else wrote, or nobody knows whether this was written: it is read again.
            Err(_) => self.reading = Some(Reading { read_unix_ms: 0, ..reading }),
        }
        committed.map(drop)
    }

    /// Reads all of it; gives back what is of PoPs that are no more and have not changed for long.
    async fn read(
        &mut self,
        verdicts: &[(PopId, Opinion)],
        now_unix_ms: u64,
    ) -> Result<Vec<Key>, StoreError> {
        let listing = self.records.list(FOLDER).await?;
        self.known.clear();
        let mut past = Vec::new();
        for record in listing.records {
            let (pop, history) = (pop_of(&record)?, decode(&record)?);
            if verdicts.iter().any(|(known, _)| *known == pop) {
                self.known.insert(pop, (history, record.revision));
            } else if history.is_past(now_unix_ms) && past.len() < AT_ONCE_MAX {
                past.push(record.key);
            }
        }
        Ok(past)
    }
}

fn is_past(change: &Change, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(change.at_unix_ms) > millis(AGE_MAX)
}

fn pop_of(record: &Record) -> Result<PopId, StoreError> {
    PopId::parse(&record.key.as_str()[FOLDER.len()..])
        .map_err(|error| StoreError::damaged("health history", error))
}

fn decode(record: &Record) -> Result<History, StoreError> {
    serde_json::from_slice(&record.value)
        .map_err(|error| StoreError::damaged("health history", error))
}

fn key(pop: &PopId) -> Key {
    Key::parse(&format!("{FOLDER}{pop}")).expect("an id is a good part of a key")
}

const FOLDER: &str = "health-history/";
/// Changes of one PoP: some 40 KiB. One that goes up and down as fast as verdicts can fills it in a quarter of an hour.
const CHANGES_MAX: usize = 256;
/// Older changes are forgotten when a newer one comes.
const AGE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// PoPs in one commit, of each sort: well within what a commit takes. The others follow a second later.
const AT_ONCE_MAX: usize = 40;
/// After so long in a term every node that lives has found its new replica and has reported.
const SETTLED: Duration = Duration::from_secs(15);
/// How often it is looked for PoPs that are no more.
const READ_AGAIN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(health: Health) -> Opinion {
        Opinion { health, why: "as it is" }
    }

    #[test]
    fn only_changes_are_noted_the_newest_stays_and_both_bounds_hold() {
        let mut history = History::default();
        assert!(!history.note(verdict(Health::Unknown), 0), "nothing is known, as ever");
        for second in 0..2 * CHANGES_MAX as u64 {
            let health = if second % 2 == 0 { Health::Good } else { Health::Bad };
            assert!(history.note(verdict(health), second * 1000));
            assert!(!history.note(verdict(health), second * 1000 + 1));
            assert!(history.changes().len() <= CHANGES_MAX);
        }
        let last = history.changes().last().expect("there").clone();
        assert_eq!((last.from, last.to), (Health::Good, Health::Bad));
        let changes = history.changes().windows(2);
        assert!(changes.into_iter().all(|pair| pair[0].to == pair[1].from));
        let later = last.at_unix_ms + millis(AGE_MAX) + 1;
        assert!(!history.note(verdict(Health::Bad), later));
        assert_eq!(history.changes().len(), CHANGES_MAX, "it is as it is since then");
        assert!(history.note(verdict(Health::Good), later));
        assert_eq!(history.changes().len(), 1, "{:?}", history.changes());
        assert!(history.note(verdict(Health::Bad), later), "a clock that stands still");
        assert!(history.note(verdict(Health::Good), 0), "a clock that was set back");
        assert_eq!(history.changes().len(), 3);
    }
}
