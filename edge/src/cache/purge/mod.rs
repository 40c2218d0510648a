//! Which purges were applied here, as one counter and a table of names: a purge costs one entry, never a scan.
//!
//! Every applied purge gets the next number of a counter of this node. An exchange that may fill takes the counter
//! when it starts (`born`), and its object counts as purged when any of its names carries a higher number. So a
//! fill that began before a purge is stale on arrival. An object has a name for its URL, for each folder above it, for
//! its property and for each of its surrogate keys. Invariant: an entry is forgotten only when everything that it
//! could speak of is refused for its age, or after a number for everything has taken its place.

mod journal; // purges on disk, beside the disk tier
mod entry; // its entries as bytes
mod marks; // what purges leave on names

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use prometheus::IntCounterVec;
use serde::{Deserialize, Serialize};
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::{PropertyId, StreamId},
    purge::{PurgeOrder, PurgeTarget, prefix_hash, prefixes, property_hash, url_hash},
    surrogate_key::KeyHash,
    url_path::normal_with_query,
};
use tokio::sync::watch;

pub use self::journal::Durable;
use self::{
    entry::Entry,
    journal::{EPOCH_SHIFT, Journal},
    marks::Marks,
};

/// A handle on the table; all clones share it.
#[derive(Clone)]
pub struct PurgeTable {
    shared: Arc<Shared>,
    /// By target and kind.
    applied: Option<IntCounterVec>,
}

struct Shared {
    clock: Clock,
    limits: Limits,
    /// The number of the last applied purge; written only under the lock of `marks`.
    seq: AtomicU64,
    marks: RwLock<Marks>,
    journal: OnceLock<Journal>,
    /// Until the journal of the process before can be had.
    awaited: Option<Awaited>,
    /// Where the streams stood at the start.
    positions: BTreeMap<StreamId, u64>,
}

/// What the process that follows must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    seq: u64,
    positions: BTreeMap<StreamId, u64>,
    last_fill: u64,
}

/// What is kept until the journal can be had.
struct Awaited {
    legacy: Legacy,
    durable: Arc<watch::Sender<Durable>>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    positions: BTreeMap<StreamId, u64>,
    /// There will be no journal.
    is_given_up: bool,
}

/// How much the table may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Distinct names; at the limit everything is marked once and the table begins anew.
    pub names_max: usize,
    /// The longest time that an object is served after it was fetched; entries older than that say nothing.
    pub keep_max: Duration,
}

/// What the table says of an object. Ordered by severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No purge since it was fetched.
    Valid,
    /// Marked stale: may be served while it is revalidated.
    Soft {
        /// When it was marked.
        at: SystemTime,
    },
    /// A purge may have been missed: revalidate first, and serve it only when upstream fails.
    Suspect,
    /// Never to be served again without a new answer from upstream.
    Hard,
}

/// By which names a response can be purged: its URL, the folders above it, its property, its surrogate keys. `path`
/// with the query as it counts for the key.
#[must_use]
pub fn names(
    property: &PropertyId,
    host: &str,
    path: &str,
    keys: impl IntoIterator<Item = KeyHash>,
) -> Arc<[KeyHash]> {
    let path = normal_with_query(path);
    let own = [url_hash(host, &path), property_hash(property)];
    own.into_iter()
        .chain(prefixes(&path).map(|prefix| prefix_hash(host, prefix)))
        .chain(keys)
        .collect()
}

/// Whether bytes are a journal of purges; for those who try to break it.
#[must_use]
pub fn is_readable(journal: &[u8]) -> bool {
    entry::read(journal).is_some()
}

impl PurgeTable {
    /// An empty table, which forgets everything with the process.
    #[must_use]
    pub fn new(clock: Clock, limits: Limits) -> Self {
        Self::after(Legacy::default(), clock, limits)
    }

