//! A search for the knee as it goes: runs at one rate after the other, on this machine or on agents, and what they say.
//!
//! Invariant: a step counts only when it was whole and the rig was not its limit; what was measured before one that did
//! not is handed out.

use super::{knee::Search, plan::RunPlan, stop::Stop, watch::Watch};
use crate::{
    arrival::Profile,
    results::{Fault, Interval, Results, Step},
    scenario::{Knee, Scenario},
};

/// Raises the rate until the gates fail. The results are those of the highest rate that held, or of the first one;
/// their intervals are those of all steps. `once` runs a step.
///
/// # Errors
/// When not even the first step could be begun.
pub async fn find_knee<E: ToString>(
    plan: &RunPlan,
    knee: &Knee,
    stop: &Stop,
    watch: &mut dyn Watch,
    once: impl AsyncFn(&RunPlan, &Stop, &mut dyn Watch) -> Result<Results, E>,
) -> Result<Results, E> {
    let mut climb = Climb::default();
    let mut search = Search::new(knee);
    while let Some(rate) = search.next_rate() {
        let mut step = plan.clone();
        // Whoever runs the step searches for nothing.
        step.scenario.knee = None;
        step.scenario.arrivals.profile = Profile::Constant { rate };
        let results = match (once(&step, stop, watch).await, &mut climb.best) {
            (Ok(results), _) => results,
            (Err(error), None) => return Err(error),
            (Err(error), Some((_, best))) => {
                best.failed.push(format!("at {rate:.1} sessions a second: {}", error.to_string()));
                break;
            }
        };
        let is_held = climb.take(rate, results, &plan.scenario, stop.is_given());
        if let Some(is_held) = is_held {
            let word = if is_held { "held" } else { "breached" };
            watch.note(&format!("{rate:.1} sessions a second: {word}"));
            search.record(rate, is_held);
        } else {
            break;
        }
    }
    Ok(climb.into_results())
}

/// Judges results by the scenario's limits and gates. What was judged before is forgotten.
pub fn judge(results: &mut Results, scenario: &Scenario) {
    results.gates = scenario.gates.iter().map(|gate| gate.judge(results)).collect();
    if results.arrivals.scheduled == 0 && !results.is_interrupted {
        let reason = "no session was to begin after the warm-up".to_owned();
        if !results.failed.contains(&reason) {
            results.failed.push(reason);
        }
    }
}

/// What the steps so far have given.
#[derive(Default)]
struct Climb {
    /// The step whose results are handed out, and its rate.
    best: Option<(f64, Results)>,
    steps: Vec<Step>,
    intervals: Vec<Interval>,
    faults: Vec<Fault>,
    saturated: Vec<String>,
    offset_s: f64,
}

impl Climb {
    /// Takes a step. Whether its rate held; `None` when nothing can be learned of it, nor of another one.
    fn take(
        &mut self,
        rate: f64,
        mut results: Results,
        scenario: &Scenario,
        is_stopped: bool,
    ) -> Option<bool> {
        judge(&mut results, scenario);
        let is_held = are_held(&results);
        let at_s = self.offset_s;
        self.intervals.extend(results.intervals.drain(..).map(|mut interval| {
            interval.at_s += at_s;
            interval
        }));
        self.faults.extend(results.faults.drain(..).map(|mut fault| {
            fault.at_s += at_s;
            fault
        }));
        // The next step's intervals begin on the grid.
        self.offset_s += results.duration_s.ceil();
        if !results.rig.saturated.is_empty() {
            let reasons = results.rig.saturated.join("; ");
            self.saturated.push(format!("at {rate:.1} sessions a second {reasons}"));
        }
        let has_failed = !results.failed.is_empty();
        let counts = !is_stopped && self.saturated.is_empty() && !has_failed;
        if counts {
            let gates = results.gates.clone();
            self.steps.push(Step { rate, at_s, is_held, gates });
        }
        let is_better = self.best.as_ref().is_none_or(|(known, best)| {
            is_held && (!are_held(best) || rate > *known) && self.saturated.is_empty()
        });
        if is_better || has_failed {
            self.best = Some((rate, results));
        }
        counts.then_some(is_held)
    }

