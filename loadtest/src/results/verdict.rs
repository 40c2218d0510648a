//! The verdict on a run: what its exit code says, in words.
//!
//! Invariant: a run whose figures are not worth anything is never called held or breached.

use super::document::Results;

/// How a run ended. The worst one that is true counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The run itself went wrong.
    Failed,
    /// The rig was at its end: the figures are its own, not the server's.
    Saturated,
    /// A gate was not held.
    Breached,
    /// Stopped early; what was measured until then held.
    Interrupted,
    /// Every gate was held.
    Held,
    /// There was no gate to hold.
    Measured,
}

impl Verdict {
    #[must_use]
    pub fn of(results: &Results) -> Self {
        if !results.failed.is_empty() {
            Self::Failed
        } else if !results.rig.saturated.is_empty() {
            Self::Saturated
        } else if results.gates.iter().any(|gate| !gate.is_held) {
            Self::Breached
        } else if results.is_interrupted {
            Self::Interrupted
        } else if results.gates.is_empty() {
            Self::Measured
        } else {
            Self::Held
        }
    }

    /// Whether what was measured is worth judging.
    #[must_use]
    pub fn is_valid(self) -> bool {
        !matches!(self, Self::Failed | Self::Saturated)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Saturated => "saturated",
            Self::Breached => "breached",
            Self::Interrupted => "interrupted",
            Self::Held => "held",
            Self::Measured => "measured",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub fn sentence(self, results: &Results) -> String {
        let gates = results.gates.len();
        let breached = results.gates.iter().filter(|gate| !gate.is_held).count();
        let plural = if gates == 1 { "" } else { "s" };
        match self {
            Self::Failed => {
                format!(
                    "The run went wrong, and what follows is a part: {}.",
                    results.failed.join("; ")
                )
            }
            Self::Saturated => format!(
                "Invalid: the rig was saturated, and these figures are its own, not the server's: {}.",
                results.rig.saturated.join("; ")
            ),
            Self::Breached => format!("{breached} of {gates} gate{plural} breached."),
            Self::Interrupted => "Interrupted: the figures are of the part that ran.".to_owned(),
            Self::Held if gates == 1 => "The gate held.".to_owned(),
            Self::Held => format!("All {gates} gates held."),
            Self::Measured => "Measured; no gate was set.".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::GateOutcome;

    #[test]
    fn the_worst_that_is_true_counts() {
        let gate = |is_held| GateOutcome { gate: "g".to_owned(), measured: None, is_held };
        let mut results = Results::default();
        let check = |results: &Results, verdict: Verdict, word: &str| {
            assert_eq!(Verdict::of(results), verdict);
            let sentence = verdict.sentence(results);
            assert!(sentence.contains(word), "{sentence}");
        };
        check(&results, Verdict::Measured, "no gate");
        results.gates = vec![gate(true), gate(true)];
        check(&results, Verdict::Held, "All 2 gates");
        results.is_interrupted = true;
        check(&results, Verdict::Interrupted, "part that ran");
        results.gates.push(gate(false));
        check(&results, Verdict::Breached, "1 of 3 gates");
        results.rig.saturated.push("loop lag".to_owned());
        check(&results, Verdict::Saturated, "loop lag");
        results.failed.push("agent b was lost".to_owned());
        check(&results, Verdict::Failed, "agent b");
    }
}
