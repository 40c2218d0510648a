//! Questions to nodes whose lanes are at other replicas: records for as long as somebody waits.
//!
//! A question lies under `node-question/`, an answer under `node-answer/`, and is written only while its question lies
//! there. Invariant: whoever asked removes the question first and then the answers, so that none is left behind; what a
//! replica left that died is removed by the others.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    id::{NodeId, PopId},
    node_question::{Ask, NodeAnswer, NodeQuestion, Said},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::lanes::{Lanes, Told};
use crate::{
    store::{
        COMMIT_ENTRIES_MAX, Commit, CommitError, Expect, Key, NodeName, Record, Records, Revision,
        StoreError,
    },
    unix_time::{millis, unix_ms},
};

/// What other replicas ask and are asked.
pub(super) struct Shared {
    records: Arc<dyn Records>,
    clock: Clock,
    /// Questions of other replicas that nodes here were told.
    told: Mutex<HashMap<u64, Passed>>,
}

/// A question of another replica.
struct Passed {
    revision: Revision,
    /// Nodes here that have not answered yet.
    nodes: HashSet<NodeName>,
}

/// A question as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    expires_unix_ms: u64,
    /// By POP/NODE.
    asks: BTreeMap<String, Ask>,
}

/// A question that other replicas were asked.
pub(super) struct AskedElsewhere<'a> {
    shared: &'a Shared,
    number: u64,
    head: watch::Receiver<Revision>,
    /// The state of the records of which the answers were read last.
    read_at: Option<Revision>,
}

impl Shared {
    pub(super) fn new(records: Arc<dyn Records>, clock: Clock) -> Self {
        Self { records, clock, told: Mutex::default() }
    }

