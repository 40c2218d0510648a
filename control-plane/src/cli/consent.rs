//! What stands between a plan and the act: a dry run, a reason, and a yes.
//!
//! A verb prints its plan first and then asks here. Without a terminal nothing is asked and nothing is guessed: the act
//! is refused unless `--yes` stands there.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use super::failure::{Exit, Failure};

/// A run that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// As the verb has it: by the control plane where it can plan, by this program alone elsewhere.
    #[value(hide = true)]
    Auto,
    /// Nothing is sent that changes or checks anything
    Client,
    /// The control plane checks and plans
    Server,
}

/// What the command line says about going on.
#[derive(Debug, Clone, Default)]
pub(super) struct Consent {
    /// `--dry-run`: nothing is changed.
    pub(super) dry_run: Option<DryRun>,
    /// `--yes`: nothing is asked.
    pub(super) is_given: bool,
    /// `--reason`
    pub(super) reason: Option<String>,
}

impl Consent {
    /// The dry run that is wanted.
    pub(super) fn dry_run(&self) -> Option<DryRun> {
        self.dry_run
    }

    /// Whether to go on with something harmless: everything but a dry run does.
    pub(super) fn goes_on(&self) -> bool {
        self.dry_run.is_none()
    }

    /// Why, where that must be said before anything is changed. A plan needs no reason, and gets a word for one.
    ///
    /// # Errors
    /// [`Exit::Usage`] without a reason.
    pub(super) fn needed_reason(&self) -> Result<String, Failure> {
        match self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()) {
            Some(reason) => Ok(reason.to_owned()),
            None if self.dry_run.is_some() => Ok("a plan".to_owned()),
            None => {
                let failure = Failure::new(Exit::Usage, "this is dangerous: say why");
                Err(failure.with_hint("add --reason TEXT; it stands in the audit log"))
            }
        }
    }

    /// Whether to go on with something dangerous: it needs a reason, and a yes or the name of the thing.
    ///
    /// # Errors
    /// [`Exit::Usage`] without a reason, [`Exit::Refused`] when nobody said yes.
    pub(super) fn confirm(&self, name: &str) -> Result<bool, Failure> {
        if self.dry_run.is_some() {
            return Ok(false);
        }
        self.needed_reason()?;
        self.ask(name)?;
        Ok(true)
    }

    /// Goes on only with a yes, or with the name of what is at stake.
    ///
    /// # Errors
    /// [`Exit::Refused`]
    pub(super) fn ask(&self, name: &str) -> Result<(), Failure> {
        if self.is_given {
            return Ok(());
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
            Ok(_) if line.trim() == name => Ok(()),
            _ => Err(Failure::new(Exit::Refused, "not confirmed: nothing was done")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dangerous_needs_a_reason_and_a_yes() {
        let consent = |is_dry: bool, is_given, reason: Option<&str>| {
            let dry_run = is_dry.then_some(DryRun::Auto);
            Consent { dry_run, is_given, reason: reason.map(str::to_owned) }.confirm("fra")
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
