//! What operators ask single nodes: told on the lane that the node has, here or at another replica, and answered once.
//!
//! A question to a node whose lane is here never touches the store. One to a node elsewhere is a record for as long as
//! somebody waits, and so is its answer (`shared.rs`). Invariant: an answer counts only when it comes from the node that
//! was asked, once, while somebody waits for it; a question leaves nothing behind.

mod lanes; // who can be asked here
mod shared; // through the store, to other replicas

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_chassis::{Clock, Drain};
use tidegate_contract::node_question::{Ask, NodeAnswer, NodeQuestion, Said};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::{
    lanes::{Lanes, Told},
    shared::Shared,
};
use crate::{
    store::{NodeName, Records, StoreError},
    unix_time::unix_ms,
};

pub use self::lanes::AskedLane;

/// All questions of this replica. Cheap to clone.
#[derive(Clone)]
pub struct Questions(Arc<Inner>);

struct Inner {
    lanes: Lanes,
    /// Those that somebody here waits for.
    open: Mutex<HashMap<u64, Open>>,
    /// Absent: there are no other replicas.
    shared: Option<Shared>,
    clock: Clock,
}

/// A question that somebody waits for.
struct Open {
    /// Whose answer is missing.
    nodes: HashSet<NodeName>,
    answers: mpsc::Sender<(NodeName, Vec<u8>)>,
}

/// What became of a question to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It said something.
    Answered(Answered),
    /// It did not want to, could not, or said what cannot be read; why.
    Refused(String),
    /// It has no lane open.
    Away,
    /// It did not answer in time.
    Silent,
}