    /// Lets the other replicas ask.
    pub(super) async fn put(
        &self,
        number: u64,
        asks: &BTreeMap<NodeName, Ask>,
        limit: Duration,
    ) -> Result<AskedElsewhere<'_>, StoreError> {
        let expires_unix_ms = self.now_unix_ms() + millis(limit);
        let asks = asks.iter().map(|(name, ask)| (name.to_string(), ask.clone())).collect();
        let kept = Kept { expires_unix_ms, asks };
        let value = serde_json::to_vec(&kept).expect("a question is plain data");
        let head = self.records.head();
        let commit = Commit {
            expect: vec![(question_key(number), Expect::Absent)],
            puts: vec![(question_key(number), value.into())],
            deletes: Vec::new(),
        };
        self.commit(commit).await?;
        Ok(AskedElsewhere { shared: self, number, head, read_at: None })
    }

    /// A node here answered: told to whoever asked, if it was asked that and somebody waits.
    pub(super) async fn answer(
        &self,
        name: &NodeName,
        number: u64,
        content: Vec<u8>,
    ) -> Result<(), StoreError> {
        let revision = {
            let mut told = self.told();
            let Some(passed) = told.get_mut(&number) else { return Ok(()) };
            if !passed.nodes.remove(name) {
                return Ok(());
            }
            passed.revision
        };
        self.write(name, number, revision, content).await
    }

    /// Tells nodes here what other replicas ask them, until the drain.
    pub(super) async fn follow(&self, lanes: &Lanes, drain: &Drain) {
        let mut head = self.records.head();
        loop {
            head.mark_unchanged();
            if let Err(error) = self.look(lanes).await {
                tracing::warn!(%error, "cannot see what other replicas ask");
            }
            tokio::select! {
                // Many changes in a row are one.
                () = sleep(LOOK_AGAIN) => {}
                () = drain.started() => return,
            }
            tokio::select! {
                // A question that nobody waits for any more is no change of the records.
                changed = timeout(SWEEP_EVERY, head.changed()) => {
                    if matches!(changed, Ok(Err(_))) {
                        return;
                    }
                }
                () = drain.started() => return,
            }
        }
    }

    async fn look(&self, lanes: &Lanes) -> Result<(), StoreError> {
        let records = self.records.list(QUESTIONS).await?.records;
        let mut there = HashSet::new();
        let now = self.now_unix_ms();
        for record in records {
            let Some(number) = number_of(record.key.as_str(), QUESTIONS) else { continue };
            there.insert(number);
            let kept: Kept = serde_json::from_slice(&record.value)
                .map_err(|error| StoreError::damaged("question", error))?;
            if now > kept.expires_unix_ms + millis(LEFT_MAX) {
                self.remove(number).await?;
                continue;
            }
            if now > kept.expires_unix_ms || self.told().contains_key(&number) {
                continue;
            }
            let (mut nodes, mut refused) = (HashSet::new(), Vec::new());
            for (name, ask) in kept.asks {
                let Some(name) = read_name(&name) else { continue };
                match lanes.tell(&name, NodeQuestion { number, ask }) {
                    Told::Done => drop(nodes.insert(name)),
                    Told::NotThere => {}
                    Told::Refused(why) => refused.push((name, why)),
                }
            }
            // Whoever asked has told its own nodes already: those are not among these.
            self.told().insert(number, Passed { revision: record.revision, nodes });
            for (name, why) in refused {
                let said = Said::Refused(why.to_owned());
                let answer = NodeAnswer { number, at_unix_ms: now, said };
                if let Ok(content) = answer.to_bytes() {
                    self.write(&name, number, record.revision, content).await?;
                }
            }
        }
        self.told().retain(|number, _| there.contains(number));
        Ok(())
    }

    async fn write(
        &self,
        name: &NodeName,
        number: u64,
        revision: Revision,
        content: Vec<u8>,
    ) -> Result<(), StoreError> {
        let key = format!("{}{name}", answers_of(number));
        let key = Key::parse(&key).expect("ids are good parts of a key");
        let commit = Commit {
            expect: vec![(question_key(number), Expect::At(revision))],
            puts: vec![(key, content.into())],
            deletes: Vec::new(),
        };
        self.commit(commit).await
    }

    /// The answers that lie there.
    async fn answers(&self, number: u64) -> Result<Vec<(NodeName, Vec<u8>)>, StoreError> {
        let prefix = answers_of(number);
        let records = self.records.list(&prefix).await?.records.into_iter();
        let read = |record: Record| {
            let name = read_name(record.key.as_str().strip_prefix(&prefix)?)?;
            Some((name, record.value.to_vec()))
        };
        Ok(records.filter_map(read).collect())
    }

    /// Removes a question and then its answers.
    async fn remove(&self, number: u64) -> Result<(), StoreError> {
        let deletes = vec![question_key(number)];
        self.commit(Commit { deletes, ..Commit::default() }).await?;
        let left = self.records.list(&answers_of(number)).await?.records;
        let deletes: Vec<_> = left.into_iter().map(|record| record.key).collect();
        for some in deletes.chunks(COMMIT_ENTRIES_MAX) {
            self.commit(Commit { deletes: some.to_vec(), ..Commit::default() }).await?;
        }
        Ok(())
    }

    /// Commits; that somebody was faster is as good.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        match self.records.commit(commit).await {
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
            Err(error) => Err(StoreError::damaged("question", error)),
        }
    }

    fn now_unix_ms(&self) -> u64 {
        unix_ms(self.clock.now())
    }

    fn told(&self) -> MutexGuard<'_, HashMap<u64, Passed>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AskedElsewhere<'_> {
    /// Waits until answers lie there that did not the last time; those that did are among them. May be cut off.
    pub(super) async fn found(&mut self) -> Vec<(NodeName, Vec<u8>)> {
        loop {
            let now = *self.head.borrow();
            if self.read_at != Some(now) {
                let found = self.shared.answers(self.number).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "answers of other replicas cannot be read");
                    Vec::new()
                });
                self.read_at = Some(now);
                if !found.is_empty() {
                    return found;
                }
            }
            let is_news = |head: &Revision| *head != now;
            if self.head.wait_for(is_news).await.is_err() {
                // The store has ended: so does the process.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Nobody waits any more: what is there by now, which is removed.
    pub(super) async fn end(self) -> Vec<(NodeName, Vec<u8>)> {
        let Self { shared, number, .. } = self;
        let deletes = vec![question_key(number)];
        let removed = async {
            shared.commit(Commit { deletes, ..Commit::default() }).await?;
            let found = shared.answers(number).await?;
            shared.remove(number).await?;
            Ok::<_, StoreError>(found)
        };
        removed.await.unwrap_or_else(|error| {
            // Another replica removes it when it has expired.
            tracing::warn!(%error, "a question is left behind");
            Vec::new()
        })
    }
}

