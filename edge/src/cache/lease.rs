//! The freshness lease: whether this node can be sure that it knows of every purge.
//!
//! The control plane answers once a second where the purge streams stand. Once everything up to there is applied,
//! the node knows of every purge that was accepted before it asked, and is certain for the length of the lease from
//! then on: neither a cut, nor a long way, nor a lag in applying makes it believe longer. Invariant: `is_certain` is
//! never true while a purge that was accepted more than a lease ago may be unknown here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tidegate_contract::id::StreamId;
use tokio::sync::watch;

use super::purge::PurgeTable;

/// A handle on the lease; all clones share it.
#[derive(Clone)]
pub struct Lease {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None`: no control plane, so nothing can be missed.
    length: Option<Duration>,
    state: Mutex<State>,
    applied: watch::Sender<BTreeMap<StreamId, u64>>,
    purges: OnceLock<PurgeTable>,
    /// The number of the last purge that the applied offsets speak of; unused without `purges`.
    settled: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Every purge is known that was accepted before this.
    known: Option<SystemTime>,
    head: BTreeMap<StreamId, u64>,
    /// Answers that promise more than is applied, the oldest first.
    pending: VecDeque<Answer>,
}

/// Where the streams stood, at some time after this was asked.
struct Answer {
    asked_at: SystemTime,
    head: BTreeMap<StreamId, u64>,
}

impl Lease {
    /// A lease of a length (five heartbeats by default); not certain until the first heartbeat.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self::with_length(Some(length))
    }

    /// For a node without a control plane: always certain.
    #[must_use]
    pub fn standalone() -> Self {
        Self::with_length(None)
    }

    fn with_length(length: Option<Duration>) -> Self {
        let shared = Shared {
            length,
            state: Mutex::default(),
            applied: watch::Sender::new(BTreeMap::new()),
            purges: OnceLock::new(),
            settled: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The control plane was heard, and what it said is of now. Tell the heads it named (`set_head`) before this.
    pub fn heartbeat(&self, now: SystemTime) {
        self.heartbeat_asked(now, now);
    }

    /// The control plane said where the streams stand (`set_head`), in answer to what was asked at some time. Counts
    /// once everything up to there is applied.
    pub fn heartbeat_asked(&self, asked_at: SystemTime, now: SystemTime) {
        let mut state = self.state();
        let is_young = |answer: &Answer| self.is_within(answer.asked_at, now);
        state.pending.retain(is_young);
        let answer = Answer { asked_at, head: state.head.clone() };
        if is_young(&answer) {
            if state.pending.len() >= PENDING_MAX {
                // The oldest is the first that comes true.
                state.pending.pop_back();
            }
            state.pending.push_back(answer);
        }
        if state.known.is_some_and(|known| known > now) {
            // The clock was set back: how long ago that was cannot be told any more.
            state.known = None;
        }
        self.settle(&mut state);
    }

    /// Whether every purge accepted more than a lease ago is known here.
    #[must_use]
    pub fn is_certain(&self, now: SystemTime) -> bool {
        self.shared.length.is_none()
            || self.state().known.is_some_and(|known| self.is_within(known, now))
    }

    /// Names the table in which the purges of the streams are applied, for [`Lease::settled`]. Only the first
    /// call counts.
    pub fn attach(&self, purges: PurgeTable) {
        let _ = self.shared.purges.set(purges);
    }

    /// The number of the last purge that [`Lease::seen`] speaks of; absent where no table is attached.
    ///
    /// A fill from another node takes this as its `born`, and only then asks for `seen`: a purge that is applied
    /// here but not yet in `seen` may still be unknown to the other node.
    #[must_use]
    pub fn settled(&self) -> Option<u64> {
        self.shared.purges.get()?;
        Some(self.shared.settled.load(Ordering::Acquire))
    }

    /// Everything of a stream up to and including this offset is applied. Never goes back. Called after the
    /// purges were applied, by one task alone.
    pub fn set_applied(&self, stream: &StreamId, offset: u64) {
        let seq = self.shared.purges.get().map_or(0, PurgeTable::seq);
        self.shared.applied.send_if_modified(|applied| {
            let before = applied.insert(stream.clone(), offset);
            if let Some(before) = before.filter(|before| *before >= offset) {
                applied.insert(stream.clone(), before);
                return false;
            }
            true
        });
        self.shared.settled.store(seq, Ordering::Release);
        let mut state = self.state();
        self.settle(&mut state);
    }

    /// The control plane's log of a stream ends with this offset.
    pub fn set_head(&self, stream: &StreamId, offset: u64) {
        self.state().head.insert(stream.clone(), offset);
    }

    /// How many purges are accepted but not yet applied here, over all streams.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let state = self.state();
        let applied = self.shared.applied.borrow();
        let behind = |(stream, head): (&StreamId, &u64)| {
            head.saturating_sub(applied.get(stream).copied().unwrap_or(0))
        };
        state.head.iter().map(behind).sum()
    }

    /// To be told of every stream's applied offset.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<BTreeMap<StreamId, u64>> {
        self.shared.applied.subscribe()
    }

    /// The applied offset of every stream.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<StreamId, u64> {
        self.shared.applied.borrow().clone()
    }

    /// Waits until at least these offsets are applied here; false when that takes longer than the timeout.
    pub async fn wait_applied(&self, seen: &BTreeMap<StreamId, u64>, timeout: Duration) -> bool {
        let mut applied = self.shared.applied.subscribe();
        let caught_up = applied.wait_for(|applied| covers(applied, seen));
        matches!(tokio::time::timeout(timeout, caught_up).await, Ok(Ok(_)))
    }

    fn is_within(&self, then: SystemTime, now: SystemTime) -> bool {
        // A clock that was set back counts as time passed: it may hide a cut.
        let passed = now.duration_since(then).unwrap_or_else(|error| error.duration());
        self.shared.length.is_some_and(|length| passed <= length)
    }

    /// Takes the answers that came true.
    fn settle(&self, state: &mut State) {
        if state.pending.is_empty() {
            return;
        }
        let applied = self.shared.applied.borrow();
        let mut known = None;
        state.pending.retain(|answer| {
            let is_true = covers(&applied, &answer.head);
            if is_true {
                known = known.max(Some(answer.asked_at));
            }
            !is_true
        });
        if known.is_some() {
            state.known = state.known.max(known);
            if let Some(purges) = self.shared.purges.get() {
                // Whatever was ordered while this node was away is applied.
                purges.trust_restored();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn covers(applied: &BTreeMap<StreamId, u64>, needed: &BTreeMap<StreamId, u64>) -> bool {
    needed
        .iter()
        .all(|(stream, offset)| *offset == 0 || applied.get(stream).is_some_and(|at| at >= offset))
}

/// Answers that wait to come true. There is one a second from each of two servers, and those older than the lease go.
const PENDING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn stream() -> StreamId {
        StreamId::parse("main").unwrap()
    }

    #[test]
    fn silence_longer_than_the_lease_is_uncertain() {
        let lease = Lease::new(LENGTH);
        assert!(!lease.is_certain(at(0)), "nothing was heard yet");
        lease.heartbeat(at(0));
        assert!(lease.is_certain(at(5)));
        assert!(!lease.is_certain(at(6)));
        assert!(!lease.is_certain(at(0) - Duration::from_secs(6)), "a clock set back");
    }

    #[test]
    fn after_a_cut_what_was_missed_must_be_applied_first() {
        let lease = Lease::new(LENGTH);
        lease.heartbeat(at(0));
        lease.set_head(&stream(), 7);
        lease.heartbeat(at(60));
        assert!(!lease.is_certain(at(60)));
        lease.set_applied(&stream(), 6);
        assert!(!lease.is_certain(at(60)));
        assert_eq!(lease.lag(), 1);
        lease.set_applied(&stream(), 7);
        assert!(lease.is_certain(at(60)));
    }

    #[test]
    fn an_ordinary_lag_of_moments_is_not_a_cut() {
        let lease = Lease::new(LENGTH);
        lease.heartbeat(at(0));
        lease.set_head(&stream(), 9);
        lease.heartbeat(at(1));
        assert!(lease.is_certain(at(1)));
    }

    #[test]
    fn a_lag_that_lasts_is_as_uncertain_as_a_cut() {
        let lease = Lease::new(LENGTH);
        lease.heartbeat(at(0));
        for second in 1..60 {
            // Heartbeats overtake the purges that stand before them in the log.
            lease.set_head(&stream(), second * 10);
            lease.set_applied(&stream(), (second * 10).saturating_sub(60));
            lease.heartbeat(at(second));
            assert_eq!(lease.is_certain(at(second)), second <= 5, "{second}");
        }
        lease.set_applied(&stream(), 590);
        assert!(lease.is_certain(at(59)));
    }

    #[test]
    fn a_heartbeat_counts_from_when_it_was_asked_for() {
        let lease = Lease::new(LENGTH);
        lease.heartbeat_asked(at(0), at(4));
        assert!(lease.is_certain(at(5)) && !lease.is_certain(at(6)));
        lease.heartbeat_asked(at(3), at(60));
        assert!(!lease.is_certain(at(60)), "it was on its way for longer than the lease");
        lease.heartbeat_asked(at(59), at(60));
        lease.heartbeat_asked(at(57), at(61));
        assert!(lease.is_certain(at(64)), "a slower second subscription takes nothing away");
    }

    #[test]
    fn applied_offsets_never_go_back() {
        let lease = Lease::new(LENGTH);
        lease.set_applied(&stream(), 9);
        lease.set_applied(&stream(), 3);
        assert_eq!(lease.seen(), BTreeMap::from([(stream(), 9)]));
    }

    #[test]
    fn a_purge_counts_as_settled_once_its_offset_is_told() {
        use tidegate_contract::purge::{PurgeOrder, PurgeTarget};

        let lease = Lease::new(LENGTH);
        assert_eq!(lease.settled(), None);
        let purges = PurgeTable::new(tidegate_chassis::Clock::system(), Default::default());
        lease.attach(purges.clone());
        purges.apply(&PurgeOrder { target: PurgeTarget::All, soft: false });
        assert_eq!(lease.settled(), Some(0));
        lease.set_applied(&stream(), 1);
        assert_eq!(lease.settled(), Some(purges.seq()));
    }

    #[test]
    fn a_node_of_its_own_is_always_certain() {
        assert!(Lease::standalone().is_certain(at(0)));
    }

    #[tokio::test]
    async fn a_waiter_gets_on_as_soon_as_the_offset_is_applied() {
        let lease = Lease::new(LENGTH);
        let seen = BTreeMap::from([(stream(), 4)]);
        assert!(!lease.wait_applied(&seen, Duration::from_millis(1)).await);
        let waiting = tokio::spawn({
            let (lease, seen) = (lease.clone(), seen.clone());
            async move { lease.wait_applied(&seen, Duration::from_secs(10)).await }
        });
        lease.set_applied(&stream(), 4);
        assert!(waiting.await.unwrap());
    }
}