/// An answer, and when it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What the node said; never [`Said::Refused`].
    pub said: Said,
    /// By the node's clock.
    pub at_unix_ms: u64,
    /// When it was asked, by ours.
    pub asked_unix_ms: u64,
    /// How long after that the answer was here.
    pub took: Duration,
}

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Too many wait.
    #[error("{QUESTIONS_MAX} questions wait for answers already")]
    TooMany,
    /// The other replicas cannot be told.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Questions {
    /// Over the records of all replicas, where there may be several.
    #[must_use]
    pub fn new(records: Arc<dyn Records>, is_shared: bool, clock: Clock) -> Self {
        let shared = is_shared.then(|| Shared::new(records, clock.clone()));
        let (lanes, open) = (Lanes::default(), Mutex::default());
        Self(Arc::new(Inner { lanes, open, shared, clock }))
    }

    /// A node opened the lane over which it can be asked, if its build answers at all.
    #[must_use]
    pub fn lane(&self, name: &NodeName, answers: bool) -> AskedLane {
        self.0.lanes.open(name, answers)
    }

    /// Asks nodes, each what it is to be asked, and waits for their answers, at most for so long. Those without a lane
    /// here are asked through other replicas when `is_elsewhere` says that they have one there.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(
        &self,
        asks: BTreeMap<NodeName, Ask>,
        limit: Duration,
        is_elsewhere: impl Fn(&NodeName) -> bool,
    ) -> Result<BTreeMap<NodeName, Outcome>, AskError> {
        let (asked_unix_ms, began) = (self.now_unix_ms(), Instant::now());
        let (all, ends) = (asks.len(), began + limit);
        let (answers, mut answered) = mpsc::channel(all.max(1));
        let waiting = self.register(asks.keys().cloned().collect(), answers)?;
        let number = waiting.number;
        let (mut outcomes, mut elsewhere) = (BTreeMap::new(), BTreeMap::new());
        for (name, ask) in asks {
            let outcome = match self.0.lanes.tell(&name, NodeQuestion { number, ask: ask.clone() })
            {
                Told::Done => continue,
                Told::NotThere if self.0.shared.is_some() && is_elsewhere(&name) => {
                    elsewhere.insert(name, ask);
                    continue;
                }
                Told::NotThere => Outcome::Away,
                Told::Refused(why) => Outcome::Refused(why.to_owned()),
            };
            self.is_missing(number, &name);
            outcomes.insert(name, outcome);
        }
        let mut asked_elsewhere = match &self.0.shared {
            Some(shared) if !elsewhere.is_empty() => {
                Some(shared.put(number, &elsewhere, limit).await?)
            }
            _ => None,
        };
        let take = |bytes: &[u8]| read(number, bytes, asked_unix_ms, began.elapsed());
        while outcomes.len() < all {
            let found = async {
                match &mut asked_elsewhere {
                    Some(asked) => asked.found().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((name, bytes)) = answered.recv() => drop(outcomes.insert(name, take(&bytes))),
                found = found => for (name, bytes) in found {
                    if self.is_missing(number, &name) {
                        outcomes.insert(name, take(&bytes));
                    }
                },
                () = sleep_until(ends) => break,
            }
        }
        let missing = waiting.end();
        // What came in the last moment counts.
        while let Ok((name, bytes)) = answered.try_recv() {
            outcomes.insert(name, take(&bytes));
        }
        if let Some(asked) = asked_elsewhere {
            for (name, bytes) in asked.end().await {
                if missing.contains(&name) {
                    outcomes.insert(name, take(&bytes));
                }
            }
        }
        for name in missing {
            outcomes.entry(name).or_insert(Outcome::Silent);
        }
        Ok(outcomes)
    }

    /// A node answered on its lane.
    ///
    /// # Errors
    /// When another replica waits for it and cannot be told.
    pub async fn answered(
        &self,
        name: &NodeName,
        number: u64,
        content: Vec<u8>,
    ) -> Result<(), StoreError> {
        let here = {
            let mut open = self.lock();
            open.get_mut(&number).map(|open| (open.nodes.remove(name), open.answers.clone()))
        };
        match (here, &self.0.shared) {
            (Some((true, answers)), _) => {
                // Room for every node that was asked; whoever waited may have gone.
                let _ = answers.try_send((name.clone(), content));
                Ok(())
            }
            (Some((false, _)), _) | (None, None) => Ok(()),
            (None, Some(shared)) => shared.answer(name, number, content).await,
        }
    }

    /// Tells nodes here what other replicas ask them, until the drain; without others there is nothing to do.
    pub async fn follow(&self, drain: &Drain) {
        match &self.0.shared {
            Some(shared) => shared.follow(&self.0.lanes, drain).await,
            None => drain.started().await,
        }
    }

    fn register(
        &self,
        nodes: HashSet<NodeName>,
        answers: mpsc::Sender<(NodeName, Vec<u8>)>,
    ) -> Result<Waiting<'_>, AskError> {
        let mut open = self.lock();
        if open.len() >= QUESTIONS_MAX {
            return Err(AskError::TooMany);
        }
        // Drawn, so that an answer to a question before a restart, or of another replica, finds none.
        let number = loop {
            let number = rand::random::<u64>();
            if !open.contains_key(&number) {
                break number;
            }
        };
        open.insert(number, Open { nodes, answers });
        Ok(Waiting { questions: self, number })
    }

    /// Whether a node was asked and has not answered; from now on nothing is missing of it.
    fn is_missing(&self, number: u64, name: &NodeName) -> bool {
        self.lock().get_mut(&number).is_some_and(|open| open.nodes.remove(name))
    }

    fn now_unix_ms(&self) -> u64 {
        unix_ms(self.0.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits; over when it is dropped.
struct Waiting<'a> {
    questions: &'a Questions,
    number: u64,
}

impl Waiting<'_> {
    /// Whose answer is missing; nobody's counts any more.
    fn end(self) -> HashSet<NodeName> {
        let open = self.questions.lock().remove(&self.number);
        open.map(|open| open.nodes).unwrap_or_default()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.number);
    }
}

fn read(number: u64, bytes: &[u8], asked_unix_ms: u64, took: Duration) -> Outcome {
    match NodeAnswer::from_bytes(bytes) {
        Ok(answer) if answer.number != number => {
            Outcome::Refused("it answered another question".to_owned())
        }
        Ok(NodeAnswer { said: Said::Refused(why), .. }) => Outcome::Refused(why),
        Ok(NodeAnswer { said, at_unix_ms, .. }) => {
            Outcome::Answered(Answered { said, at_unix_ms, asked_unix_ms, took })
        }
        Err(error) => Outcome::Refused(format!("its answer cannot be read: {error}")),
    }
}

/// Operators and their scripts; each may wait for the answers of a whole PoP, some MB together.
const QUESTIONS_MAX: usize = 16;
