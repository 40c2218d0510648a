//! Who asks upstream for a resource, and who waits for the head of that answer.
//!
//! A table of slots, one for each resource that upstream is being asked for. The first request leads, the others
//! follow until the first of the asks of the slot says what they may do. When that takes too long, one follower, not
//! all, leads another ask beside the running one. Invariants: a leader that goes away without a word is a failure for
//! its followers; at most one ask begins for a slot in each waiting period.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::wanted::Failed;
use crate::{cache::key::Key, error::Failure};

/// What followers do once the head of an answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Look again: it is stored, being stored, or confirmed.
    Settled,
    /// The answer is for whoever asked alone: every follower asks for itself.
    OnYourOwn,
    /// Serve what is stale, if that is allowed, or fail: upstream is not asked once more for each of them.
    Failed(Failed),
}

/// What a request for a resource is to the others.
pub(super) enum Role {
    /// It asks.
    Lead(Seat),
    /// It waits.
    Follow(Follower),
}

/// What a wait ended with.
pub(super) enum Waited {
    /// An answer's head is known.
    For(Outcome),
    /// It took too long: this one asks now.
    Lead(Seat),
}

/// The slots; all clones share them.
#[derive(Clone, Default)]
pub(super) struct Collapse {
    slots: Arc<Mutex<HashMap<Key, Arc<Slot>>>>,
}

struct Slot {
    key: Key,
    asks: Mutex<Asks>,
    outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Debug)]
struct Asks {
    running: u32,
    newest: Instant,
}

/// The place of one who asks.
pub(super) struct Seat {
    table: Collapse,
    slot: Arc<Slot>,
    is_vacated: bool,
}

/// The place of one who waits.
pub(super) struct Follower {
    table: Collapse,
    slot: Arc<Slot>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Collapse {
    /// Joins those who want a resource.
    pub(super) fn join(&self, key: Key) -> Role {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(&key) {
            let (slot, outcome) = (slot.clone(), slot.outcome.subscribe());
            return Role::Follow(Follower { table: self.clone(), slot, outcome });
        }
        let asks = Mutex::new(Asks { running: 1, newest: Instant::now() });
        let slot = Arc::new(Slot { key, asks, outcome: watch::Sender::new(None) });
        slots.insert(key, slot.clone());
        Role::Lead(Seat { table: self.clone(), slot, is_vacated: false })
    }

    /// Leads when nobody asks for the resource yet.
    pub(super) fn lead(&self, key: Key) -> Option<Seat> {
        match self.join(key) {
            Role::Lead(seat) => Some(seat),
            Role::Follow(_) => None,
        }
    }

    /// Whether upstream is being asked for a resource.
    pub(super) fn is_asked_for(&self, key: &Key) -> bool {
        self.slots().contains_key(key)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.slots().values().map(|slot| slot.outcome.receiver_count()).sum()
    }

    /// Slots in use.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots().len()
    }

