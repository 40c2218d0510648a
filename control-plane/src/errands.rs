//! What one node shall do once, by an operator's order: given, told to the node, answered.
//!
//! One record a PoP, so that what holds for all of its nodes is decided in one step. Invariant: of one PoP no two nodes are
//! ever restarted at a time, and a node has one order at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    id::{NodeId, PopId},
    node_order::{Act, DETAIL_CHARS_MAX, NodeOrder, OrderReport, Outcome},
};
use tokio::{sync::watch, time::sleep};

use crate::{
    store::{Commit, CommitError, Expect, Key, NodeName, Record, Records, Revision, StoreError},
    unix_time::{millis, unix_ms},
};

/// An order as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// What the node is told.
    pub order: NodeOrder,
    /// When it was given.
    pub ordered_unix_ms: u64,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What the node said of it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<OrderReport>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_unix_ms: Option<u64>,
}

/// How far an errand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The node has not answered yet.
    Waiting,
    /// The node has begun.
    Begun,
    /// It is done.
    Done,
    /// The node did not do it, and says why.
    Refused,
    /// The node has not answered in time, or never said how it ended.
    Unanswered,
}

/// Why an order is not given.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// Not now.
    #[error("{0}")]
    Refused(String),
    /// Somebody else gave one at the same time, again and again.
    #[error("others give orders to this PoP at the same time")]
    Contended,
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store does not take it.
    #[error(transparent)]
    Commit(CommitError),
}

/// The errands of one PoP.
type OfPop = BTreeMap<NodeId, Errand>;

/// All errands. Cheap to clone.
#[derive(Clone)]
pub struct Errands {
    records: Arc<dyn Records>,
    clock: Clock,
    known: Arc<watch::Sender<BTreeMap<PopId, OfPop>>>,
}

impl Errand {
    /// How far it is.
    #[must_use]
    pub fn standing(&self, now_unix_ms: u64) -> Standing {
        let since_end = now_unix_ms.saturating_sub(self.order.expires_unix_ms);
        match self.answer.as_ref().map(|answer| answer.outcome) {
            Some(Outcome::Done) => Standing::Done,
            Some(Outcome::Refused) => Standing::Refused,
            Some(Outcome::Begun) if since_end <= millis(BEGUN_MAX) => Standing::Begun,
            None if since_end <= millis(ANSWER_MAX) => Standing::Waiting,
            _ => Standing::Unanswered,
        }
    }

    fn is_open(&self, now_unix_ms: u64) -> bool {
        matches!(self.standing(now_unix_ms), Standing::Waiting | Standing::Begun)
    }
}

impl Standing {
    /// Its name in the API and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Errands {
    /// Over the records of all replicas.
    #[must_use]
    pub fn new(records: Arc<dyn Records>, clock: Clock) -> Self {
        Self { records, clock, known: Arc::default() }
    }

