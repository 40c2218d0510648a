//! What a node makes of the words on its purge lanes, without sockets.
//!
//! One follower hears all lanes of a node: a purge counts when its first copy comes, in the order of its stream, and
//! the copy on the other lane is passed over. Pure but for what it writes to: messages and times come in, so that a
//! simulation drives the very code that runs. Invariant: no offset of a stream is stepped over unless everything that
//! may change has become suspect first.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tidegate_contract::{
    id::StreamId,
    purge::{PurgeOrder, PurgeTarget},
    replacement::Replacement,
};

use super::{
    Replace,
    position::{Positions, Step},
    question::Questions,
    relay::Predecessor,
    wire::{self, PurgeApplied, PurgeDown, PurgeHello, PurgeUp, purge_down, purge_up},
};
use crate::cache::{lease::Lease, purge::PurgeTable};

/// Up to where the purges are applied, and where they are applied.
pub struct Follower {
    purges: PurgeTable,
    replace: Replace,
    lease: Lease,
    positions: Positions,
    /// The process before this one, while it lives: it gets what is applied here.
    predecessor: Predecessor,
    /// What was acknowledged last, on whichever lane: the other one need not say it as well.
    told: BTreeMap<String, u64>,
}

/// What one lane must know of itself.
#[derive(Debug)]
pub struct Heard {
    /// What the server was asked.
    pub questions: Questions,
    /// Where the node said that it stands when the lane began.
    said: Positions,
}

/// Why a lane cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// Something is missing.
    #[error("stream {stream}: offset {found} came where {expected} was due")]
    Gap {
        /// Where.
        stream: String,
        /// What was due.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Nonsense.
    #[error("the control plane broke the protocol: {0}")]
    Protocol(String),
}

impl Follower {
    /// Goes on where the table was when the last run ended.
    #[must_use]
    pub fn new(purges: PurgeTable, replace: Replace, lease: Lease) -> Self {
        // What was purged before the last end is known still, so that only what came since is asked for.
        let positions = Positions::restored(purges.positions());
        for (stream, offset) in positions.iter() {
            lease.set_applied(stream, offset);
        }
        let predecessor = Predecessor::none();
        Self { purges, replace, lease, positions, predecessor, told: BTreeMap::new() }
    }

    /// Tells a process before this one what is applied here.
    pub(super) fn telling(self, predecessor: Predecessor) -> Self {
        Self { predecessor, ..self }
    }

    /// Goes on where the process that talked until now has come to.
    pub(super) fn catch_up(&mut self) {
        self.positions = Positions::restored(&self.lease.seen());
    }

    /// The first word of a lane: where this node stands. `build` and `subscription` say who speaks.
    #[must_use]
    pub fn hello(&self, build: &str, subscription: u32, now: SystemTime) -> (PurgeUp, Heard) {
        let applied = self.positions.iter().map(|(s, offset)| (s.to_string(), offset)).collect();
        let hello = PurgeHello { applied, build: build.to_owned(), subscription };
        let heard = Heard { questions: Questions::begun(now), said: self.positions.clone() };
        (PurgeUp { message: Some(purge_up::Message::Hello(hello)) }, heard)
    }

    /// Takes one message of a lane.
    ///
    /// # Errors
    /// [`FollowError`]: the lane is to be opened anew. What came before it stays applied.
    pub fn take(
        &mut self,
        message: PurgeDown,
        heard: &mut Heard,
        now: SystemTime,
    ) -> Result<(), FollowError> {
        match message.message {
            Some(purge_down::Message::Batch(batch)) => {
                for purge in batch.purges {
                    self.apply(purge, now)?;
                }
            }
            Some(purge_down::Message::Heartbeat(heartbeat)) => {
                let asked_at = heard.questions.answered(heartbeat.answers);
                let asked_at = asked_at.ok_or_else(|| {
                    FollowError::Protocol(format!("an answer to {}", heartbeat.answers))
                })?;
                let mut heads = BTreeMap::new();
                for (stream, head) in heartbeat.head {
                    let stream = parse_stream(&stream)?;
                    self.note_head(&stream, head)?;
                    heads.insert(stream, head);
                }
                self.lease.heartbeat_asked(asked_at, now);
                self.predecessor.heard(asked_at, heads);
            }
            Some(purge_down::Message::Trimmed(trimmed)) => {
                self.skip(&parse_stream(&trimmed.stream)?, trimmed.head, heard)?;
            }
            // A message of a newer control plane.
            None => {}
        }
        Ok(())
    }