    /// The same in a process that follows another one: everything is fetched after what was purged there.
    #[must_use]
    pub fn after(legacy: Legacy, clock: Clock, limits: Limits) -> Self {
        let shared = Shared {
            clock,
            limits,
            seq: AtomicU64::new(0),
            marks: RwLock::new(Marks::default()),
            journal: OnceLock::new(),
            awaited: None,
            positions: legacy.positions,
        };
        Self { shared: Arc::new(shared), applied: None }
    }

    /// A table that follows the one of another process, whose journal it takes over once that has ended
    /// ([`PurgeTable::attach`]). Until then nothing counts as durable.
    #[must_use]
    pub fn awaiting(legacy: Legacy, clock: Clock, limits: Limits) -> Self {
        let seq = ((legacy.seq >> EPOCH_SHIFT) + 1) << EPOCH_SHIFT;
        let durable = Durable { seq, positions: legacy.positions.clone() };
        let positions = legacy.positions.clone();
        let awaited = Awaited {
            legacy,
            durable: Arc::new(watch::Sender::new(durable)),
            pending: Mutex::default(),
        };
        let shared = Shared {
            clock,
            limits,
            seq: AtomicU64::new(seq),
            marks: RwLock::new(Marks::default()),
            journal: OnceLock::new(),
            awaited: Some(awaited),
            positions,
        };
        Self { shared: Arc::new(shared), applied: None }
    }

    /// Takes over the journal in a folder, with all purges in it. Waits for the disk.
    ///
    /// # Errors
    /// Of kind `WouldBlock` while the other process uses the folder; others are for good.
    pub fn attach(&self, folder: &Path) -> io::Result<()> {
        let Some(awaited) = &self.shared.awaited else { return Ok(()) };
        let epoch = (awaited.legacy.seq >> EPOCH_SHIFT) + 1;
        let expected = Some((epoch, awaited.durable.clone()));
        let keep_max = self.shared.limits.keep_max;
        let (journal, replayed) = Journal::open_after(folder, keep_max, expected)?;
        let mut marks = self.shared.marks.write().unwrap_or_else(PoisonError::into_inner);
        let mut pending = awaited.pending();
        let seq = self.shared.seq.load(Ordering::Relaxed);
        // What was applied here meanwhile is written behind what was there.
        let note = |entry: Entry<'_>| journal.append(&entry, seq);
        let mut merged = replayed.marks;
        merged.take_in(std::mem::take(&mut *marks));
        *marks = merged;
        // First: a purge of everything clears the names before it when the journal is read.
        note(Entry::Mark { name: None, mark: marks.everything });
        for (name, mark) in &marks.by_name {
            if mark.hard.max(mark.soft) >= epoch << EPOCH_SHIFT {
                note(Entry::Mark { name: Some(*name), mark: *mark });
            }
        }
        note(Entry::Suspect { mutable: marks.mutable, missed: marks.missed });
        for (stream, offset) in std::mem::take(&mut pending.positions) {
            let known = replayed.positions.get(&stream).copied().unwrap_or(0);
            note(Entry::Position { stream: &stream, offset: offset.max(known) });
        }
        // Nobody applies anything before the locks are open again.
        let _ = self.shared.journal.set(journal);
        Ok(())
    }

    /// There will be no journal: what is on disk is not to be believed by anybody, and what could be purged survives
    /// nothing.
    pub fn give_up_journal(&self, folder: &Path) {
        let Some(awaited) = &self.shared.awaited else { return };
        if let Err(error) = Journal::discard(folder) {
            tracing::error!(%error, "the journal of purges cannot be removed");
            return;
        }
        let mut pending = awaited.pending();
        pending.is_given_up = true;
        let positions = std::mem::take(&mut pending.positions);
        awaited.durable.send_replace(Durable { seq: u64::MAX, positions });
    }

    /// What the process that follows must know; `last_fill` is the number of the last fill here, `applied` are the
    /// offsets of the streams.
    #[must_use]
    pub fn legacy(&self, last_fill: u64, applied: BTreeMap<StreamId, u64>) -> Legacy {
        let positions = self.shared.journal.get().map(|journal| journal.latest().positions);
        Legacy { seq: self.seq(), positions: positions.unwrap_or(applied), last_fill }
    }

