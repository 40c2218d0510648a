//! `cargo xtask`: checks the repository, or writes the documents that are generated from it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use xtask::{reference, repository::Repository, tidy};

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let repository = Repository::read(root)?;
    let faults = match Cli::parse().command {
        Command::Tidy => tidy::check(&repository),
        Command::Docs { check: true } => reference::stale(&repository)?,
        Command::Docs { check: false } => {
            reference::write(&repository)?;
            Vec::new()
        }
    };
    for fault in &faults {
        writeln!(io::stderr(), "{fault}")?;
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tasks of this repository
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check structure: module order, borders between programs, headers, links, words
    Tidy,
    /// Write docs/config.md, docs/metrics.md and docs/cli.md
    Docs {
        /// Write nothing; fail if a document is out of date
        #[arg(long)]
        check: bool,
    },
}
