//! `tidegate-bench-purge`: how long a purge takes from the API to the last of many PoPs, and what it costs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_contract::id::PopId;
use tidegate_purge_lab::benchmark::{agent, order, run};

/// An agent's memory is the edge's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures purges over a modelled Internet of network namespaces; needs root.
#[derive(Parser)]
#[command(name = "tidegate-bench-purge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure everything and print a report
    Run(run::Args),
    /// One PoP; started by `run`
    #[command(hide = true)]
    Agent(agent::Args),
    /// Whoever orders purges; started by `run`
    #[command(hide = true)]
    Order(order::Args),
    /// Judge a release; started by an agent
    #[command(hide = true)]
    CheckRelease {
        #[arg(long)]
        pop: PopId,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args)?,
        Command::Agent(args) => agent::run(args)?,
        Command::Order(args) => order::run(args)?,
        Command::CheckRelease { pop } => return Ok(tidegate_edge::check_release::run(&pop)),
    }
    Ok(ExitCode::SUCCESS)
}
