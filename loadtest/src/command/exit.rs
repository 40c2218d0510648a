//! Exit codes, and failures that lead to one.
//!
//! Invariant: an interrupted run is 130 whatever its figures say: they are of a part.

use std::{fmt, process::ExitCode};

use crate::results::{Results, verdict::Verdict};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Ok,
    Failed,
    Usage,
    Breached,
    Saturated,
    Interrupted,
}

impl Exit {
    /// What the results say.
    pub(super) fn of(results: &Results) -> Self {
        if results.is_interrupted {
            return Self::Interrupted;
        }
        match Verdict::of(results) {
            Verdict::Failed => Self::Failed,
            Verdict::Saturated => Self::Saturated,
            Verdict::Breached => Self::Breached,
            Verdict::Interrupted => Self::Interrupted,
            Verdict::Held | Verdict::Measured => Self::Ok,
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Breached => 3,
            Self::Saturated => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    reason: String,
}

impl Failure {
    /// The person asked for something that is not there or makes no sense.
    pub(super) fn usage(reason: impl ToString) -> Self {
        Self { exit: Exit::Usage, reason: reason.to_string() }
    }

    /// It could not be done.
    pub(super) fn failed(reason: impl ToString) -> Self {
        Self { exit: Exit::Failed, reason: reason.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::GateOutcome;

    #[test]
    fn the_worst_decides() {
        let gate = |is_held| GateOutcome { gate: "g".to_owned(), measured: None, is_held };
        let mut results = Results::default();
        assert_eq!(Exit::of(&results).code(), 0);
        results.gates = vec![gate(true)];
        assert_eq!(Exit::of(&results).code(), 0);
        results.gates.push(gate(false));
        assert_eq!(Exit::of(&results).code(), 3);
        results.rig.saturated.push("cpu".to_owned());
        assert_eq!(Exit::of(&results).code(), 4);
        results.failed.push("an agent was lost".to_owned());
        assert_eq!(Exit::of(&results).code(), 1);
        results.is_interrupted = true;
        assert_eq!(Exit::of(&results).code(), 130);
    }
}