    /// The same as it travels, for whoever has one lane.
    #[must_use]
    pub fn acknowledgements(&self) -> Vec<PurgeUp> {
        self.applied().into_iter().map(acknowledgement).collect()
    }

    /// Whether no lane has told that yet.
    pub(super) fn is_news(&self, applied: &PurgeApplied) -> bool {
        self.told.get(&applied.stream) != Some(&applied.offset)
    }

    /// A lane has told it.
    pub(super) fn told(&mut self, applied: PurgeApplied) {
        self.told.insert(applied.stream, applied.offset);
    }

    /// Up to where each stream is applied and would survive a crash, as far as anything does here.
    pub(super) fn applied(&self) -> Vec<PurgeApplied> {
        let durable = self.purges.durable().map(|durable| durable.borrow().positions.clone());
        // The journal is the predecessor's while it lives, and its last connections count.
        let known = self.predecessor.applied().or(durable);
        let of = |(stream, offset): (&StreamId, u64)| {
            let offset = match &known {
                None => offset,
                Some(known) => offset.min(*known.get(stream)?),
            };
            Some(PurgeApplied { stream: stream.to_string(), offset })
        };
        self.positions.iter().filter_map(of).collect()
    }

    /// Where purges are applied.
    #[must_use]
    pub fn purges(&self) -> &PurgeTable {
        &self.purges
    }

    fn apply(&mut self, purge: wire::Purge, now: SystemTime) -> Result<(), FollowError> {
        let stream = parse_stream(&purge.stream)?;
        match self.positions.step(&stream, purge.offset) {
            // The other lane was faster.
            Step::Duplicate => return Ok(()),
            Step::Gap(expected) => {
                let (stream, found) = (stream.to_string(), purge.offset);
                return Err(FollowError::Gap { stream, expected, found });
            }
            Step::Unknown => self.start_at(&stream, purge.offset.saturating_sub(1))?,
            Step::Next => {}
        }
        let (offset, order) = (purge.offset, order_of(&purge));
        let made_at = Duration::from_millis(purge.accepted_unix_ms);
        let made_at = SystemTime::UNIX_EPOCH.checked_add(made_at).unwrap_or(now);
        tracing::debug!(%stream, offset, id = %purge.id, "a purge is applied");
        match replacement_of(purge) {
            Some(new) => (self.replace)(&order, &new, made_at),
            None => {
                self.purges.apply(&order);
            }
        }
        self.predecessor.purged(&stream, offset, &order);
        self.stand_at(&stream, offset)
    }

    fn note_head(&mut self, stream: &StreamId, head: u64) -> Result<(), FollowError> {
        if self.positions.step(stream, head) == Step::Unknown {
            self.start_at(stream, head)?;
        }
        // A head below our position is that of a replica which hears of purges later than the other one.
        self.lease.set_head(stream, head);
        Ok(())
    }

    /// The log no longer holds what follows where this lane stood.
    fn skip(&mut self, stream: &StreamId, head: u64, heard: &Heard) -> Result<(), FollowError> {
        let went_back = heard.said.is_beyond(stream, head);
        if !went_back && self.positions.step(stream, head) == Step::Duplicate {
            // Meanwhile the other lane brought all of it.
            return Ok(());
        }
        tracing::warn!(%stream, head, went_back, "purges were missed for good");
        self.start_at(stream, head)
    }

    /// Goes on from an offset without having seen what led there: everything that may change is suspect.
    fn start_at(&mut self, stream: &StreamId, offset: u64) -> Result<(), FollowError> {
        self.purges.suspect_mutable();
        self.predecessor.began(stream, offset);
        self.stand_at(stream, offset)
    }

