//! The search for the knee: which rate is tried next. Pure.
//!
//! Invariant: it ends. Every step either moves the known bounds together or grows the rate by a factor up to its end.

use crate::scenario::Knee;

/// What is known so far.
#[derive(Debug, Clone)]
pub(super) struct Search {
    knee: Knee,
    /// The highest rate that held.
    held: Option<f64>,
    /// The lowest rate that did not.
    breached: Option<f64>,
    steps: u32,
}

impl Search {
    pub(super) fn new(knee: &Knee) -> Self {
        Self { knee: knee.clone(), held: None, breached: None, steps: 0 }
    }

    /// The rate to try; `None` when enough is known.
    pub(super) fn next_rate(&self) -> Option<f64> {
        if self.steps >= STEPS_MAX {
            return None;
        }
        match (self.held, self.breached) {
            (None, None) => Some(self.knee.from),
            (Some(held), None) => {
                (held < self.knee.to).then(|| (held * self.knee.factor).min(self.knee.to))
            }
            (None, Some(breached)) => {
                let lowest = self.knee.from / self.knee.factor.powi(DESCENTS_MAX);
                (breached > lowest * 1.001).then(|| breached / self.knee.factor)
            }
            (Some(held), Some(breached)) => {
                (breached - held > held * self.knee.precision).then(|| (held + breached) / 2.0)
            }
        }
    }

    /// What the step at a rate said.
    pub(super) fn record(&mut self, rate: f64, is_held: bool) {
        self.steps += 1;
        if is_held {
            self.held = Some(self.held.map_or(rate, |held| held.max(rate)));
        } else {
            self.breached = Some(self.breached.map_or(rate, |breached| breached.min(rate)));
        }
    }
}

/// Steps of one search; with a precision of 1 % from 1 to 100,000 it takes 24.
const STEPS_MAX: u32 = 40;
/// How often the rate is lowered when not even the first one holds.
const DESCENTS_MAX: i32 = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(knee: &Knee, holds: impl Fn(f64) -> bool) -> (Search, Vec<f64>) {
        let mut search = Search::new(knee);
        let mut tried = Vec::new();
        while let Some(rate) = search.next_rate() {
            tried.push(rate);
            search.record(rate, holds(rate));
        }
        (search, tried)
    }

    #[test]
    fn the_rate_doubles_and_then_the_gap_is_halved() {
        let (search, tried) = search(&Knee::default(), |rate| rate <= 11.0);
        assert_eq!(tried, [1.0, 2.0, 4.0, 8.0, 16.0, 12.0, 10.0, 11.0]);
        assert_eq!((search.held, search.breached), (Some(11.0), Some(12.0)));
    }

    #[test]
    fn a_server_that_takes_everything_or_nothing_ends_it_too() {
        let knee = Knee { from: 4.0, to: 30.0, ..Knee::default() };
        assert_eq!(search(&knee, |_| true).1, [4.0, 8.0, 16.0, 30.0]);
        assert_eq!(search(&knee, |_| false).1.len(), 7);
    }

    proptest! {
        #[test]
        fn the_knee_is_found_within_the_precision(
            knee in 0.5..50_000.0_f64, factor in 1.2..10.0_f64, precision in 0.01..0.5_f64,
        ) {
            let asked = Knee { factor, precision, ..Knee::default() };
            let (search, tried) = search(&asked, |rate| rate <= knee);
            prop_assert!(tried.len() <= STEPS_MAX as usize);
            if let (Some(held), Some(breached)) = (search.held, search.breached)
                && tried.len() < STEPS_MAX as usize
            {
                prop_assert!(held <= knee && knee < breached);
                prop_assert!(breached - held <= held * precision * 1.0001);
            }
        }
    }
}
