//! What stands between a plan and the act: a dry run, a reason, and a yes.
//!
//! A verb prints its plan first and then asks here. Without a terminal nothing is asked and nothing is guessed: the act
//! is refused unless `--yes` stands there.

use std::io::{self, IsTerminal, Write};

use super::failure::{Exit, Failure};

/// What the command line says about going on.
#[derive(Debug, Clone, Default)]
pub(super) struct Consent {
    /// `--dry-run`: nothing is changed.
    pub(super) is_dry_run: bool,
    /// `--yes`: nothing is asked.
    pub(super) is_given: bool,
    /// `--reason`
    pub(super) reason: Option<String>,
}

impl Consent {
    /// Whether to go on with something harmless: everything but a dry run does.
    pub(super) fn goes_on(&self) -> bool {
        !self.is_dry_run
    }

    /// Whether to go on with something dangerous: it needs a reason, and a yes or the name of the thing.
    ///
    /// # Errors
    /// [`Exit::Usage`] without a reason, [`Exit::Refused`] when nobody said yes.
    pub(super) fn confirm(&self, name: &str) -> Result<bool, Failure> {
        if self.is_dry_run {
            return Ok(false);
        }
        if self.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
            let failure = Failure::new(Exit::Usage, "this is dangerous: say why");
            return Err(failure.with_hint("add --reason TEXT; it stands in the audit log"));
        }
        if self.is_given {
            return Ok(true);
        }
        if !io::stdin().is_terminal() {
            let failure = Failure::new(Exit::Refused, "nobody is here to confirm");
            return Err(failure.with_hint("add --yes"));
        }
        let mut stderr = io::stderr();
        let _ = write!(stderr, "Type {name:?} to go on: ");
        let _ = stderr.flush();
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(_) if line.trim() == name => Ok(true),
            _ => Err(Failure::new(Exit::Refused, "not confirmed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dangerous_needs_a_reason_and_a_yes() {
        let consent = |is_dry_run, is_given, reason: Option<&str>| {
            Consent { is_dry_run, is_given, reason: reason.map(str::to_owned) }.confirm("fra")
        };
        assert!(matches!(consent(true, false, None), Ok(false)), "a dry run needs nothing");
        assert!(matches!(consent(false, true, Some("broken")), Ok(true)));
        assert_eq!(consent(false, true, None).err().map(|failure| failure.exit), Some(Exit::Usage));
        assert_eq!(
            consent(false, true, Some(" ")).err().map(|failure| failure.exit),
            Some(Exit::Usage)
        );
    }
}
