//! `tidegate`, the operators' command line: one file per noun, over the HTTP API and nothing else.
//!
//! Standard output carries data alone, as a table or as JSON; messages go to standard error. The exit code says
//! what happened, so that scripts need not read either.

pub mod dev;
mod purge;
mod bgp;
mod pop;
mod drain;
mod health;
mod property;
mod edge;
mod token;
mod context;
mod question; // asks before something dangerous is done
mod client;
mod output;
mod failure;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::{
    bgp::BgpCommand,
    client::Client,
    context::{ContextCommand, Place},
    dev::DevArgs,
    edge::EdgeCommand,
    failure::{Exit, Failure},
    health::HealthCommand,
    output::Output,
    pop::PopCommand,
    property::PropertyCommand,
    purge::PurgeCommand,
    token::TokenCommand,
};

/// Operate a Tidegate CDN.
///
/// Exit codes: 0 ok, 1 condition not met, 2 usage, 3 not found, 4 not allowed, 5 changed in between,
/// 6 invalid or refused by a node, 7 deadline over (the operation goes on), 8 refused, 9 server not available,
/// 130 interrupted.
#[derive(Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
struct Global {
    #[command(flatten)]
    place: Place,
    /// How data is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The longest that one call of the API may take
    #[arg(long, global = true, value_name = "TIME", default_value = "40s", value_parser = humantime::parse_duration)]
    timeout: std::time::Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// PoPs and their nodes
    #[command(subcommand)]
    Pop(PopCommand),
    /// What PoPs announce, and how strongly
    #[command(subcommand)]
    Bgp(BgpCommand),
    /// How PoPs are
    #[command(subcommand)]
    Health(HealthCommand),
    /// Remove or mark stale what is cached, in every PoP
    #[command(subcommand)]
    Purge(PurgeCommand),
    /// Properties: hosts, origins, cache policy
    #[command(subcommand)]
    Property(PropertyCommand),
    /// What one node of the edge knows
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// Playback tokens and keys for them; no server is asked
    #[command(subcommand)]
    Token(TokenCommand),
    /// Which control plane to talk to
    #[command(subcommand)]
    Context(ContextCommand),
    /// The whole system on this machine
    Dev(DevArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    tidegate_chassis::init_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(&Failure::new(Exit::Failed, error.to_string()), cli.global.output);
        }
    };
    let format = cli.global.output;
    match runtime.block_on(run(cli)) {
        Ok(exit) => exit.code(),
        Err(failure) => report(&failure, format),
    }
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    // It has signals of its own: it stops what it started.
    if let Command::Dev(args) = command {
        return match dev::run(args).await {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => Err(Failure::new(Exit::Failed, format!("{error:#}"))),
        };
    }
    tokio::select! {
        done = operate(global, command) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}

async fn operate(global: Global, command: Command) -> Result<Exit, Failure> {
    let out = Output::new(global.output);
    let client = || Client::new(&global.place.target()?, global.timeout);
    match command {
        Command::Pop(command) => pop::run(command, &client()?, &out).await,
        Command::Bgp(command) => bgp::run(command, &client()?, &out).await,
        Command::Health(command) => health::run(command, &client()?, &out).await,
        Command::Purge(command) => purge::run(command, &client()?, &out).await,
        Command::Property(command) => property::run(command, &client()?, &out).await,
        Command::Edge(command) => edge::run(command, global.timeout, &out).await,
        Command::Token(command) => token::run(command, &out),
        Command::Context(command) => context::run(command, &global.place, &out),
        Command::Dev(_) => Err(Failure::new(Exit::Usage, "dev has no server")),
    }
}

fn report(failure: &Failure, format: Format) -> ExitCode {
    let text = match format {
        Format::Table => format!("tidegate: {failure}"),
        Format::Json => failure.to_json(),
    };
    // Nobody may be reading; the exit code says it too.
    let _ = writeln!(io::stderr(), "{text}");
    failure.exit.code()
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
