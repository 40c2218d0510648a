//! Measures the edge against nginx, HAProxy and h2o, side by side in one run: what a hit and a new connection cost.
//!
//! All stand in front of one origin on this machine, each with one worker, and are filled once; then one client asks
//! each in turn, round after round. Speed on the wall says little on a shared machine; bytes, requests and handshakes
//! per CPU second of the server, read from the kernel's own accounting and compared within one run, say what a core
//! buys. Servers run on one core and the client on another.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // the result is the output

mod plan; // what is measured, in which order
mod soak; // does memory grow?
mod report; // medians, ratios, the table, JSON
mod load; // the client: requests over H1, H2 and H3
mod peer; // starts and stops the proxies
mod material; // certificate, objects, origin
mod core; // which CPU runs what
mod network; // loopback without what the machine has set for TCP
mod usage; // CPU time and memory of a process tree

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;

use crate::plan::{Measure, Settings};

#[derive(Parser)]
#[command(
    about = "Edge against nginx, HAProxy and h2o: server CPU time per hit and per connection"
)]
struct Cli {
    /// Folder of the edge's program; by default where this program is.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// nginx to compare with; its HTTP/3 is measured when it was built with it. A peer that is not there is left out.
    #[arg(long, default_value = "nginx")]
    nginx: String,
    /// HAProxy to compare with; its HTTP/3 is measured when it was built with it.
    #[arg(long, default_value = "haproxy")]
    haproxy: String,
    /// h2o to compare with; it serves the same objects as files, since it has no cache.
    #[arg(long, default_value = "h2o")]
    h2o: String,
    /// h2load, which asks over H1 and H2; without it the client of this program does.
    #[arg(long, default_value = "h2load")]
    h2load: String,
    /// Rounds; every figure is the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per cell and round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Measure only these; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Only these peers, by name; all that are installed by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Idle connections whose memory is measured; needs as many file descriptors.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Instead of measuring: mixed traffic on the edge for so long, for example `24h`; fails when its memory grows.
    #[arg(long, value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// Growth of the edge's memory that a soak allows, in bytes an hour.
    #[arg(long, default_value_t = 8 << 20)]
    growth_max: u64,
    /// Nothing else runs on the machine while servers or client want to (needs chrt and the right to it): for times to the
    /// first byte where other work cannot be ended.
    #[arg(long)]
    realtime: bool,
    /// Writes every figure of every round to this file as well.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    network::enter()?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("another crypto provider was installed first")?;
    let cores = core::Cores::split();
    cores.pin_client()?;
    if cli.realtime {
        core::go_first()?;
    }
    let own = std::env::current_exe().context("finding this program")?;
    let beside = own.parent().map(Path::to_path_buf).unwrap_or_default();
    let programs = peer::Programs {
        bin_dir: cli.bin_dir.unwrap_or(beside),
        nginx: cli.nginx,
        haproxy: cli.haproxy,
        h2o: cli.h2o,
        only: cli.peers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(time) = cli.soak {
        return runtime.block_on(soak::run(&programs, cores, time, cli.growth_max));
    }
    let settings = Settings {
        programs,
        h2load: load::h2load::find(&cli.h2load),
        rounds: cli.rounds,
        seconds: cli.seconds,
        measures: if cli.only.is_empty() { Measure::ALL.to_vec() } else { cli.only },
        idle: cli.idle,
        cores,
    };
    let figures = runtime.block_on(plan::run(&settings))?;
    report::print(&figures);
    if let Some(path) = cli.json {
        std::fs::write(&path, report::json(&figures))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
