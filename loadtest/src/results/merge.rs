//! Adds the results of parts (workers, machines) to one.
//!
//! Invariant: the order in which parts are merged does not matter, but for the sums of seconds, which are rounded, and
//! for what names the run, which is the first one's.

use std::collections::BTreeMap;

use super::document::{
    Arrivals, Connections, Fault, Fetches, Interval, POP_OTHER, POPS_MAX, Pop, Quality, Results,
    Rig,
};
use crate::kind::FailureClass;

impl Results {
    /// Adds another part of the same run.
    ///
    /// Gates and steps are judgements of a whole: those of both parts are dropped, to be judged again.
    pub fn merge(&mut self, other: Self) {
        if !other.started_at.is_empty()
            && (self.started_at.is_empty() || other.started_at < self.started_at)
        {
            self.started_at = other.started_at;
        }
        self.duration_s = self.duration_s.max(other.duration_s);
        self.is_interrupted |= other.is_interrupted;
        self.arrivals.merge(&other.arrivals);
        for fetches in &other.fetches {
            self.fetches_of(fetches.kind, fetches.protocol).merge(fetches);
        }
        for (protocol, connections) in &other.connections {
            self.connections.entry(*protocol).or_default().merge(connections);
        }
        self.quality.merge(&other.quality);
        for (name, pop) in &other.pops {
            match self.pops.get_mut(name) {
                Some(known) => known.merge(pop),
                None => drop(self.pops.insert(name.clone(), pop.clone())),
            }
        }
        bound(&mut self.pops);
        self.faults.extend(other.faults);
        self.faults.sort_by(in_order);
        merge_intervals(&mut self.intervals, other.intervals);
        self.rig.merge(&other.rig);
        self.gates.clear();
        self.steps.clear();
        merge_texts(&mut self.failed, other.failed);
    }
}

impl Arrivals {
    fn merge(&mut self, other: &Self) {
        add(&mut self.scheduled, other.scheduled);
        add(&mut self.begun, other.begun);
        add(&mut self.blocked, other.blocked);
        self.schedule_error_us.merge(&other.schedule_error_us);
    }
}

impl Fetches {
    fn merge(&mut self, other: &Self) {
        add(&mut self.count, other.count);
        add(&mut self.bytes, other.bytes);
        add(&mut self.hits, other.hits);
        add(&mut self.misses, other.misses);
        add(&mut self.untold, other.untold);
        merge_counts(&mut self.failures, &other.failures);
        self.first_byte_us.merge(&other.first_byte_us);
        self.took_us.merge(&other.took_us);
        self.time_over_duration.merge(&other.time_over_duration);
    }
}

impl Connections {
    fn merge(&mut self, other: &Self) {
        add(&mut self.opened, other.opened);
        add(&mut self.resumed, other.resumed);
        add(&mut self.early, other.early);
        add(&mut self.migrated, other.migrated);
        merge_counts(&mut self.failures, &other.failures);
        self.dns_us.merge(&other.dns_us);
        self.connect_us.merge(&other.connect_us);
        self.handshake_us.merge(&other.handshake_us);
    }
}

impl Quality {
    fn merge(&mut self, other: &Self) {
        add(&mut self.views, other.views);
        add(&mut self.failed_starts, other.failed_starts);
        add(&mut self.exits_before_start, other.exits_before_start);
        add(&mut self.exits_in_stall, other.exits_in_stall);
        add(&mut self.failed_playbacks, other.failed_playbacks);
        add(&mut self.cut, other.cut);
        add(&mut self.views_without_stall, other.views_without_stall);
        self.startup_ms.merge(&other.startup_ms);
        self.stall_ms.merge(&other.stall_ms);
        self.rebuffer_ratio.merge(&other.rebuffer_ratio);
        self.played_s += other.played_s;
        self.stalled_s += other.stalled_s;
        add(&mut self.stalls, other.stalls);
        self.bitrate_bps.merge(&other.bitrate_bps);
        add(&mut self.switches_up, other.switches_up);
        add(&mut self.switches_down, other.switches_down);
        add(&mut self.seeks, other.seeks);
        add(&mut self.pathway_switches, other.pathway_switches);
        self.live_latency_ms.merge(&other.live_latency_ms);
        add(&mut self.wasted_bytes, other.wasted_bytes);
    }
}

impl Pop {
    fn merge(&mut self, other: &Self) {
        add(&mut self.count, other.count);
        add(&mut self.bytes, other.bytes);
        add(&mut self.hits, other.hits);
        add(&mut self.misses, other.misses);
        merge_counts(&mut self.failures, &other.failures);
        self.first_byte_us.merge(&other.first_byte_us);
        self.first_fresh_ms.merge(&other.first_fresh_ms);
    }
}

