//! Which nodes can be asked here: those with a telemetry lane at this replica.
//!
//! Invariant: of a node's lanes the newest is asked; a question waits for no slow node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_contract::node_question::NodeQuestion;
use tokio::sync::mpsc;

use crate::store::NodeName;

/// The lanes that are open. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Lanes(Arc<Mutex<HashMap<NodeName, Lane>>>);

struct Lane {
    questions: mpsc::Sender<NodeQuestion>,
    answers: bool,
}

/// A lane that can be asked over; not any more when it is dropped.
pub struct AskedLane {
    lanes: Lanes,
    name: NodeName,
    asked: mpsc::Receiver<NodeQuestion>,
    /// Knows the lane from a newer one.
    own: mpsc::Sender<NodeQuestion>,
}

/// Whether a node was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was.
    Done,
    /// It has no lane here.
    NotThere,
    /// It was not, and why.
    Refused(&'static str),
}

impl Lanes {
    pub(super) fn open(&self, name: &NodeName, answers: bool) -> AskedLane {
        let (questions, asked) = mpsc::channel(WAITING_MAX);
        let own = questions.clone();
        self.lock().insert(name.clone(), Lane { questions, answers });
        AskedLane { lanes: self.clone(), name: name.clone(), asked, own }
    }

    pub(super) fn tell(&self, name: &NodeName, question: NodeQuestion) -> Told {
        match self.lock().get(name) {
            None => Told::NotThere,
            Some(Lane { answers: false, .. }) => {
                Told::Refused("its build answers no questions: upgrade it")
            }
            Some(lane) => match lane.questions.try_send(question) {
                Ok(()) => Told::Done,
                Err(_) => Told::Refused("as many questions as may be wait for it"),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeName, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AskedLane {
    /// The next question.
    pub async fn question(&mut self) -> NodeQuestion {
        match self.asked.recv().await {
            Some(question) => question,
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }
}

impl Drop for AskedLane {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        if lanes.get(&self.name).is_some_and(|lane| lane.questions.same_channel(&self.own)) {
            lanes.remove(&self.name);
        }
    }
}

/// Questions that wait until a lane has written what stands before them.
const WAITING_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{NodeId, PopId},
        node_question::Ask,
    };

    use super::*;

    #[tokio::test]
    async fn the_newest_lane_of_a_node_is_asked_until_it_ends() {
        let lanes = Lanes::default();
        let name = NodeName {
            pop: PopId::parse("ams").expect("good"),
            node: NodeId::parse("n1").expect("good"),
        };
        let question = |number| NodeQuestion { number, ask: Ask::Check };
        assert_eq!(lanes.tell(&name, question(1)), Told::NotThere);
        let old = lanes.open(&name, false);
        assert!(matches!(lanes.tell(&name, question(1)), Told::Refused(_)));
        let mut new = lanes.open(&name, true);
        drop(old);
        assert_eq!(lanes.tell(&name, question(2)), Told::Done);
        assert_eq!(new.question().await.number, 2);
        for number in 0..WAITING_MAX as u64 {
            assert_eq!(lanes.tell(&name, question(number)), Told::Done);
        }
        assert!(matches!(lanes.tell(&name, question(9)), Told::Refused(_)), "it is slow");
        drop(new);
        assert_eq!(lanes.tell(&name, question(1)), Told::NotThere);
    }
}