    fn close(&self, slot: &Arc<Slot>) {
        let mut slots = self.slots();
        if slots.get(&slot.key).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            slots.remove(&slot.key);
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Tells the followers. A failure counts only when no other ask of the slot is running.
    pub(super) fn vacate(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_vacated, true) {
            return;
        }
        let running = {
            let mut asks = self.slot.asks();
            asks.running -= 1;
            asks.running
        };
        if running > 0 && matches!(outcome, Outcome::Failed(_)) {
            return;
        }
        // First the table: who comes from now on must not find a slot that has ended.
        self.table.close(&self.slot);
        self.slot.outcome.send_if_modified(|told| {
            let is_first = told.is_none();
            told.get_or_insert(outcome);
            is_first
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tell(Outcome::Failed(Failed::without_answer(Failure::INTERNAL)));
    }
}

impl Follower {
    /// Waits for the head of an answer; after `wait_max` without one, the first of the followers leads a new ask and
    /// the others wait on. May be dropped at any time.
    pub(super) async fn wait(mut self, wait_max: Duration) -> Waited {
        loop {
            let deadline = self.slot.asks().newest + wait_max;
            let told = timeout_at(deadline, self.outcome.wait_for(Option::is_some)).await;
            match told.map(|told| told.ok().and_then(|told| *told)) {
                Ok(Some(outcome)) => return Waited::For(outcome),
                // The slot lives as long as its followers, so that this cannot be.
                Ok(None) => {
                    return Waited::For(Outcome::Failed(Failed::without_answer(Failure::INTERNAL)));
                }
                Err(_) => {}
            }
            let mut asks = self.slot.asks();
            let has_ended = asks.running == 0;
            if !has_ended && asks.newest + wait_max <= Instant::now() {
                asks.newest = Instant::now();
                asks.running += 1;
                drop(asks);
                let (table, slot) = (self.table.clone(), self.slot.clone());
                return Waited::Lead(Seat { table, slot, is_vacated: false });
            }
        }
    }
}

impl Slot {
    fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 16]);
    const WAIT: Duration = Duration::from_secs(10);
    const FAILED: Outcome = Outcome::Failed(Failed { failure: Failure::UNREACHABLE, status: None });

    fn lead(table: &Collapse) -> Seat {
        table.lead(KEY).expect("nobody leads")
    }

    fn follow(table: &Collapse) -> Follower {
        match table.join(KEY) {
            Role::Follow(follower) => follower,
            Role::Lead(_) => panic!("nobody leads"),
        }
    }

    async fn outcome(follower: Follower) -> Outcome {
        match follower.wait(WAIT).await {
            Waited::For(outcome) => outcome,
            Waited::Lead(_) => panic!("told to lead"),
        }
    }

    #[tokio::test]
    async fn one_leads_and_all_others_learn_what_came_of_it() {
        for told in [Outcome::Settled, Outcome::OnYourOwn, FAILED] {
            let table = Collapse::default();
            let seat = lead(&table);
            let followers = [follow(&table), follow(&table)];
            seat.vacate(told);
            assert_eq!(table.len(), 0);
            for follower in followers {
                assert_eq!(outcome(follower).await, told);
            }
        }
    }

    #[tokio::test]
    async fn a_leader_that_goes_away_is_a_failure() {
        let table = Collapse::default();
        let seat = lead(&table);
        let follower = follow(&table);
        drop(seat);
        assert!(matches!(outcome(follower).await, Outcome::Failed(_)));
        drop(lead(&table));
    }

    #[tokio::test(start_paused = true)]
    async fn in_each_waiting_period_one_follower_leads() {
        let table = Collapse::default();
        let first = lead(&table);
        let mut waiting: Vec<_> = (0..5).map(|_| tokio::spawn(follow(&table).wait(WAIT))).collect();
        let mut seats = vec![first];
        for period in 1..=3 {
            tokio::time::sleep(WAIT + Duration::from_millis(10)).await;
            let (ended, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(tokio::task::JoinHandle::is_finished);
            assert_eq!(ended.len(), 1, "period {period}");
            for task in ended {
                let Waited::Lead(seat) = task.await.unwrap() else { panic!("an outcome") };
                seats.push(seat);
            }
            waiting = rest;
        }
        let last = seats.pop().unwrap();
        last.vacate(FAILED);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(waiting.iter().all(|task| !task.is_finished()), "others still ask");
        seats.pop().unwrap().vacate(Outcome::Settled);
        for task in waiting {
            assert!(matches!(task.await.unwrap(), Waited::For(Outcome::Settled)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_came_late_does_not_shorten_the_period() {
        let table = Collapse::default();
        let _seat = lead(&table);
        let early = tokio::spawn(follow(&table).wait(WAIT));
        tokio::time::sleep(WAIT / 2).await;
        let late = tokio::spawn(follow(&table).wait(WAIT));
        tokio::time::sleep(WAIT / 2 + Duration::from_millis(5)).await;
        assert_ne!(early.is_finished(), late.is_finished(), "one of them leads");
    }
}