impl Interval {
    /// Adds the same time of another part, or a later time of the same one to show both as one.
    pub(crate) fn merge(&mut self, other: &Self) {
        add(&mut self.arrivals, other.arrivals);
        add(&mut self.blocked, other.blocked);
        add(&mut self.sessions, other.sessions);
        add(&mut self.playing, other.playing);
        add(&mut self.stalled, other.stalled);
        add(&mut self.requests, other.requests);
        add(&mut self.failures, other.failures);
        add(&mut self.bytes, other.bytes);
        add(&mut self.hits, other.hits);
        add(&mut self.misses, other.misses);
        self.startup_ms.merge(&other.startup_ms);
        self.first_byte_us.merge(&other.first_byte_us);
        self.rig_cpu = self.rig_cpu.max(other.rig_cpu);
        self.loop_lag_us.merge(&other.loop_lag_us);
    }
}

impl Rig {
    fn merge(&mut self, other: &Self) {
        self.workers = self.workers.saturating_add(other.workers);
        self.cpu_s += other.cpu_s;
        self.cpu_max = self.cpu_max.max(other.cpu_max);
        self.loop_lag_us.merge(&other.loop_lag_us);
        add(&mut self.socket_errors, other.socket_errors);
        add(&mut self.memory_peak_bytes, other.memory_peak_bytes);
        // The worst one; of two alike, the one ahead.
        let worst = |skew: &i64| (skew.unsigned_abs(), *skew);
        let skews = [self.clock_skew_ms, other.clock_skew_ms];
        self.clock_skew_ms = skews.into_iter().flatten().max_by_key(worst);
        merge_texts(&mut self.saturated, other.saturated.clone());
    }
}

/// Folds the PoPs beyond the limit into one. Those that stay are the first by name, so that every order of merging
/// keeps the same ones: a name among the first of all is among the first of every part.
fn bound(pops: &mut BTreeMap<String, Pop>) {
    let mut rest = pops.remove(POP_OTHER);
    while pops.len() + usize::from(rest.is_some()) > POPS_MAX {
        let (_, last) = pops.pop_last().expect("there are more than the limit");
        rest.get_or_insert_default().merge(&last);
    }
    if let Some(rest) = rest {
        pops.insert(POP_OTHER.to_owned(), rest);
    }
}

/// Both lists lie on one grid, ascending.
fn merge_intervals(into: &mut Vec<Interval>, other: Vec<Interval>) {
    let mut by_time: BTreeMap<i64, Interval> = BTreeMap::new();
    for interval in std::mem::take(into).into_iter().chain(other) {
        match by_time.get_mut(&grid(interval.at_s)) {
            Some(known) => known.merge(&interval),
            None => drop(by_time.insert(grid(interval.at_s), interval)),
        }
    }
    into.extend(by_time.into_values());
}

/// Milliseconds: finer than every interval, coarser than the rounding of seconds.
fn grid(at_s: f64) -> i64 {
    (at_s * 1_000.0).round() as i64
}

fn merge_counts(into: &mut BTreeMap<FailureClass, u64>, other: &BTreeMap<FailureClass, u64>) {
    for (class, count) in other {
        add(into.entry(*class).or_default(), *count);
    }
}

/// Parts come over a network: a number beyond all others stays the largest.
fn add(into: &mut u64, count: u64) {
    *into = into.saturating_add(count);
}

fn merge_texts(into: &mut Vec<String>, other: Vec<String>) {
    into.extend(other);
    into.sort();
    into.dedup();
}