    fn stand_at(&mut self, stream: &StreamId, offset: u64) -> Result<(), FollowError> {
        let set = self.positions.set(stream, offset);
        set.map_err(|error| FollowError::Protocol(error.to_string()))?;
        self.purges.note_position(stream, offset);
        self.lease.set_applied(stream, offset);
        Ok(())
    }
}

/// What is applied, as it travels.
pub(super) fn acknowledgement(applied: PurgeApplied) -> PurgeUp {
    PurgeUp { message: Some(purge_up::Message::Applied(applied)) }
}

fn parse_stream(text: &str) -> Result<StreamId, FollowError> {
    StreamId::parse(text).map_err(|error| FollowError::Protocol(error.to_string()))
}

/// The order of a purge. One that this build cannot read may name anything, so everything is marked stale: that
/// costs revalidations, while passing over it would leave something wrong in the cache.
fn order_of(purge: &wire::Purge) -> PurgeOrder {
    serde_json::from_slice(&purge.order).unwrap_or_else(|error| {
        tracing::error!(id = %purge.id, %error, "an unreadable purge is applied to everything");
        PurgeOrder { target: PurgeTarget::All, soft: true }
    })
}

/// What stands in the place of what is purged; what breaks the rules is left out, so that upstream is asked.
fn replacement_of(purge: wire::Purge) -> Option<Replacement> {
    let wire::Replacement { headers, body } = purge.replacement?;
    let new = Replacement { headers: headers.into_iter().collect(), body };
    new.checked()
        .inspect_err(|error| tracing::error!(id = %purge.id, %error, "a purge is applied alone"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_chassis::Clock;
    use wire::{Heartbeat, Purge, PurgeBatch, Trimmed};

    use super::*;
    use crate::cache::purge::{Limits, Verdict};

    const LENGTH: Duration = Duration::from_secs(5);

    struct Bench {
        follower: Follower,
        lease: Lease,
        clock: Clock,
    }

    impl Bench {
        fn new() -> Self {
            let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
            let purges = PurgeTable::new(clock.clone(), Limits::default());
            let lease = Lease::new(LENGTH);
            lease.attach(purges.clone());
            let replace: Replace = Arc::new(|_, _, _| {});
            Self { follower: Follower::new(purges, replace, lease.clone()), lease, clock }
        }

        fn lane(&self) -> Heard {
            self.follower.hello("test", 0, self.clock.now()).1
        }

        fn take(
            &mut self,
            heard: &mut Heard,
            message: purge_down::Message,
        ) -> Result<(), FollowError> {
            let message = PurgeDown { message: Some(message) };
            self.follower.take(message, heard, self.clock.now())
        }

        fn applied(&self) -> Option<u64> {
            self.follower.positions.iter().next().map(|(_, offset)| offset)
        }

        fn is_suspect(&self, born: u64) -> bool {
            self.follower.purges.verdict([], born, true) == Verdict::Suspect
        }
    }

    fn head(head: u64, answers: u64) -> purge_down::Message {
        let head = [("main".to_owned(), head)].into();
        purge_down::Message::Heartbeat(Heartbeat { head, answers, ..Heartbeat::default() })
    }

    fn batch(offsets: impl IntoIterator<Item = u64>) -> purge_down::Message {
        let purge = |offset| Purge {
            stream: "main".to_owned(),
            offset,
            id: format!("p{offset}"),
            order: br#"{"kind":"key","key":"a"}"#.to_vec(),
            accepted_unix_ms: 1,
            replacement: None,
        };
        purge_down::Message::Batch(PurgeBatch { purges: offsets.into_iter().map(purge).collect() })
    }

    fn trimmed(head: u64) -> purge_down::Message {
        purge_down::Message::Trimmed(Trimmed { stream: "main".to_owned(), head })
    }

    #[test]
    fn the_first_copy_counts_and_the_other_lane_goes_on_behind_it() {
        let mut bench = Bench::new();
        let (mut first, mut second) = (bench.lane(), bench.lane());
        bench.take(&mut first, head(0, 0)).unwrap();
        bench.take(&mut second, head(0, 0)).unwrap();
        bench.take(&mut second, batch(1..=3)).unwrap();
        let seq = bench.follower.purges.seq();
        bench.take(&mut first, batch(1..=4)).unwrap();
        assert_eq!(bench.follower.purges.seq(), seq + 1, "only 4 was new");
        bench.take(&mut second, batch([4, 5])).unwrap();
        assert_eq!(bench.applied(), Some(5));
        let gap = FollowError::Gap { stream: "main".into(), expected: 6, found: 7 };
        assert_eq!(bench.take(&mut second, batch([7])), Err(gap));
    }

    #[test]
    fn what_one_lane_has_told_the_other_need_not_say() {
        let mut bench = Bench::new();
        let mut first = bench.lane();
        bench.take(&mut first, head(0, 0)).unwrap();
        bench.take(&mut first, batch(1..=3)).unwrap();
        let [applied] = bench.follower.applied().try_into().unwrap();
        assert!(bench.follower.is_news(&applied));
        bench.follower.told(applied.clone());
        assert!(!bench.follower.is_news(&applied));
        bench.take(&mut first, batch([4])).unwrap();
        assert!(bench.follower.is_news(&bench.follower.applied()[0]));
        // A log that was restored: what is below is news as well.
        let back = PurgeApplied { offset: 1, ..applied };
        assert!(bench.follower.is_news(&back));
    }

    #[test]
    fn either_lane_feeds_the_lease_and_one_that_lags_takes_nothing_away() {
        let mut bench = Bench::new();
        let (mut first, mut second) = (bench.lane(), bench.lane());
        bench.take(&mut first, head(0, 0)).unwrap();
        for _ in 0..20 {
            bench.clock.advance(Duration::from_secs(1));
            let ask = second.questions.ask(bench.clock.now());
            bench.take(&mut second, head(0, ask.number)).unwrap();
            assert!(bench.lease.is_certain(bench.clock.now()));
        }
        bench.take(&mut second, batch([1])).unwrap();
        let ask = first.questions.ask(bench.clock.now());
        bench.take(&mut first, head(0, ask.number)).unwrap();
        assert_eq!(bench.applied(), Some(1), "a replica that is behind by a moment");
        assert!(bench.lease.is_certain(bench.clock.now()));
    }

    #[test]
    fn an_answer_to_what_was_never_asked_ends_the_lane() {
        let mut bench = Bench::new();
        let mut lane = bench.lane();
        assert!(bench.take(&mut lane, head(0, 1)).is_err());
    }

    #[test]
    fn what_was_trimmed_is_suspect_unless_the_other_lane_brought_it() {
        let mut bench = Bench::new();
        let (mut first, mut second) = (bench.lane(), bench.lane());
        bench.take(&mut first, head(0, 0)).unwrap();
        let born = bench.follower.purges.seq();
        bench.take(&mut second, batch(1..=9)).unwrap();
        bench.take(&mut first, trimmed(8)).unwrap();
        assert_eq!(bench.applied(), Some(9));
        assert!(!bench.is_suspect(born));
        bench.take(&mut first, trimmed(30)).unwrap();
        assert_eq!(bench.applied(), Some(30));
        assert!(bench.is_suspect(born));
        let gap = bench.take(&mut second, batch([10]));
        assert_eq!(gap, Ok(()), "old news");
    }

    #[test]
    fn a_log_that_was_restored_is_noticed_in_the_next_epoch_and_when_it_lies_behind() {
        for restored in [1 << 40, 5] {
            let mut bench = Bench::new();
            let mut lane = bench.lane();
            bench.take(&mut lane, head(900, 0)).unwrap();
            let born = bench.follower.purges.seq();
            let mut lane = bench.lane();
            bench.take(&mut lane, head(restored, 0)).unwrap();
            bench.take(&mut lane, trimmed(restored)).unwrap();
            assert!(bench.is_suspect(born), "{restored}");
            bench.take(&mut lane, batch([restored + 1])).unwrap();
            assert_eq!(bench.applied(), Some(restored + 1));
        }
    }
}
