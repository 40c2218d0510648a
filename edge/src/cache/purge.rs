//! Which purges were applied here, as one counter and a table of names: a purge costs one entry, never a scan.
//!
//! Every applied purge gets the next number of a counter of this node. An exchange that may fill takes the counter
//! when it starts (`born`), and its object counts as purged when any of its names carries a higher number. So a
//! fill that began before a purge is stale on arrival. Invariant: an entry is forgotten only when everything that
//! it could speak of is refused for its age, or after a number for everything has taken its place.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use prometheus::IntCounterVec;
use tidegate_chassis::Clock;
use tidegate_contract::{
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::KeyHash,
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

#[derive(Default)]
struct Marks {
    by_name: HashMap<KeyHash, Mark>,
    everything: Mark,
    /// The number below which mutable objects are suspect.
    mutable: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The last hard purge, 0 for none.
    hard: u64,
    /// The last soft purge, 0 for none.
    soft: u64,
    /// When the last of them was applied.
    at: SystemTime,
}

impl PurgeTable {
    /// An empty table.
    #[must_use]
    pub fn new(clock: Clock, limits: Limits) -> Self {
        let shared =
            Shared { clock, limits, seq: AtomicU64::new(0), marks: RwLock::new(Marks::default()) };
        Self { shared: Arc::new(shared), applied: None }
    }

    /// The same table, counting what is applied by target (`url`, `key`, `all`) and kind (`hard`, `soft`).
    #[must_use]
    pub fn counted(mut self, applied: IntCounterVec) -> Self {
        self.applied = Some(applied);
        self
    }

    /// Applies a purge; gives back its number. Applying one twice does no harm.
    pub fn apply(&self, order: &PurgeOrder) -> u64 {
        let at = self.shared.clock.now();
        if let Some(applied) = &self.applied {
            applied.with_label_values(&labels(order)).inc();
        }
        self.write(|marks, seq| {
            let mark = match order.target.hash() {
                None => &mut marks.everything,
                Some(name) => marks.by_name.entry(name).or_default(),
            };
            mark.set(order.soft, seq, at);
            if matches!(order.target, PurgeTarget::All) && !order.soft {
                // Everything born before is gone, whatever its names say.
                marks.by_name.clear();
            }
            marks.shrink(self.shared.limits, seq, at);
        })
    }

    /// A purge may have been missed: from now on every mutable object that was fetched before is suspect.
    pub fn suspect_mutable(&self) {
        self.write(|marks, seq| marks.mutable = seq);
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
        let marks = self.read();
        let mut verdict = marks.everything.verdict(born);
        if is_mutable && marks.mutable > born {
            verdict = verdict.max(Verdict::Suspect);
        }
        for name in names {
            if let Some(mark) = marks.by_name.get(&name) {
                verdict = verdict.max(mark.verdict(born));
            }
        }
        verdict
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

    fn write(&self, change: impl FnOnce(&mut Marks, u64)) -> u64 {
        let mut marks = self.shared.marks.write().unwrap_or_else(PoisonError::into_inner);
        let seq = self.shared.seq.load(Ordering::Relaxed) + 1;
        change(&mut marks, seq);
        // After the change: a reader that sees the number sees the mark, too.
        self.shared.seq.store(seq, Ordering::Release);
        seq
    }

    fn read(&self) -> RwLockReadGuard<'_, Marks> {
        self.shared.marks.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    fn shrink(&mut self, limits: Limits, seq: u64, now: SystemTime) {
        if self.by_name.len() <= limits.names_max {
            return;
        }
        let is_needed = |mark: &Mark| mark.at + limits.keep_max >= now;
        self.by_name.retain(|_, mark| is_needed(mark));
        // Half of the limit must be free, or the next purge scans again.
        if self.by_name.len() > limits.names_max / 2 {
            tracing::warn!(
                names = self.by_name.len(),
                "too many purged names to remember: everything is revalidated once"
            );
            self.by_name.clear();
            self.everything.set(false, seq, now);
        }
    }
}

impl Mark {
    fn set(&mut self, is_soft: bool, seq: u64, at: SystemTime) {
        if is_soft {
            self.soft = seq;
        } else {
            self.hard = seq;
        }
        self.at = at;
    }

    fn verdict(&self, born: u64) -> Verdict {
        if self.hard > born {
            Verdict::Hard
        } else if self.soft > born {
            Verdict::Soft { at: self.at }
        } else {
            Verdict::Valid
        }
    }
}

fn labels(order: &PurgeOrder) -> [&'static str; 2] {
    let target = match order.target {
        PurgeTarget::Url { .. } => "url",
        PurgeTarget::Key { .. } => "key",
        PurgeTarget::All => "all",
    };
    [target, if order.soft { "soft" } else { "hard" }]
}

impl Default for Mark {
    fn default() -> Self {
        Self { hard: 0, soft: 0, at: SystemTime::UNIX_EPOCH }
    }
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