    /// The number of the last fill of the process before, while its journal is awaited.
    #[must_use]
    pub fn awaited_fill(&self) -> Option<u64> {
        let awaited = self.shared.awaited.as_ref()?;
        self.shared.journal.get().is_none().then_some(awaited.legacy.last_fill)
    }

    /// A table that is kept in a folder, and what was kept there. What comes from an earlier run is suspect until
    /// [`PurgeTable::trust_restored`].
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub fn open(folder: &Path, clock: Clock, limits: Limits) -> io::Result<Self> {
        let (journal, replayed) = Journal::open(folder, limits.keep_max)?;
        let shared = Shared {
            clock,
            limits,
            seq: AtomicU64::new(replayed.seq),
            marks: RwLock::new(replayed.marks),
            journal: OnceLock::from(journal),
            awaited: None,
            positions: replayed.positions,
        };
        Ok(Self { shared: Arc::new(shared), applied: None })
    }

    /// The same table, counting what is applied by target (`url`, `key`, `prefix`, `property`, `all`) and kind
    /// (`hard`, `soft`).
    #[must_use]
    pub fn counted(mut self, applied: IntCounterVec) -> Self {
        self.applied = Some(applied);
        self
    }

    /// Applies a purge; gives back its number. From now on it counts; [`PurgeTable::settled`] says when it survives
    /// a crash. Applying one twice does no harm.
    pub fn apply(&self, order: &PurgeOrder) -> u64 {
        let at = self.shared.clock.now();
        if let Some(applied) = &self.applied {
            applied.with_label_values(&labels(order)).inc();
        }
        self.write(|marks, seq, note| {
            let name = order.target.hash();
            let mark = match name {
                None => &mut marks.everything,
                Some(name) => marks.by_name.entry(name).or_default(),
            };
            mark.set(order.soft, seq, at);
            note(Entry::Mark { name, mark: *mark });
            if name.is_none() && !order.soft {
                // Everything born before is gone, whatever its names say.
                marks.by_name.clear();
            }
            if marks.shrink(self.shared.limits, seq, at) {
                note(Entry::Mark { name: None, mark: marks.everything });
            }
        })
    }

    /// Purges were missed: from now on every mutable object that was fetched before is suspect, and everything that
    /// was kept from an earlier run.
    pub fn suspect_mutable(&self) {
        self.write(|marks, seq, note| {
            marks.mutable = seq;
            marks.missed = marks.missed.max(marks.restored);
            note(Entry::Suspect { mutable: marks.mutable, missed: marks.missed });
        });
    }

    /// Every purge is known that was ordered while this node was away: what was kept from an earlier run is as good
    /// as what was fetched since.
    pub fn trust_restored(&self) {
        // Most often there is nothing to be said.
        if self.read().restored > 0 {
            self.write(|marks, _, _| marks.restored = 0);
        }
    }

    /// Up to which offset a stream is applied, to be kept with the purges that led there.
    pub fn note_position(&self, stream: &StreamId, offset: u64) {
        let mut pending = self.shared.awaited.as_ref().map(Awaited::pending);
        if let Some(journal) = self.shared.journal.get() {
            return journal.append(&Entry::Position { stream, offset }, 0);
        }
        let (Some(awaited), Some(pending)) = (&self.shared.awaited, &mut pending) else { return };
        if pending.is_given_up {
            awaited.durable.send_modify(|durable| {
                durable.positions.insert(stream.clone(), offset);
            });
        } else {
            pending.positions.insert(stream.clone(), offset);
        }
    }

