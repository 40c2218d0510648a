//! What every node said last, and what changed since it said it before; from that the state of every PoP, once a second.
//!
//! Invariant: a report that is older than a few seconds says nothing any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::PopId,
    telemetry::{Load, Report},
};

use super::verdict::{Judge, Opinion, Signs, opinion};
use crate::{store::NodeName, unix_time::millis};

/// A node's newest report.
#[derive(Debug, Clone)]
pub struct NodeReport {
    /// The node.
    pub name: NodeName,
    /// What it said.
    pub report: Report,
    /// When.
    pub heard_unix_ms: u64,
    /// What it moves, since the report before.
    pub rates: Rates,
    /// Whether it said it to this replica.
    pub is_here: bool,
}

/// A report on its way to other replicas. Its age travels, not its time: clocks of replicas need not run alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How long ago it was said.
    pub age_ms: u64,
    /// What the node moves.
    pub rates: Rates,
    /// What it said.
    pub report: Report,
}

/// What a node moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Requests in the last interval, and how long that was.
    pub requests: u64,
    /// Of them, failed.
    pub errors: u64,
    /// Connections cut or refused in it.
    pub resets: u64,
    /// What it sends to clients.
    pub mbps: u64,
}

/// All of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reports {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<NodeName, NodeReport>,
    judges: BTreeMap<PopId, Judge>,
}

impl Reports {
    /// A node said something.
    pub fn put(&self, name: &NodeName, report: Report, now_unix_ms: u64) {
        let mut inner = self.lock();
        let rates = match inner.nodes.get(name) {
            Some(before) => rates(
                &before.report.load,
                &report.load,
                now_unix_ms.saturating_sub(before.heard_unix_ms),
            )
            .unwrap_or(before.rates),
            None => Rates::default(),
        };
        let (name, heard_unix_ms) = (name.clone(), now_unix_ms);
        let seen = NodeReport { name: name.clone(), report, heard_unix_ms, rates, is_here: true };
        inner.nodes.insert(name, seen);
    }

    /// What nodes said to this replica and still says something.
    #[must_use]
    pub fn here(&self, now_unix_ms: u64) -> Vec<(NodeName, Told)> {
        let inner = self.lock();
        let here = inner.nodes.values().filter(|node| node.is_here && is_fresh(node, now_unix_ms));
        let told = |node: &NodeReport| {
            let age_ms = now_unix_ms.saturating_sub(node.heard_unix_ms);
            (node.name.clone(), Told { age_ms, rates: node.rates, report: node.report.clone() })
        };
        here.map(told).collect()
    }

    /// A node said something to another replica, which told it just now. What is newer here stays.
    pub fn put_elsewhere(&self, name: NodeName, told: Told, now_unix_ms: u64) {
        let Told { age_ms, rates, report } = told;
        let heard_unix_ms = now_unix_ms.saturating_sub(age_ms);
        let mut inner = self.lock();
        if inner.nodes.get(&name).is_some_and(|known| known.heard_unix_ms >= heard_unix_ms) {
            return;
        }
        let seen = NodeReport { name: name.clone(), report, heard_unix_ms, rates, is_here: false };
        inner.nodes.insert(name, seen);
    }

    /// Forgets nodes that are not known any more.
    pub fn retain(&self, is_known: impl Fn(&NodeName) -> bool) {
        let mut inner = self.lock();
        inner.nodes.retain(|name, _| is_known(name));
        let Inner { nodes, judges } = &mut *inner;
        judges.retain(|pop, _| nodes.keys().any(|name| name.pop == *pop));
    }

    /// Reports that still say something.
    #[must_use]
    pub fn fresh(&self, now_unix_ms: u64) -> Vec<NodeReport> {
        let inner = self.lock();
        inner.nodes.values().filter(|node| is_fresh(node, now_unix_ms)).cloned().collect()
    }

    /// Every node's newest report, however old.
    #[must_use]
    pub fn all(&self) -> Vec<NodeReport> {
        self.lock().nodes.values().cloned().collect()
    }

    /// The state of a PoP, as of the last second.
    #[must_use]
    pub fn state(&self, pop: &PopId) -> Opinion {
        self.lock().judges.get(pop).map_or_else(|| Judge::default().state(), Judge::state)
    }

    /// Judges every PoP once; to be called once a second.
    pub fn judge(&self, now_unix_ms: u64) {
        let mut inner = self.lock();
        let pops: Vec<PopId> = inner.nodes.keys().map(|name| name.pop.clone()).collect();
        for pop in pops {
            let signs = signs(inner.nodes.values(), &pop, now_unix_ms);
            inner.judges.entry(pop).or_default().hear(opinion(&signs));
        }
    }