fn question_key(number: u64) -> Key {
    Key::parse(&format!("{QUESTIONS}{number:016x}")).expect("a good key")
}

fn answers_of(number: u64) -> String {
    format!("{ANSWERS}{number:016x}/")
}

fn number_of(key: &str, folder: &str) -> Option<u64> {
    u64::from_str_radix(key.strip_prefix(folder)?, 16).ok()
}

fn read_name(text: &str) -> Option<NodeName> {
    let (pop, node) = text.split_once('/')?;
    Some(NodeName { pop: PopId::parse(pop).ok()?, node: NodeId::parse(node).ok()? })
}

const QUESTIONS: &str = "node-question/";
const ANSWERS: &str = "node-answer/";
/// Questions of other replicas travel so late at the most.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked for questions that nobody removed.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// After its end a question is left for so long to whoever asked it: clocks differ.
const LEFT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::task::JoinHandle;

    use super::{super::*, *};
    use crate::store::{Config, Stores};

    const LONG: Duration = Duration::from_secs(60);

    /// Two replicas over the records of one store.
    struct Two {
        records: Arc<dyn Records>,
        here: Questions,
        there: Questions,
        clock: Clock,
        following: JoinHandle<()>,
        _folder: tempfile::TempDir,
        _stores: Stores,
    }

    impl Two {
        async fn start() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let metrics = crate::metrics::Metrics::new(&prometheus::Registry::new());
            let opened = Stores::open(folder.path(), &Config::default(), metrics).await;
            let (stores, _) = opened.expect("a fresh folder");
            let records = Arc::clone(&stores.records);
            let clock = Clock::manual(SystemTime::UNIX_EPOCH + LONG);
            let replica = || Questions::new(Arc::clone(&records), true, clock.clone());
            let (here, there) = (replica(), replica());
            let following = {
                let (there, drain) = (there.clone(), tidegate_chassis::Process::for_test().drain());
                tokio::spawn(async move { there.follow(&drain).await })
            };
            Self { records, here, there, clock, following, _folder: folder, _stores: stores }
        }

        async fn is_clean(&self) -> bool {
            let questions = self.records.list(QUESTIONS).await.expect("it answers").records;
            let answers = self.records.list(ANSWERS).await.expect("it answers").records;
            questions.is_empty() && answers.is_empty()
        }
    }

    impl Drop for Two {
        fn drop(&mut self) {
            self.following.abort();
        }
    }

    fn name(node: &str) -> NodeName {
        NodeName {
            pop: PopId::parse("ams").expect("good"),
            node: NodeId::parse(node).expect("good"),
        }
    }

    fn asks(nodes: &[&str]) -> BTreeMap<NodeName, Ask> {
        nodes.iter().map(|node| (name(node), Ask::Check)).collect()
    }

    fn says(number: u64, runs: u64) -> Vec<u8> {
        let report = tidegate_contract::node_question::CheckReport { runs, ..Default::default() };
        let answer = NodeAnswer { number, at_unix_ms: 5, said: Said::Checks(report) };
        answer.to_bytes().expect("small")
    }

    fn runs(outcome: &Outcome) -> Option<u64> {
        match outcome {
            Outcome::Answered(Answered { said: Said::Checks(report), .. }) => Some(report.runs),
            _ => None,
        }
    }

    #[tokio::test]
    async fn nodes_here_and_at_another_replica_are_asked_alike_and_nothing_is_left() {
        let two = Two::start().await;
        let mut near = two.here.lane(&name("n1"), true);
        let mut far = two.there.lane(&name("n2"), true);
        let _old = two.there.lane(&name("n3"), false);
        let asking = {
            let here = two.here.clone();
            let asks = asks(&["n1", "n2", "n3", "n4"]);
            tokio::spawn(async move { here.ask(asks, LONG, |one| one.node.as_str() != "n4").await })
        };
        let (first, second) = tokio::join!(near.question(), far.question());
        assert_eq!(first.number, second.number);
        let number = first.number;
        // Somebody who was not asked, and somebody who was asked something else.
        let strange = two.there.answered(&name("n1"), number, says(number, 9)).await;
        strange.expect("it answers");
        two.there.answered(&name("n2"), number ^ 1, says(number, 9)).await.expect("it answers");
        two.there.answered(&name("n2"), number, says(number, 2)).await.expect("it answers");
        two.there.answered(&name("n2"), number, says(number, 3)).await.expect("twice is once");
        two.here.answered(&name("n1"), number, says(number, 1)).await.expect("it answers");
        let outcomes = asking.await.expect("no panic").expect("asked");
        let found = |node: &str| &outcomes[&name(node)];
        assert_eq!((runs(found("n1")), runs(found("n2"))), (Some(1), Some(2)));
        assert!(matches!(found("n3"), Outcome::Refused(why) if why.contains("upgrade")));
        assert_eq!(*found("n4"), Outcome::Away);
        assert!(two.is_clean().await);
        two.there.answered(&name("n2"), number, says(number, 4)).await.expect("too late");
        assert!(two.is_clean().await);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_silent_and_what_cannot_be_read_is_said() {
        let two = Two::start().await;
        let mut near = two.here.lane(&name("n1"), true);
        let _far = two.there.lane(&name("n2"), true);
        let asking = {
            let (here, asks) = (two.here.clone(), asks(&["n1", "n2"]));
            let limit = Duration::from_millis(300);
            tokio::spawn(async move { here.ask(asks, limit, |_| true).await })
        };
        let number = near.question().await.number;
        two.here.answered(&name("n1"), number, vec![0; 9]).await.expect("it answers");
        let outcomes = asking.await.expect("no panic").expect("asked");
        assert!(matches!(&outcomes[&name("n1")], Outcome::Refused(why) if why.contains("read")));
        assert_eq!(outcomes[&name("n2")], Outcome::Silent);
        assert!(two.is_clean().await);
    }

    #[tokio::test]
    async fn what_a_replica_left_that_died_is_removed_by_the_others() {
        let two = Two::start().await;
        let shared = two.here.0.shared.as_ref().expect("there are several");
        let _left = shared.put(7, &asks(&["n2"]), LONG).await.expect("it answers");
        let revision = two.records.get(&question_key(7)).await.expect("it answers");
        let revision = revision.expect("it lies there").revision;
        shared.write(&name("n2"), 7, revision, vec![1]).await.expect("it answers");
        two.clock.advance(LONG + LEFT_MAX + Duration::from_secs(1));
        two.there
            .0
            .shared
            .as_ref()
            .expect("same")
            .look(&Lanes::default())
            .await
            .expect("it answers");
        assert!(two.is_clean().await);
        // Its question is gone: an answer that comes now is not written.
        shared.write(&name("n2"), 7, revision, vec![1]).await.expect("it answers");
        assert!(two.is_clean().await);
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let two = Two::start().await;
        let _lane = two.here.lane(&name("n1"), true);
        let waiting: Vec<_> = (0..QUESTIONS_MAX)
            .map(|_| two.here.register(HashSet::new(), mpsc::channel(1).0).expect("room"))
            .collect();
        let refused = two.here.ask(asks(&["n1"]), LONG, |_| true).await;
        assert!(matches!(refused, Err(AskError::TooMany)));
        drop(waiting);
        let none = two.here.ask(BTreeMap::new(), LONG, |_| true).await.expect("room");
        assert!(none.is_empty());
    }
}
