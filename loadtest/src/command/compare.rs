//! `compare`: what is different between two runs, and whether that is more than chance.
//!
//! Invariant: without being asked to, a worse run is no failure of the comparison.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    exit::{Exit, Failure},
    say::print,
};
use crate::{
    output::{compare, json, replace},
    results::Results,
};

#[derive(Args)]
pub(super) struct CompareArgs {
    /// Results of the run before
    #[arg(value_name = "A")]
    before: PathBuf,
    /// Results of the run after
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Write the comparison as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the comparison as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// End with exit code 3 when anything is worse
    #[arg(long)]
    fail_if_worse: bool,
}

pub(super) fn compare(args: &CompareArgs) -> Result<Exit, Failure> {
    let comparison = compare::compare(&load(&args.before)?, &load(&args.after)?);
    print(&compare::table(&comparison));
    if let Some(path) = &args.json {
        replace(path, &comparison.json()).map_err(Failure::failed)?;
    }
    if let Some(path) = &args.html {
        replace(path, compare::page(&comparison).as_bytes()).map_err(Failure::failed)?;
    }
    Ok(if args.fail_if_worse && comparison.is_worse() { Exit::Breached } else { Exit::Ok })
}

fn load(path: &Path) -> Result<Results, Failure> {
    json::load(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