fn in_order(a: &Fault, b: &Fault) -> std::cmp::Ordering {
    let rest = |fault: &Fault| (fault.name.clone(), fault.exit);
    a.at_s
        .total_cmp(&b.at_s)
        .then_with(|| rest(a).cmp(&rest(b)))
        .then_with(|| a.took_s.total_cmp(&b.took_s))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kind::{ObjectKind, Protocol};

    /// One thing that a worker saw.
    #[derive(Debug, Clone)]
    enum Seen {
        Fetch { kind: usize, protocol: usize, us: u64, pop: u16, failed: bool, second: u32 },
        View { startup_ms: u64, stall_ms: u64, played_s: u32 },
        Arrival { error_us: u64, blocked: bool },
        Trouble { fault_s: u32, skew_ms: i64, reason: u8 },
    }

    fn seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            4 => (0..KINDS.len(), 0..3_usize, 0..10_000_000_u64, 0..600_u16, any::<bool>(), 0..9_u32)
                .prop_map(|(kind, protocol, us, pop, failed, second)| Seen::Fetch {
                    kind, protocol, us, pop, failed, second,
                }),
            2 => (0..60_000_u64, 0..9_000_u64, 0..900_u32).prop_map(
                |(startup_ms, stall_ms, played_s)| Seen::View { startup_ms, stall_ms, played_s }
            ),
            2 => (0..99_999_u64, any::<bool>())
                .prop_map(|(error_us, blocked)| Seen::Arrival { error_us, blocked }),
            1 => (0..9_u32, -5_i64..5, 0..3_u8).prop_map(|(fault_s, skew_ms, reason)| {
                Seen::Trouble { fault_s, skew_ms, reason }
            }),
        ]
    }

    fn results(seen: &[Seen]) -> Results {
        let mut results = Results::new("steady", 7);
        for one in seen {
            let mut part = Results::new("steady", 7);
            see(&mut part, one);
            results.merge(part);
        }
        results
    }

    /// What the merge is judged by: the same without any merging of what one part holds.
    fn see(results: &mut Results, seen: &Seen) {
        match *seen {
            Seen::Fetch { kind, protocol, us, pop, failed, second } => {
                let fetches = results.fetches_of(KINDS[kind], PROTOCOLS[protocol]);
                fetches.count += 1;
                fetches.first_byte_us.record(us);
                if failed {
                    *fetches.failures.entry(FailureClass::Reset).or_default() += 1;
                }
                let connections = results.connections.entry(PROTOCOLS[protocol]).or_default();
                connections.opened += 1;
                connections.handshake_us.record(us);
                let pop = results.pops.entry(format!("pop-{pop:03}")).or_default();
                pop.count += 1;
                pop.first_byte_us.record(us);
                let at_s = f64::from(second) * 0.1;
                let place = results.intervals.partition_point(|known| known.at_s < at_s);
                if results.intervals.get(place).is_none_or(|known| known.at_s != at_s) {
                    results.intervals.insert(place, Interval { at_s, ..Interval::default() });
                }
                results.intervals[place].requests += 1;
                results.intervals[place].first_byte_us.record(us);
            }
            Seen::View { startup_ms, stall_ms, played_s } => {
                let quality = &mut results.quality;
                quality.views += 1;
                quality.startup_ms.record(startup_ms);
                quality.stall_ms.record(stall_ms);
                quality.played_s += f64::from(played_s);
            }
            Seen::Arrival { error_us, blocked } => {
                results.arrivals.scheduled += 1;
                results.arrivals.blocked += u64::from(blocked);
                results.arrivals.schedule_error_us.record(error_us);
            }
            Seen::Trouble { fault_s, skew_ms, reason } => {
                results.faults.push(Fault {
                    at_s: f64::from(fault_s),
                    name: "kill".to_owned(),
                    exit: Some(0),
                    took_s: 0.0,
                });
                results.faults.sort_by(in_order);
                let skews = [results.rig.clock_skew_ms, Some(skew_ms)];
                results.rig.clock_skew_ms =
                    skews.into_iter().flatten().max_by_key(|skew| (skew.unsigned_abs(), *skew));
                merge_texts(&mut results.rig.saturated, vec![format!("reason {reason}")]);
            }
        }
    }

    fn merged(mut a: Results, b: &Results) -> Results {
        a.merge(b.clone());
        a
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn parts_merge_to_the_whole_in_any_order(
            seen in proptest::collection::vec(seen(), 0..60), cut in 0..60_usize, late in 0..60_usize,
        ) {
            let cut = cut.min(seen.len());
            let late = late.min(seen.len()).max(cut);
            let mut whole = Results::new("steady", 7);
            seen.iter().for_each(|one| see(&mut whole, one));
            let (a, b, c) =
                (results(&seen[..cut]), results(&seen[cut..late]), results(&seen[late..]));

            let left = merged(merged(a.clone(), &b), &c);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&merged(a.clone(), &merged(b.clone(), &c)), &left);
            prop_assert_eq!(&merged(merged(c, &b), &a), &left);
        }
    }

    #[test]
    fn pops_beyond_the_limit_are_one_and_the_same_ones_stay_whatever_the_order() {
        let with = |from: usize, to: usize| {
            let mut results = Results::new("steady", 7);
            for pop in from..to {
                results.pops.entry(format!("pop-{pop:04}")).or_default().count = 1;
            }
            results
        };
        let all = [with(0, 200), with(150, 400), with(300, 700)];
        let one = all.iter().fold(Results::new("steady", 7), merged);
        let other = all.iter().rev().fold(Results::new("steady", 7), merged);
        assert_eq!(one, other);
        assert_eq!(one.pops.len(), POPS_MAX);
        assert_eq!(one.pops.values().map(|pop| pop.count).sum::<u64>(), 200 + 250 + 400);
        assert_eq!(one.pops[POP_OTHER].count, 850 - (255 + 50));
    }

    #[test]
    fn what_was_judged_of_parts_is_judged_again() {
        let mut a = Results::new("steady", 7);
        a.gates.push(super::super::GateOutcome {
            gate: "startup_p95<1s".to_owned(),
            measured: Some(1.0),
            is_held: true,
        });
        a.merge(Results { started_at: "2026-01-01T00:00:00Z".to_owned(), ..Results::default() });
        assert!(a.gates.is_empty());
        assert_eq!(a.started_at, "2026-01-01T00:00:00Z");
    }

    const KINDS: [ObjectKind; 3] = [ObjectKind::Playlist, ObjectKind::Segment, ObjectKind::Part];
    const PROTOCOLS: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];
}