    fn into_results(self) -> Results {
        let (_, mut results) = self.best.expect("the first step is always kept");
        results.steps = self.steps;
        results.intervals = self.intervals;
        results.faults = self.faults;
        results.rig.saturated = self.saturated;
        results
    }
}

fn are_held(results: &Results) -> bool {
    results.gates.iter().all(|gate| gate.is_held)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::run::draw::tests::plan;

    struct Nobody;

    impl Watch for Nobody {
        fn second(&mut self, _: &Interval, _: Option<&Results>) {}

        fn note(&mut self, _: &str) {}
    }

    /// A search from 2 to 8 sessions a second.
    fn searching() -> (RunPlan, Knee) {
        let knee = Knee { from: 2.0, to: 8.0, ..Knee::default() };
        let mut plan = plan("");
        plan.scenario.knee = Some(knee.clone());
        (plan, knee)
    }

    fn rate_of(plan: &RunPlan) -> f64 {
        match plan.scenario.arrivals.profile {
            Profile::Constant { rate } => rate,
            _ => panic!("a step has one rate"),
        }
    }

    /// Results of a step of 1.5 s, of as many sessions as its rate is.
    fn results(rate: f64) -> Results {
        let mut results = Results::new("test", 1);
        results.duration_s = 1.5;
        results.arrivals.scheduled = rate as u64;
        results.arrivals.begun = rate as u64;
        results.intervals = vec![Interval { at_s: 0.0, ..Interval::default() }];
        results
    }

    #[tokio::test]
    async fn a_step_is_one_rate_without_a_search_and_lies_after_the_one_before() {
        let (plan, knee) = searching();
        let rates = RefCell::new(Vec::new());
        let once = async |step: &RunPlan, _: &Stop, _: &mut dyn Watch| {
            assert!(step.scenario.knee.is_none());
            rates.borrow_mut().push(rate_of(step));
            Ok::<_, String>(results(rate_of(step)))
        };
        let found = find_knee(&plan, &knee, &Stop::default(), &mut Nobody, once).await.unwrap();
        assert_eq!(*rates.borrow(), [2.0, 4.0, 8.0]);
        assert_eq!(found.arrivals.begun, 8, "the highest one that held");
        let places: Vec<f64> = found.intervals.iter().map(|interval| interval.at_s).collect();
        assert_eq!(places, [0.0, 2.0, 4.0]);
        assert_eq!(found.steps.len(), 3);
    }

    #[tokio::test]
    async fn a_step_that_cannot_be_run_ends_the_search_and_keeps_what_was_measured() {
        let (plan, knee) = searching();
        let once = async |step: &RunPlan, _: &Stop, _: &mut dyn Watch| match rate_of(step) {
            4.0 => Err("an agent is gone".to_owned()),
            rate => Ok(results(rate)),
        };
        let found = find_knee(&plan, &knee, &Stop::default(), &mut Nobody, once).await.unwrap();
        assert_eq!((found.steps.len(), found.arrivals.begun), (1, 2));
        assert_eq!(found.failed, ["at 4.0 sessions a second: an agent is gone"]);

        let never = async |_: &RunPlan, _: &Stop, _: &mut dyn Watch| Err("none".to_owned());
        let ended = find_knee(&plan, &knee, &Stop::default(), &mut Nobody, never).await;
        assert_eq!(ended.unwrap_err(), "none");
    }

    #[test]
    fn a_saturated_step_teaches_nothing() {
        let plan = plan("");
        let mut climb = Climb::default();
        assert_eq!(climb.take(2.0, results(2.0), &plan.scenario, false), Some(true));
        let mut late = results(4.0);
        late.rig.saturated.push("timers were late".to_owned());
        assert_eq!(climb.take(4.0, late, &plan.scenario, false), None);
        let found = climb.into_results();
        assert_eq!((found.arrivals.begun, found.steps.len()), (2, 1));
        assert_eq!(found.rig.saturated, ["at 4.0 sessions a second timers were late"]);
    }
}