    /// What is told to nodes, now and on every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<PopId, OfPop>> {
        self.known.subscribe()
    }

    /// What a node shall do now.
    #[must_use]
    pub fn order_to(&self, name: &NodeName) -> Option<NodeOrder> {
        let now = self.now_unix_ms();
        let known = self.known.borrow();
        let errand = known.get(&name.pop)?.get(&name.node)?;
        let is_told = errand.answer.is_none() && now < errand.order.expires_unix_ms;
        is_told.then_some(errand.order)
    }

    /// The last order to a node.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn of(&self, name: &NodeName) -> Result<Option<Errand>, StoreError> {
        Ok(self.read(&name.pop).await?.0.remove(&name.node))
    }

    /// Whether an order could be given now.
    ///
    /// # Errors
    /// [`ErrandError`]
    pub async fn check(&self, name: &NodeName, act: Act) -> Result<(), ErrandError> {
        let (all, _) = self.read(&name.pop).await?;
        hindrance(name, act, &all, self.now_unix_ms()).map_or(Ok(()), refused)
    }

    /// Gives an order; durable when it returns.
    ///
    /// # Errors
    /// [`ErrandError`]
    pub async fn give(
        &self,
        name: &NodeName,
        act: Act,
        by: String,
        reason: String,
    ) -> Result<Errand, ErrandError> {
        for _ in 0..TRIES {
            let (mut all, revision) = self.read(&name.pop).await?;
            let now = self.now_unix_ms();
            if let Some(why) = hindrance(name, act, &all, now) {
                return refused(why);
            }
            all.retain(|_, known| now.saturating_sub(known.ordered_unix_ms) < millis(KEPT));
            // Above every number that the node may have seen, also one from before a restore.
            let above = all.get(&name.node).map_or(0, |last| last.order.number + 1);
            let order =
                NodeOrder { number: above.max(now), act, expires_unix_ms: now + millis(LIFE) };
            let errand = Errand {
                order,
                ordered_unix_ms: now,
                by: by.clone(),
                reason: reason.clone(),
                answer: None,
                answered_unix_ms: None,
            };
            all.insert(name.node.clone(), errand.clone());
            if self.swap(&name.pop, &all, revision).await? {
                return Ok(errand);
            }
        }
        Err(ErrandError::Contended)
    }

    /// A node said what became of an order.
    ///
    /// # Errors
    /// [`ErrandError`]: it says it again.
    pub async fn answered(&self, name: &NodeName, said: &OrderReport) -> Result<(), ErrandError> {
        for _ in 0..TRIES {
            let (mut all, revision) = self.read(&name.pop).await?;
            let Some(errand) = all.get_mut(&name.node) else { return Ok(()) };
            let is_over =
                errand.answer.as_ref().is_some_and(|known| known.outcome != Outcome::Begun);
            if errand.order.number != said.number || errand.answer.as_ref() == Some(said) || is_over
            {
                return Ok(());
            }
            let mut answer = said.clone();
            answer.detail = said.detail.chars().take(DETAIL_CHARS_MAX).collect();
            (errand.answer, errand.answered_unix_ms) = (Some(answer), Some(self.now_unix_ms()));
            if self.swap(&name.pop, &all, revision).await? {
                tracing::info!(node = %name, number = said.number, outcome = ?said.outcome, detail = said.detail, "an order is answered");
                return Ok(());
            }
        }
        Err(ErrandError::Contended)
    }

    /// Keeps what is told to nodes as the records have it, until the drain.
    pub async fn follow(&self, drain: &Drain) {
        let mut head = self.records.head();
        loop {
            head.mark_unchanged();
            match self.all().await {
                Ok(all) => {
                    self.known.send_if_modified(|known| {
                        let is_news = *known != all;
                        *known = all;
                        is_news
                    });
                }
                Err(error) => tracing::warn!(%error, "cannot see what nodes are ordered"),
            }
            tokio::select! {
                // Many changes in a row are one.
                () = sleep(LOOK_AGAIN) => {}
                () = drain.started() => return,
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return },
                () = drain.started() => return,
            }
        }
    }

    async fn all(&self) -> Result<BTreeMap<PopId, OfPop>, StoreError> {
        let listing = self.records.list(FOLDER).await?;
        let read = |record: &Record| {
            let pop = PopId::parse(&record.key.as_str()[FOLDER.len()..])
                .map_err(|error| StoreError::damaged("node order", error))?;
            Ok((pop, decode(record)?))
        };
        listing.records.iter().map(read).collect()
    }

    async fn read(&self, pop: &PopId) -> Result<(OfPop, Option<Revision>), StoreError> {
        match self.records.get(&key(pop)).await? {
            Some(record) => Ok((decode(&record)?, Some(record.revision))),
            None => Ok((OfPop::new(), None)),
        }
    }

    /// False when somebody was faster.
    async fn swap(
        &self,
        pop: &PopId,
        all: &OfPop,
        revision: Option<Revision>,
    ) -> Result<bool, ErrandError> {
        let value = serde_json::to_vec(all).expect("errands are plain data");
        let expect = vec![(key(pop), revision.map_or(Expect::Absent, Expect::At))];
        let commit = Commit { expect, puts: vec![(key(pop), value.into())], ..Commit::default() };
        match self.records.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(error) => Err(ErrandError::Commit(error)),
        }
    }

    fn now_unix_ms(&self) -> u64 {
        unix_ms(self.clock.now())
    }
}