    /// Up to which offset each stream was applied when the last run ended; empty when nothing was kept.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<StreamId, u64> {
        &self.shared.positions
    }

    /// Up to where everything survives a crash; absent where nothing that could be purged survives one either.
    #[must_use]
    pub fn durable(&self) -> Option<watch::Receiver<Durable>> {
        match (self.shared.journal.get(), &self.shared.awaited) {
            (Some(journal), _) => Some(journal.durable()),
            (None, Some(awaited)) => Some(awaited.durable.subscribe()),
            (None, None) => None,
        }
    }

    /// Waits until the purge with this number survives a crash. Many that wait together are made durable together.
    pub async fn settled(&self, seq: u64) {
        if let Some(mut durable) = self.durable() {
            // The other end lives as long as the journal.
            let _ = durable.wait_for(|durable| durable.seq >= seq).await;
        }
    }

    /// What ties files on disk to this table; absent where nothing is kept.
    #[must_use]
    pub fn identity(&self) -> Option<u64> {
        self.shared.journal.get().map(Journal::identity)
    }

    /// The number of the last applied purge: what an exchange takes as its `born` before it asks upstream.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.shared.seq.load(Ordering::Acquire)
    }

    /// What is to be thought of an object with these names that was fetched by an exchange with this `born`.
    pub fn verdict(
        &self,
        names: impl IntoIterator<Item = KeyHash>,
        born: u64,
        is_mutable: bool,
    ) -> Verdict {
        if self.seq() <= born {
            return Verdict::Valid; // the hot path: no purge at all since then
        }
        self.read().verdict(names, born, is_mutable)
    }

    /// How many names the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().by_name.len()
    }

    /// Whether no name was ever purged, or all were forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a change under the next number; what it notes goes into the journal in the same order.
    fn write(&self, change: impl FnOnce(&mut Marks, u64, &dyn Fn(Entry<'_>))) -> u64 {
        let mut marks = self.shared.marks.write().unwrap_or_else(PoisonError::into_inner);
        let seq = self.shared.seq.load(Ordering::Relaxed) + 1;
        change(&mut marks, seq, &|entry| {
            if let Some(journal) = self.shared.journal.get() {
                journal.append(&entry, seq);
            }
        });
        // After the change: a reader that sees the number sees the mark, too.
        self.shared.seq.store(seq, Ordering::Release);
        seq
    }

    fn read(&self) -> RwLockReadGuard<'_, Marks> {
        self.shared.marks.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels(order: &PurgeOrder) -> [&'static str; 2] {
    let target = match order.target {
        PurgeTarget::Url { .. } => "url",
        PurgeTarget::Key { .. } => "key",
        PurgeTarget::Prefix { .. } => "prefix",
        PurgeTarget::Property { .. } => "property",
        PurgeTarget::All => "all",
    };
    [target, if order.soft { "soft" } else { "hard" }]
}

impl Default for Limits {
    fn default() -> Self {
        Self { names_max: 1_000_000, keep_max: Duration::from_secs(30 * 24 * 3600) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_contract::surrogate_key::SurrogateKey;

    use super::*;

    fn table(names_max: usize) -> (PurgeTable, Clock) {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let limits = Limits { names_max, keep_max: Duration::from_secs(60) };
        (PurgeTable::new(clock.clone(), limits), clock)
    }

    fn key(name: &str) -> SurrogateKey {
        SurrogateKey::parse(name).unwrap()
    }

    fn order(name: &str, soft: bool) -> PurgeOrder {
        PurgeOrder { target: PurgeTarget::Key { key: key(name) }, soft }
    }

    fn verdict(table: &PurgeTable, name: &str, born: u64) -> Verdict {
        table.verdict([key(name).hash()], born, true)
    }

    #[test]
    fn a_fill_that_began_before_the_purge_is_purged_and_one_that_began_after_is_not() {
        let (table, clock) = table(10);
        let before = table.seq();
        table.apply(&order("a", false));
        let after = table.seq();
        assert_eq!(verdict(&table, "a", before), Verdict::Hard);
        assert_eq!(verdict(&table, "a", after), Verdict::Valid);
        assert_eq!(verdict(&table, "b", before), Verdict::Valid);

        table.apply(&order("a", true));
        assert_eq!(verdict(&table, "a", after), Verdict::Soft { at: clock.now() });
        assert_eq!(verdict(&table, "a", before), Verdict::Hard, "soft after hard stays hard");
    }

    #[test]
    fn everything_means_everything() {
        for soft in [false, true] {
            let (table, clock) = table(10);
            table.apply(&order("a", false));
            let born = table.seq();
            table.apply(&PurgeOrder { target: PurgeTarget::All, soft });
            let expected = if soft { Verdict::Soft { at: clock.now() } } else { Verdict::Hard };
            assert_eq!(verdict(&table, "x", born), expected);
            assert_eq!(verdict(&table, "a", born - 1), Verdict::Hard);
            assert_eq!(verdict(&table, "x", table.seq()), Verdict::Valid);
        }
    }

    #[test]
    fn a_url_a_folder_and_a_property_are_names_of_a_response() {
        let property = PropertyId::parse("demo").unwrap();
        let names = names(&property, "a.org", "/v/1/720p/3.m4s?x=1", [key("k").hash()]);
        let prefix = |path: &str| PurgeTarget::Prefix {
            host: "a.org".to_owned(),
            path_prefix: path.to_owned(),
        };
        for (target, is_hit) in [
            (PurgeTarget::from_url("https://a.org/v/1/720p/3.m4s?x=1").unwrap(), true),
            (PurgeTarget::from_url("https://a.org/v/1/720p/3.m4s").unwrap(), false),
            (prefix("/"), true),
            (prefix("/v/1/"), true),
            (prefix("/v/1/720p/"), true),
            (prefix("/v/2/"), false),
            (PurgeTarget::Property { id: property.clone() }, true),
            (PurgeTarget::Property { id: PropertyId::parse("other").unwrap() }, false),
            (PurgeTarget::Key { key: key("k") }, true),
        ] {
            let (table, _) = table(10);
            let born = table.seq();
            table.apply(&PurgeOrder { target: target.clone(), soft: false });
            let verdict = table.verdict(names.iter().copied(), born, false);
            assert_eq!(verdict == Verdict::Hard, is_hit, "{target:?}");
        }
    }

    #[test]
    fn what_may_have_been_missed_concerns_only_what_can_change() {
        let (table, _) = table(10);
        let born = table.seq();
        table.suspect_mutable();
        assert_eq!(table.verdict([], born, true), Verdict::Suspect);
        assert_eq!(table.verdict([], born, false), Verdict::Valid);
        assert_eq!(table.verdict([], table.seq(), true), Verdict::Valid);
    }

    #[test]
    fn a_full_table_forgets_old_names_first_and_then_marks_everything() {
        let (table, clock) = table(4);
        let born = table.seq();
        for name in ["a", "b", "c", "d"] {
            table.apply(&order(name, false));
        }
        clock.advance(Duration::from_secs(61));
        table.apply(&order("e", false));
        assert_eq!(table.len(), 1, "the old ones are older than anything that is served");
        assert_eq!(verdict(&table, "x", born), Verdict::Valid);

        for name in ["f", "g", "h", "i"] {
            table.apply(&order(name, true));
        }
        assert!(table.is_empty());
        assert_eq!(verdict(&table, "x", born), Verdict::Hard);
        assert_eq!(verdict(&table, "x", table.seq()), Verdict::Valid);
    }

    proptest! {
        #[test]
        fn no_object_outlives_a_hard_purge_of_its_name(
            purges in prop::collection::vec((0_u8..6, any::<bool>()), 1..40),
            born_after in 0_usize..40,
        ) {
            let (table, _) = table(3);
            let mut born = 0;
            let mut is_purged = [false; 6];
            for (n, (name, soft)) in purges.iter().enumerate() {
                if n == born_after {
                    born = table.seq();
                    is_purged = [false; 6];
                }
                table.apply(&order(&name.to_string(), *soft));
                is_purged[*name as usize] |= !soft;
            }
            for name in 0..6_u8 {
                if is_purged[name as usize] {
                    prop_assert_eq!(verdict(&table, &name.to_string(), born), Verdict::Hard);
                }
            }
        }
    }
}

#[cfg(test)]
mod journal_tests;
