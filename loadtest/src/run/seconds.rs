//! The seconds of all workers, added up: for whoever watches as they come, and for the results.
//!
//! Invariant: a second is told once, in order, when every worker that still works has told of it.

use std::collections::BTreeMap;

use super::{watch::Watch, worker::Tick};
use crate::{
    results::{Interval, Results},
    scenario::Scenario,
};

/// The seconds so far.
pub struct Seconds {
    /// The last second that each worker told of; the largest number when it has ended.
    last: Vec<i64>,
    pending: BTreeMap<i64, Interval>,
    /// The last totals of each worker, where they are wanted.
    totals: Vec<Option<Box<Results>>>,
    /// For the results: without the warm-up, and not more than some hundred.
    kept: Vec<Interval>,
    step_s: f64,
}

impl Seconds {
    #[must_use]
    pub fn new(workers: u32, scenario: &Scenario) -> Self {
        let arrivals = &scenario.arrivals;
        let lasts = (arrivals.duration + arrivals.drain).as_secs_f64();
        Self {
            last: vec![i64::MIN; workers as usize],
            pending: BTreeMap::new(),
            totals: vec![None; workers as usize],
            kept: Vec::new(),
            step_s: (lasts / KEPT_MAX).ceil().max(1.0),
        }
    }

    /// Takes what a worker told.
    pub fn take(&mut self, tick: Tick, watch: &mut dyn Watch) {
        let second = tick.interval.at_s.round() as i64;
        match self.pending.get_mut(&second) {
            Some(known) => known.merge(&tick.interval),
            None => drop(self.pending.insert(second, tick.interval)),
        }
        let worker = tick.worker as usize;
        self.last[worker] = self.last[worker].max(second);
        if tick.totals.is_some() {
            self.totals[worker] = tick.totals;
        }
        self.tell(watch);
    }

    /// A worker tells nothing more.
    pub fn end(&mut self, worker: u32, watch: &mut dyn Watch) {
        self.last[worker as usize] = i64::MAX;
        self.tell(watch);
    }

    /// All of them, when no worker works any more.
    pub fn into_kept(mut self, watch: &mut dyn Watch) -> Vec<Interval> {
        self.last.fill(i64::MAX);
        self.tell(watch);
        self.kept
    }

    fn tell(&mut self, watch: &mut dyn Watch) {
        let complete = self.last.iter().copied().min().unwrap_or(i64::MAX);
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() <= complete
        {
            let interval = entry.remove();
            let totals = self.sum();
            watch.second(&interval, totals.as_ref());
            self.keep(interval);
        }
    }

    fn sum(&self) -> Option<Results> {
        let mut all = self.totals.iter().flatten();
        let mut sum = (**all.next()?).clone();
        for one in all {
            sum.merge((**one).clone());
        }
        Some(sum)
    }

    fn keep(&mut self, interval: Interval) {
        if interval.at_s < 0.0 {
            return;
        }
        let at_s = (interval.at_s / self.step_s).floor() * self.step_s;
        match self.kept.last_mut() {
            Some(last) if last.at_s == at_s => {
                last.merge(&interval);
                // How many there are at the end is no sum over time.
                last.sessions = interval.sessions;
                last.playing = interval.playing;
                last.stalled = interval.stalled;
            }
            _ => self.kept.push(Interval { at_s, ..interval }),
        }
    }
}

/// Intervals of one run that are kept: more than a plot has points.
const KEPT_MAX: f64 = 600.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::draw::tests::plan;

    #[derive(Default)]
    struct Seen(Vec<(f64, u64)>);

    impl Watch for Seen {
        fn second(&mut self, interval: &Interval, _: Option<&Results>) {
            self.0.push((interval.at_s, interval.requests));
        }

        fn note(&mut self, _: &str) {}
    }

    fn tick(worker: u32, at_s: f64, requests: u64, sessions: u64) -> Tick {
        let interval = Interval { at_s, requests, sessions, ..Interval::default() };
        Tick { worker, interval, totals: None }
    }

    #[test]
    fn a_second_is_told_when_all_workers_have_told_of_it() {
        let mut seconds = Seconds::new(2, &plan("").scenario);
        let mut seen = Seen::default();
        seconds.take(tick(0, -1.0, 1, 1), &mut seen);
        seconds.take(tick(0, 0.0, 2, 1), &mut seen);
        assert_eq!(seen.0, []);
        seconds.take(tick(1, -1.0, 10, 1), &mut seen);
        seconds.take(tick(1, 0.0, 20, 1), &mut seen);
        assert_eq!(seen.0, [(-1.0, 11), (0.0, 22)]);
        seconds.end(1, &mut seen);
        seconds.take(tick(0, 1.0, 3, 5), &mut seen);
        assert_eq!(seen.0[2], (1.0, 3));
        let kept = seconds.into_kept(&mut seen);
        assert_eq!(kept.iter().map(|one| one.at_s).collect::<Vec<_>>(), [0.0, 1.0]);
        assert_eq!((kept[0].sessions, kept[1].sessions), (2, 5));
    }

    #[test]
    fn a_long_run_keeps_longer_intervals() {
        let mut scenario = plan("").scenario;
        scenario.arrivals.duration = std::time::Duration::from_secs(3_600);
        let mut seconds = Seconds::new(1, &scenario);
        let mut seen = Seen::default();
        for second in 0..3_600 {
            seconds.take(tick(0, f64::from(second), 1, 7), &mut seen);
        }
        let kept = seconds.into_kept(&mut seen);
        assert_eq!((seen.0.len(), kept.len()), (3_600, 515));
        assert_eq!((kept[0].requests, kept[0].sessions, kept[1].at_s), (7, 7, 7.0));
    }
}