    /// What is known of a PoP now.
    #[must_use]
    pub fn signs(&self, pop: &PopId, now_unix_ms: u64) -> Signs {
        signs(self.lock().nodes.values(), pop, now_unix_ms)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(node: &NodeReport, now_unix_ms: u64) -> bool {
    let late = if node.is_here { Duration::ZERO } else { ELSEWHERE_LATE };
    now_unix_ms.saturating_sub(node.heard_unix_ms) <= millis(FRESH + late)
}

fn signs<'a>(nodes: impl Iterator<Item = &'a NodeReport>, pop: &PopId, now_unix_ms: u64) -> Signs {
    let mut signs = Signs::default();
    // Several nodes of a PoP look, and it counts as one.
    let mut views: BTreeMap<&PopId, bool> = BTreeMap::new();
    for node in nodes.filter(|node| is_fresh(node, now_unix_ms)) {
        if node.name.pop == *pop {
            let is_good = node.report.self_test.is_good;
            signs.good_nodes += u32::from(is_good);
            signs.bad_nodes += u32::from(!is_good);
            signs.requests += node.rates.requests;
            signs.errors += node.rates.errors;
        } else if let Some(view) = node.report.views.iter().find(|view| view.pop == *pop) {
            let is_good = views.entry(&node.name.pop).or_default();
            *is_good |= view.is_good;
        }
    }
    for is_good in views.into_values() {
        signs.views_good += u32::from(is_good);
        signs.views_bad += u32::from(!is_good);
    }
    signs
}

/// What was moved between two reports; `None` when the node began anew in between, or the time is too short to tell.
fn rates(before: &Load, now: &Load, ms: u64) -> Option<Rates> {
    let since = |before: u64, now: u64| now.checked_sub(before);
    if ms < RATE_MIN_MS {
        return None;
    }
    Some(Rates {
        requests: since(before.requests_total, now.requests_total)?,
        errors: since(before.errors_total, now.errors_total)?,
        resets: since(before.resets_total, now.resets_total)?,
        mbps: since(before.sent_bytes_total, now.sent_bytes_total)?.saturating_mul(8) / 1000 / ms,
    })
}

/// Five reports.
const FRESH: Duration = Duration::from_secs(5);
/// How much later news come that another replica tells: it tells every two seconds.
const ELSEWHERE_LATE: Duration = Duration::from_secs(3);
const RATE_MIN_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::NodeId,
        telemetry::{SelfTest, View},
    };

    use super::{super::verdict::Health, *};

    fn name(pop: &str) -> NodeName {
        let node = NodeId::parse("n").expect("good");
        NodeName { pop: PopId::parse(pop).expect("good"), node }
    }

    fn report(is_good: bool, views: &[(&str, bool)]) -> Report {
        let view = |(pop, is_good): &(&str, bool)| View {
            pop: PopId::parse(*pop).expect("good"),
            is_good: *is_good,
        };
        Report {
            self_test: SelfTest { is_good, ..SelfTest::default() },
            views: views.iter().map(view).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_pop_that_others_lost_is_bad_after_three_seconds_and_an_old_report_says_nothing() {
        let reports = Reports::default();
        for second in 0..4u64 {
            let now = second * 1000;
            reports.put(&name("a"), report(true, &[]), now);
            for other in ["b", "c"] {
                reports.put(&name(other), report(true, &[("a", second == 0)]), now);
            }
            reports.judge(now);
            let expected = if second < 3 { Health::Good } else { Health::Bad };
            assert_eq!(reports.state(&name("a").pop).health, expected, "{second}");
        }
        assert_eq!(reports.fresh(8_000).len(), 3);
        assert!(reports.fresh(8_001).is_empty());
        reports.retain(|known| *known == name("b"));
        assert_eq!(reports.state(&name("a").pop).health, Health::Unknown);
    }

    #[test]
    fn what_was_said_elsewhere_counts_by_its_age_and_is_not_told_on() {
        let (one, two) = (Reports::default(), Reports::default());
        one.put(&name("a"), report(true, &[]), 100_000);
        // The other clock is far behind.
        for (name, told) in one.here(101_500) {
            two.put_elsewhere(name, told, 7_000);
        }
        assert_eq!(two.fresh(7_000)[0].heard_unix_ms, 5_500);
        assert!(two.here(7_000).is_empty(), "the first one tells it");
        assert_eq!(two.fresh(13_500).len(), 1);
        assert!(two.fresh(13_501).is_empty());
        // The node comes over here: an older word from there changes nothing.
        two.put(&name("a"), report(false, &[]), 8_000);
        for (name, told) in one.here(101_500) {
            two.put_elsewhere(name, told, 8_100);
        }
        assert!(!two.fresh(8_200)[0].report.self_test.is_good);
        assert_eq!(two.here(8_200).len(), 1);
    }

    #[test]
    fn rates_are_what_changed_and_a_restart_is_no_rate() {
        let load = |requests_total, sent_bytes_total| Load {
            requests_total,
            sent_bytes_total,
            ..Load::default()
        };
        let one = rates(&load(10, 0), &load(15, 2_500_000), 1000).expect("a rate");
        assert_eq!((one.requests, one.mbps), (5, 20));
        assert_eq!(rates(&load(10, 0), &load(3, 0), 1000), None);
        assert_eq!(rates(&load(10, 0), &load(11, 0), 5), None);
    }
}
