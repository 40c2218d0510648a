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

use prost::Message as _;
use tidegate_contract::{
    id::StreamId,
    packed::unpack,
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
    /// When that was.
    told_at: SystemTime,
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
        let (told, told_at) = (BTreeMap::new(), SystemTime::UNIX_EPOCH);
        Self { purges, replace, lease, positions, predecessor, told, told_at }
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
        let hello = PurgeHello { applied, build: build.to_owned(), subscription, unpacks: true };
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
                for run in batch.purges.chunk_by(|one, next| one.stream == next.stream) {
                    self.apply_all(&parse_stream(&run[0].stream)?, run, now)?;
                }
            }
            Some(purge_down::Message::Packed(packed)) => {
                let stream = parse_stream(&packed.stream)?;
                // The other lane was faster: most of what a second lane brings.
                if self.positions.step(&stream, packed.last) != Step::Duplicate {
                    self.apply_all(&stream, &unpacked(&packed)?, now)?;
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
    pub(super) fn told(&mut self, applied: PurgeApplied, now: SystemTime) {
        self.told.insert(applied.stream, applied.offset);
        self.told_at = now;
    }

    /// How long it is too early yet to tell again, whichever lane told last.
    pub(super) fn told_too_lately(&self, now: SystemTime) -> Duration {
        // A clock that was set back makes nobody wait.
        let since = now.duration_since(self.told_at).unwrap_or(TOLD_EVERY);
        TOLD_EVERY.saturating_sub(since)
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

    /// Applies purges of one stream; whoever waits for them or writes them down hears of the last one, once.
    fn apply_all(
        &mut self,
        stream: &StreamId,
        purges: &[wire::Purge],
        now: SystemTime,
    ) -> Result<(), FollowError> {
        let mut applied = None;
        let all = purges.iter().try_for_each(|purge| {
            applied = self.apply(stream, purge, now)?.or(applied);
            Ok(())
        });
        // Those before one that is wrong stay applied.
        if let Some(offset) = applied {
            self.tell(stream, offset);
        }
        all
    }

    /// Applies a purge if it is new; its offset then.
    fn apply(
        &mut self,
        stream: &StreamId,
        purge: &wire::Purge,
        now: SystemTime,
    ) -> Result<Option<u64>, FollowError> {
        let offset = purge.offset;
        match self.positions.step(stream, offset) {
            // The other lane was faster.
            Step::Duplicate => return Ok(None),
            Step::Gap(expected) => {
                return Err(FollowError::Gap {
                    stream: stream.to_string(),
                    expected,
                    found: offset,
                });
            }
            Step::Unknown => self.start_at(stream, offset.saturating_sub(1))?,
            Step::Next => {}
        }
        let order = order_of(purge);
        let made_at = Duration::from_millis(purge.accepted_unix_ms);
        let made_at = SystemTime::UNIX_EPOCH.checked_add(made_at).unwrap_or(now);
        tracing::debug!(%stream, offset, id = %purge.id, "a purge is applied");
        match replacement_of(purge) {
            Some(new) => (self.replace)(&order, &new, made_at),
            None => {
                self.purges.apply(&order);
            }
        }
        self.predecessor.purged(stream, offset, &order);
        self.stand_at(stream, offset)?;
        Ok(Some(offset))
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
        self.stand_at(stream, offset)?;
        self.tell(stream, offset);
        Ok(())
    }

    fn stand_at(&mut self, stream: &StreamId, offset: u64) -> Result<(), FollowError> {
        let set = self.positions.set(stream, offset);
        set.map_err(|error| FollowError::Protocol(error.to_string()))
    }

    /// Tells the journal, and whoever waits, that everything up to here is applied.
    fn tell(&self, stream: &StreamId, offset: u64) {
        self.purges.note_position(stream, offset);
        self.lease.set_applied(stream, offset);
    }
}

/// What is applied, as it travels.
pub(super) fn acknowledgement(applied: PurgeApplied) -> PurgeUp {
    PurgeUp { message: Some(purge_up::Message::Applied(applied)) }
}

fn unpacked(batch: &wire::PackedBatch) -> Result<Vec<wire::Purge>, FollowError> {
    let wrong = |error: String| FollowError::Protocol(format!("a packed batch: {error}"));
    let plain = unpack(&batch.packed, batch.plain_bytes as usize, BATCH_BYTES_MAX);
    let plain = plain.map_err(|error| wrong(error.to_string()))?;
    let batch = wire::PurgeBatch::decode(&plain[..]).map_err(|error| wrong(error.to_string()))?;
    Ok(batch.purges)
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
fn replacement_of(purge: &wire::Purge) -> Option<Replacement> {
    let wire::Replacement { headers, body } = purge.replacement.clone()?;
    let new = Replacement { headers: headers.into_iter().collect(), body };
    new.checked()
        .inspect_err(|error| tracing::error!(id = %purge.id, %error, "a purge is applied alone"))
        .ok()
}

/// The largest message of a lane in bytes, and what a packed one may unpack to.
pub(super) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// At most so often is told how far purges are applied, heartbeats aside: it covers all purges until then, and whoever
/// waits for one of many hardly notices.
pub(super) const TOLD_EVERY: Duration = Duration::from_millis(50);

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

    fn packed(offsets: impl IntoIterator<Item = u64>) -> wire::PackedBatch {
        let purge_down::Message::Batch(mut batch) = batch(offsets) else { panic!("a batch") };
        for purge in &mut batch.purges {
            (purge.stream, purge.id) = (String::new(), String::new());
        }
        let last = batch.purges.last().map_or(0, |purge| purge.offset);
        let plain = batch.encode_to_vec();
        let plain_bytes = u32::try_from(plain.len()).unwrap();
        let packed = tidegate_contract::packed::pack(&plain).into();
        wire::PackedBatch { stream: "main".to_owned(), last, plain_bytes, packed }
    }

    #[test]
    fn a_packed_batch_is_the_same_purges_and_old_news_is_not_even_unpacked() {
        let mut bench = Bench::new();
        let (mut first, mut second) = (bench.lane(), bench.lane());
        bench.take(&mut first, head(0, 0)).unwrap();
        let whole = packed(1..=20);
        let broken = wire::PackedBatch { packed: vec![0xff; 9].into(), ..whole.clone() };
        let wrong = bench.take(&mut second, purge_down::Message::Packed(broken.clone()));
        assert!(matches!(wrong, Err(FollowError::Protocol(_))), "{wrong:?}");
        assert_eq!(bench.applied(), Some(0));
        let seq = bench.follower.purges.seq();
        bench.take(&mut first, purge_down::Message::Packed(whole)).unwrap();
        assert_eq!((bench.applied(), bench.follower.purges.seq()), (Some(20), seq + 20));
        assert_eq!(bench.lease.seen().into_values().collect::<Vec<_>>(), [20]);
        bench.take(&mut second, purge_down::Message::Packed(broken)).unwrap();
        // One that begins before and ends behind where the node stands brings what is new.
        bench.take(&mut second, purge_down::Message::Packed(packed(15..=22))).unwrap();
        assert_eq!((bench.applied(), bench.follower.purges.seq()), (Some(22), seq + 22));
        let large = wire::PackedBatch { plain_bytes: u32::MAX, ..packed(23..=40) };
        assert!(bench.take(&mut second, purge_down::Message::Packed(large)).is_err());
    }

    #[test]
    fn what_stands_before_a_gap_is_applied_and_told() {
        let mut bench = Bench::new();
        let mut lane = bench.lane();
        bench.take(&mut lane, head(0, 0)).unwrap();
        let gap = FollowError::Gap { stream: "main".into(), expected: 4, found: 9 };
        for message in [batch([1, 2, 3, 9]), purge_down::Message::Packed(packed([1, 2, 3, 9]))] {
            assert_eq!(bench.take(&mut lane, message), Err(gap.clone()));
            assert_eq!(bench.applied(), Some(3));
            assert_eq!(bench.lease.seen().into_values().collect::<Vec<_>>(), [3]);
        }
    }

    #[test]
    fn what_one_lane_has_told_the_other_need_not_say() {
        let mut bench = Bench::new();
        let mut first = bench.lane();
        bench.take(&mut first, head(0, 0)).unwrap();
        bench.take(&mut first, batch(1..=3)).unwrap();
        let [applied] = bench.follower.applied().try_into().unwrap();
        assert!(bench.follower.is_news(&applied));
        assert_eq!(bench.follower.told_too_lately(bench.clock.now()), Duration::ZERO);
        bench.follower.told(applied.clone(), bench.clock.now());
        assert!(!bench.follower.is_news(&applied));
        bench.clock.advance(Duration::from_millis(20));
        assert_eq!(
            bench.follower.told_too_lately(bench.clock.now()),
            TOLD_EVERY - Duration::from_millis(20)
        );
        let before = bench.clock.now() - Duration::from_secs(3600);
        assert_eq!(bench.follower.told_too_lately(before), Duration::ZERO, "set back");
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
