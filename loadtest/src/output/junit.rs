//! The run as a JUnit report, for CI: every gate is a test case, and the rig's own health is one.
//!
//! Invariant: when the rig was saturated, every gate is an error, whether it was held or not: it was not tested.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::number;
use crate::results::{Results, verdict::Verdict};

/// The report as XML.
#[must_use]
pub fn report(results: &Results) -> String {
    let verdict = Verdict::of(results);
    let mut suite = TestSuite::new(results.scenario.clone());
    suite.add_property(("seed", results.seed.to_string().as_str()));
    suite.add_property(("rig", results.rig_version.as_str()));
    suite.add_property(("verdict", verdict.as_str()));
    let sentence = verdict.sentence(results);
    for (name, is_wrong) in [
        ("the run went through", verdict == Verdict::Failed || results.is_interrupted),
        ("the rig was not saturated", !results.rig.saturated.is_empty()),
    ] {
        let status = if is_wrong { error(&sentence) } else { TestCaseStatus::success() };
        suite.add_test_case(TestCase::new(name, status));
    }
    for gate in &results.gates {
        let status = if !verdict.is_valid() {
            error(&sentence)
        } else if gate.is_held {
            TestCaseStatus::success()
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("measured {}", number::measured(gate)));
            status
        };
        let mut case = TestCase::new(gate.gate.clone(), status);
        case.set_system_out(format!("measured {}", number::measured(gate)));
        suite.add_test_case(case);
    }
    let mut report = Report::new("tidegate-load");
    report.add_test_suite(suite);
    report.to_string().expect("a report of texts can be written")
}

fn error(sentence: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(sentence);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::GateOutcome;

    fn results() -> Results {
        let gate = |gate: &str, measured, is_held| GateOutcome {
            gate: gate.to_owned(),
            measured,
            is_held,
        };
        let mut results = Results::new("steady", 7);
        results.gates = vec![
            gate("startup_p95<800ms", Some(420.0), true),
            gate("hit_ratio >= 90%", Some(0.5), false),
            gate("first_fresh_p99<1s", None, false),
        ];
        results
    }

    #[test]
    fn a_breached_gate_is_a_failure_that_says_what_was_measured() {
        let text = report(&results());
        for part in [
            "tests=\"5\" skipped=\"0\" errors=\"0\" failures=\"2\"",
            "<testcase name=\"startup_p95&lt;800ms\"",
            "measured 420 ms",
            "<failure message=\"measured 50 %\"",
            "<failure message=\"measured nothing\"",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn of_a_saturated_rig_every_gate_is_an_error() {
        let mut results = results();
        results.rig.saturated.push("loop lag \u{1}<& p99".to_owned());
        let text = report(&results);
        assert!(text.contains("errors=\"4\" failures=\"0\""), "{text}");
        assert!(text.contains("&lt;&amp; p99"), "{text}");
    }
}
