//! The command line: flags become parts, results become files and an exit code.
//!
//! | code | means |
//! |---|---|
//! | 0 | done, and every gate was held |
//! | 1 | the run itself failed |
//! | 2 | the command line or the scenario is wrong |
//! | 3 | a gate was breached |
//! | 4 | the rig was saturated: the figures are its own, not the server's |
//! | 130 | interrupted; what was measured until then was written |
//!
//! Invariant: standard output carries data alone; messages go to standard error.

mod exit;
mod say;
mod source;
mod run;
mod probe;
mod compare;
mod report;
mod scenarios;
mod agent;
mod metrics_port;
mod outputs;
mod screen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::say::note;

/// Plays video as viewers do, by the thousand, and says how it was for them.
///
/// Exit codes: 0 ok, 1 the run failed, 2 usage, 3 a gate was breached, 4 the rig was saturated, 130 interrupted with a
/// partial report.
#[derive(Parser)]
#[command(name = "tidegate-load", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario against a server
    Run(Box<run::RunArgs>),
    /// Show what one player sees: renditions, caches, protocol, and how it plays
    Probe(probe::ProbeArgs),
    /// Compare the results of two runs
    Compare(compare::CompareArgs),
    /// Make reports of a run's results
    Report(report::ReportArgs),
    /// Play a part of other machines' runs
    Agent(agent::AgentArgs),
    /// The scenarios that the program brings
    #[command(subcommand)]
    Scenarios(scenarios::ScenariosCommand),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    tidegate_chassis::init_crypto();
    let ended = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Probe(args) => probe::probe(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Report(args) => report::report(&args),
        Command::Agent(args) => agent::agent(&args),
        Command::Scenarios(command) => scenarios::scenarios(&command),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            note(&format!("tidegate-load: {failure}"));
            failure.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