/// Why an order cannot be given now.
fn hindrance(name: &NodeName, act: Act, all: &OfPop, now_unix_ms: u64) -> Option<String> {
    if all.get(&name.node).is_some_and(|last| last.is_open(now_unix_ms)) {
        return Some(format!("an order to {name} is under way"));
    }
    let restarts = |(_, known): &(&NodeId, &Errand)| {
        known.order.act == Act::Restart && known.is_open(now_unix_ms)
    };
    let (other, _) = all.iter().find(restarts).filter(|_| act == Act::Restart)?;
    Some(format!("{}/{other} is being restarted: one node of a PoP at a time", name.pop))
}

fn refused<T>(why: String) -> Result<T, ErrandError> {
    Err(ErrandError::Refused(why))
}

fn decode(record: &Record) -> Result<OfPop, StoreError> {
    serde_json::from_slice(&record.value).map_err(|error| StoreError::damaged("node order", error))
}

fn key(pop: &PopId) -> Key {
    Key::parse(&format!("{FOLDER}{pop}")).expect("an id is a good part of a key")
}

const FOLDER: &str = "node-order/";
/// How long a node may take to begin: it has its lane open, and clocks differ.
const LIFE: Duration = Duration::from_secs(60);
/// For the answer to arrive.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// For a new process to build everything and to open its lanes.
const BEGUN_MAX: Duration = Duration::from_secs(120);
/// Errands that are shown; those of nodes that are no more go with the next one.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const TRIES: usize = 8;
/// Orders travel so late at the most.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(act: Act, outcome: Option<Outcome>) -> Errand {
        let answer = |outcome| OrderReport { number: 1, act, outcome, detail: String::new() };
        Errand {
            order: NodeOrder { number: 1, act, expires_unix_ms: 60_000 },
            ordered_unix_ms: 0,
            by: "ann".into(),
            reason: "stuck".into(),
            answer: outcome.map(answer),
            answered_unix_ms: None,
        }
    }

    #[test]
    fn an_errand_waits_begins_and_ends_and_nobody_waits_for_ever() {
        for (outcome, now, expected) in [
            (None, 0, Standing::Waiting),
            (None, 70_000, Standing::Waiting),
            (None, 70_001, Standing::Unanswered),
            (Some(Outcome::Begun), 180_000, Standing::Begun),
            (Some(Outcome::Begun), 180_001, Standing::Unanswered),
            (Some(Outcome::Done), u64::MAX, Standing::Done),
            (Some(Outcome::Refused), u64::MAX, Standing::Refused),
        ] {
            assert_eq!(errand(Act::Restart, outcome).standing(now), expected, "{outcome:?} {now}");
        }
    }

    #[test]
    fn one_node_of_a_pop_is_restarted_at_a_time_and_each_has_one_order() {
        let id = |node: &str| NodeId::parse(node).expect("good");
        let name = |node| NodeName { pop: PopId::parse("ams").expect("good"), node: id(node) };
        let all: OfPop = [(id("n1"), errand(Act::Restart, None))].into();
        for (node, act, now, is_free) in [
            ("n1", Act::RollbackLocal, 0, false),
            ("n1", Act::Restart, 70_001, true),
            ("n2", Act::Restart, 0, false),
            ("n2", Act::Restart, 70_001, true),
            ("n2", Act::RollbackLocal, 0, true),
        ] {
            let why = hindrance(&name(node), act, &all, now);
            assert_eq!(why.is_none(), is_free, "{node} {act:?} {now}: {why:?}");
        }
        let done: OfPop = [(id("n1"), errand(Act::Restart, Some(Outcome::Done)))].into();
        assert_eq!(hindrance(&name("n2"), Act::Restart, &done, 0), None);
    }
}
