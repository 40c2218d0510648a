//! What nodes say on their telemetry lanes, shared between replicas: a verdict or a drain must not hang on where a node
//! has its lane.
//!
//! Each replica writes what it heard every two seconds, in pages, while another one lives to read it. Invariant: a record
//! that did not change is never taken twice, so that no report grows younger.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{living, read_name};
use crate::{
    health::{Reports, Told},
    store::{Commit, CommitError, Expect, Key, NodeName, Records, Revision, StoreError},
};

/// The reports of this replica and those of the others.
pub(super) struct Said {
    id: String,
    records: Arc<dyn Records>,
    reports: Reports,
    now_unix_ms: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Said {
    pub(super) fn new(
        id: String,
        records: Arc<dyn Records>,
        reports: Reports,
        now_unix_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { id, records, reports, now_unix_ms: Box::new(now_unix_ms) }
    }

    /// Tells what was heard here, as long as the fence holds. False when it does not.
    pub(super) async fn tell(
        &self,
        fence: &(Key, Expect),
        pages_told: &mut usize,
    ) -> Result<bool, StoreError> {
        if living(self.records.as_ref()).await?.len() < 2 && *pages_told == 0 {
            return Ok(true);
        }
        let pages = pages(self.reports.here((self.now_unix_ms)()));
        let gone = (pages.len()..*pages_told).map(|page| self.key(page));
        // What is no more goes with the first page.
        let mut deletes: Vec<_> = gone.take(PAGES_MAX).collect();
        *pages_told = pages.len();
        let mut puts: Vec<_> =
            pages.into_iter().enumerate().map(|(n, page)| vec![(self.key(n), page)]).collect();
        if puts.is_empty() && !deletes.is_empty() {
            puts.push(Vec::new());
        }
        for puts in puts {
            let deletes = std::mem::take(&mut deletes);
            let commit = Commit { expect: vec![fence.clone()], puts, deletes };
            match self.records.commit(commit).await {
                Ok(_) => {}
                Err(CommitError::Conflict { .. }) => return Ok(false),
                Err(CommitError::Store(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, "reports of nodes are not told"),
            }
        }
        Ok(true)
    }

    /// Takes what the other replicas told since the last time.
    pub(super) async fn hear(
        &self,
        seen: &mut HashMap<Key, Revision>,
        is_living: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let records = self.records.list(FOLDER).await?.records;
        seen.retain(|key, _| records.iter().any(|record| record.key == *key));
        for record in records {
            let id = record.key.as_str()[FOLDER.len()..].split('/').next().unwrap_or_default();
            if id == self.id || !is_living(id) {
                continue;
            }
            let is_first = seen.insert(record.key.clone(), record.revision);
            match is_first {
                Some(before) if before == record.revision => continue,
                Some(_) => {}
                // It may be of any age: the next one will tell.
                None => continue,
            }
            let all: Vec<(String, Told)> = serde_json::from_slice(&record.value)
                .map_err(|error| StoreError::damaged("report", error))?;
            let now = (self.now_unix_ms)();
            for (name, told) in all {
                if let Some(name) = read_name(&name) {
                    self.reports.put_elsewhere(name, told, now);
                }
            }
        }
        Ok(())
    }

    /// Removes what replicas told that live no more.
    pub(super) async fn forget(&self, is_living: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let keys = self.records.list(FOLDER).await?.records.into_iter().map(|record| record.key);
        let is_dead = |key: &Key| {
            !is_living(key.as_str()[FOLDER.len()..].split('/').next().unwrap_or_default())
        };
        let deletes: Vec<_> = keys.filter(is_dead).take(PAGES_MAX).collect();
        match self.records.commit(Commit { deletes, ..Commit::default() }).await {
            Err(CommitError::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn key(&self, page: usize) -> Key {
        Key::parse(&format!("{FOLDER}{}/{page:03}", self.id)).expect("an id is plain")
    }
}

/// Reports in pages, each a JSON list; a page ends behind the report with which it is full.
fn pages(all: Vec<(NodeName, Told)>) -> Vec<Bytes> {
    let mut pages: Vec<Vec<u8>> = Vec::new();
    for (name, told) in all {
        let one = serde_json::to_vec(&(name.to_string(), told)).expect("plain data");
        let is_full = pages.last().is_none_or(|page| page.len() >= PAGE_BYTES);
        if is_full && pages.len() == PAGES_MAX {
            break;
        }
        if is_full {
            pages.push(vec![b'[']);
        }
        if let Some(page) = pages.last_mut() {
            if !is_full {
                page.push(b',');
            }
            page.extend(one);
        }
    }
    let closed = |mut page: Vec<u8>| {
        page.push(b']');
        page.into()
    };
    pages.into_iter().map(closed).collect()
}

/// How often each replica tells.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(2);
const FOLDER: &str = "said/";
/// With the largest report behind it, well below what a record takes.
const PAGE_BYTES: usize = 512 * 1024;
/// Some ten thousand nodes; those behind them are seen by the replica alone that has their lanes.
const PAGES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{NodeId, PopId},
        telemetry::Report,
    };

    use super::*;
    use crate::health::Rates;

    #[test]
    fn pages_hold_every_report_once_and_none_is_too_large() {
        let told = Told { age_ms: 1, rates: Rates::default(), report: Report::default() };
        let name = |n: usize| NodeName {
            pop: PopId::parse(format!("p{n}")).expect("good"),
            node: NodeId::parse("n").expect("good"),
        };
        assert!(pages(Vec::new()).is_empty());
        let all: Vec<_> = (0..5000).map(|n| (name(n), told.clone())).collect();
        let pages = pages(all);
        assert!(pages.len() > 1);
        let mut read = Vec::new();
        for page in &pages {
            assert!(page.len() < crate::store::VALUE_BYTES_MAX);
            let page: Vec<(String, Told)> = serde_json::from_slice(page).expect("a list");
            read.extend(page.into_iter().map(|(name, _)| name));
        }
        let expected: Vec<_> = (0..5000).map(|n| name(n).to_string()).collect();
        assert_eq!(read, expected);
    }
}
