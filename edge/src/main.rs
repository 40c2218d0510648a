//! The edge's command line: one command, `serve`, from a configuration file or from a few flags.
//!
//! Invariant: a flag is only another way to say a configuration key.

use std::{net::SocketAddr, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tidegate_chassis::{ConfigArgs, Program, run};
use tidegate_contract::id::PopId;
use tidegate_edge::{check_release, node, one_line::OneLine};

/// Bodies of all sizes come and go on several threads for weeks; the system's allocator keeps what it once had.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Serves clients over HTTP/1.1, HTTP/2 and HTTP/3 from a cache in front of any origin.
#[derive(Parser)]
#[command(name = "tidegate-edge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the node until it is told to stop.
    Serve(Serve),
    /// Judges a release on standard input, for a node that wants to put it to use.
    #[command(hide = true)]
    CheckRelease(CheckRelease),
}

#[derive(Args)]
struct CheckRelease {
    /// The PoP that would run it.
    #[arg(long)]
    pop: PopId,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Serve this origin for every host: `http://host:port` or `https://host[:port]`.
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Listen here without TLS. May be repeated.
    #[arg(long, value_name = "ADDRESS")]
    http: Vec<SocketAddr>,
    /// Listen here with TLS, and with QUIC on the same UDP port. May be repeated.
    #[arg(long, value_name = "ADDRESS")]
    https: Vec<SocketAddr>,
    /// Make a certificate for localhost at start.
    #[arg(long)]
    self_signed: bool,
}

fn main() -> ExitCode {
    let serve = match Cli::parse().command {
        Command::Serve(serve) => serve,
        Command::CheckRelease(CheckRelease { pop }) => return check_release::run(&pop),
    };
    let flags = OneLine {
        origin: serve.origin,
        http: serve.http,
        https: serve.https,
        is_self_signed: serve.self_signed,
    };
    match flags.overrides() {
        Ok(overrides) => run(&PROGRAM, &serve.config, overrides, node::run),
        Err(error) => {
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error}\n")).exit()
        }
    }
}

const PROGRAM: Program = Program { name: "tidegate-edge", env_prefix: "TIDEGATE_EDGE" };
