//! How a command can end, and the exit code that says so.
//!
//! Scripts rely on the numbers: they are only ever added to.

use std::process::ExitCode;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tidegate_contract::problem::Problem;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done.
    Ok = 0,
    /// The condition is not met, or something failed that has no code of its own.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// No token, an unknown one, or one that may not.
    Forbidden = 4,
    /// Somebody else changed it in between.
    Conflict = 5,
    /// The value is invalid, or a node refused it.
    Invalid = 6,
    /// The deadline is over; the operation goes on.
    Timeout = 7,
    /// Refused: too often, or without the confirmation that it needs.
    Refused = 8,
    /// The server cannot be reached or cannot answer.
    Unavailable = 9,
    /// `apply --detailed-exitcode` changed something.
    Changed = 10,
    /// Interrupted from the keyboard.
    Interrupted = 130,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    /// The exit code.
    pub(super) exit: Exit,
    /// For people.
    pub(super) message: String,
    /// The kind of problem, as the server names it.
    kind: Option<String>,
    /// What to do about it, when that is known better than by the exit code.
    hint: Option<String>,
}

impl Exit {
    /// The code as the process ends with it.
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

impl Failure {
    /// A failure of this program's own finding.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), kind: None, hint: None }
    }

    /// The same failure with what to do about it.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure that the server reports.
    pub(super) fn of_problem(status: StatusCode, problem: Option<Problem>) -> Self {
        let exit = match status.as_u16() {
            401 | 403 => Exit::Forbidden,
            404 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            400 | 413 | 422 => Exit::Invalid,
            408 | 504 => Exit::Timeout,
            423 | 429 => Exit::Refused,
            500.. => Exit::Unavailable,
            _ => Exit::Failed,
        };
        match problem {
            Some(Problem { kind, title, detail, .. }) => {
                let message = if detail.is_empty() { title } else { detail };
                // Another person is needed, or somebody said no: nothing was changed in between.
                let is_refused =
                    kind.ends_with("/approval-needed") || kind.ends_with("/approval-refused");
                let exit = if is_refused { Exit::Refused } else { exit };
                Self { exit, message, kind: Some(kind), hint: None }
            }
            None => Self::new(exit, format!("the server answered {status}")),
        }
    }

    /// What to do about it, when there is something.
    pub(super) fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or(match self.exit {
            Exit::NotFound => Some("tidegate get KIND lists what there is"),
            Exit::Forbidden => {
                Some("tidegate whoami says who you are, tidegate can-i VERB what you may")
            }
            Exit::Conflict => Some("read it again, and repeat the change on what is there now"),
            Exit::Timeout => Some("it goes on; ask again for its status"),
            Exit::Unavailable => Some("tidegate doctor says what is wrong"),
            _ => None,
        })
    }

    /// The failure for programs.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "code": self.exit as u8,
            "message": self.message,
            "type": self.kind,
            "hint": self.hint(),
            "docs": format!("docs/operate/errors.md#exit-{}", self.exit as u8),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_an_exit_code() {
        for (status, exit) in [
            (401, 4),
            (403, 4),
            (404, 3),
            (412, 5),
            (422, 6),
            (413, 6),
            (429, 8),
            (503, 9),
            (418, 1),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(Failure::of_problem(status, None).exit as u8, exit, "{status}");
        }
    }

    #[test]
    fn a_problem_gives_its_detail() {
        let problem = Problem::new(422, "invalid", "Invalid value", "no such kind");
        let failure = Failure::of_problem(StatusCode::UNPROCESSABLE_ENTITY, Some(problem));
        assert_eq!(failure.to_string(), "no such kind");
        assert_eq!(failure.to_json()["type"], "/problem/invalid");
    }
}
