//! `report`: files and words from a run's results.
//!
//! Invariant: it changes nothing about the results; its exit code is that of the run.

use std::path::PathBuf;

use clap::Args;

use super::{
    exit::{Exit, Failure},
    outputs::Outputs,
    say::print,
};
use crate::output::{json, lines};

#[derive(Args)]
pub(super) struct ReportArgs {
    /// Results that `run --json` wrote
    #[arg(value_name = "FILE")]
    results: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
}

pub(super) fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    let results = json::load(&args.results)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.results.display())))?;
    if args.outputs.is_empty() {
        print(&lines::summary(&results));
    }
    args.outputs.write(&results)?;
    Ok(Exit::of(&results))
}
