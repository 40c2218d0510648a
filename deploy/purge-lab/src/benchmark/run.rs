//! The whole benchmark: for each loss a fresh setting and a steady rate of purges; then what a purge costs, and how many
//! the API takes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{
    figures::Latencies,
    report::{CatchUp, Cost, UnderLoss, page},
    stage::Stage,
};

/// What is measured.
#[derive(clap::Args)]
pub struct Args {
    /// The folder with tidegate-control and tidegate-wan
    #[arg(long, default_value = "target/release")]
    pub(super) programs: PathBuf,
    /// How many PoPs
    #[arg(long, default_value_t = 150)]
    pub(super) pops: usize,
    /// Purges for each loss
    #[arg(long, default_value_t = 600)]
    pub(super) count: u64,
    /// Purges a second
    #[arg(long, default_value_t = 10.0)]
    pub(super) rate: f64,
    /// How many of a hundred packets get lost; may be repeated
    #[arg(long, value_name = "PERCENT", default_values_t = [0.0, 0.1, 1.0, 5.0])]
    pub(super) loss: Vec<f64>,
    /// Round trips, as a table with names; without it they are modelled
    #[arg(long, value_name = "FILE")]
    pub(super) matrix: Option<PathBuf>,
    /// Where the leader is, and whoever orders
    #[arg(long, default_value = "Frankfurt")]
    pub(super) leader: String,
    /// Where the second address is
    #[arg(long, default_value = "Washington")]
    pub(super) replica: String,
    /// Purges a second while their cost is measured; 0 leaves it out
    #[arg(long, default_value_t = 500.0)]
    cost_rate: f64,
    /// Seconds for which the API takes as much as it can; 0 leaves it out
    #[arg(long, default_value_t = 10)]
    ingest_s: u64,
    /// Purges that a PoP misses before it comes back; 0 leaves it out
    #[arg(long, default_value_t = 100_000)]
    missed: u64,
    /// Where the page goes; standard output otherwise
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Measures.
///
/// # Errors
/// This machine has no namespaces, or a part failed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut under = Vec::new();
    let mut cost = None;
    for (number, loss) in args.loss.iter().copied().enumerate() {
        say(&format!("{} PoPs at {loss} % loss", args.pops))?;
        let stage = Stage::start(args, &folder.path().join(number.to_string()), loss)?;
        let ordered = stage.steady(args.count, args.rate)?;
        // The last ones are on their way; with loss that may take a while.
        stage.settle()?;
        if number == 0 && args.cost_rate > 0.0 {
            say("what a purge costs")?;
            cost = Some(measure_cost(args, &stage)?);
        }
        let applied = stage.end()?;
        under.push(UnderLoss { loss, latencies: Latencies::of(&ordered, &applied) });
    }
    let ingest = ingest(args, &folder.path().join("ingest"))?;
    let catch_up = catch_up(args, &folder.path().join("away"))?;
    let page = page(args, &under, cost.as_ref(), ingest, catch_up.as_ref());
    match &args.out {
        None => std::io::stdout().write_all(page.as_bytes())?,
        Some(file) => fs::write(file, page).with_context(|| file.display().to_string())?,
    }
    Ok(())
}

fn measure_cost(args: &Args, stage: &Stage) -> anyhow::Result<Cost> {
    let count = (args.cost_rate * COST_TIME.as_secs_f64()) as u64;
    let (control_before, agents_before) = stage.cpu()?;
    let purges = stage.steady(count, args.cost_rate)?.len() as f64;
    stage.settle()?;
    sleep(Duration::from_millis(500));
    let (control, agents) = stage.cpu()?;
    let (control_mib, agent_mib) = stage.memory();
    let each = purges * args.pops as f64;
    Ok(Cost {
        rate: args.cost_rate,
        control_us: (control - control_before) * 1e6 / each,
        agent_us: (agents - agents_before) * 1e6 / each,
        control_mib,
        agent_mib,
    })
}

fn ingest(args: &Args, folder: &Path) -> anyhow::Result<Option<f64>> {
    if args.ingest_s == 0 {
        return Ok(None);
    }
    say("how many purges the API takes")?;
    let stage = Stage::start_alone(args, folder, 0)?;
    let rate = stage.order(&["flood", "--seconds", &args.ingest_s.to_string()])?;
    Ok(Some(rate.trim().parse().context("a rate")?))
}

/// A PoP is away while many purges are accepted, and comes back.
fn catch_up(args: &Args, folder: &Path) -> anyhow::Result<Option<CatchUp>> {
    if args.missed == 0 {
        return Ok(None);
    }
    say("how long a PoP takes that was away")?;
    let stage = Stage::start_alone(args, folder, 1)?;
    let missed = args.missed.to_string();
    let applied = stage.away(|stage| stage.order(&["many", "--count", &missed]).map(drop))?;
    let times = applied.first().context("one PoP")?;
    let (first, last) = (times.values().min(), times.values().max());
    let (first, last) = (first.context("nothing applied")?, last.context("nothing applied")?);
    let purges = times.len() as u64;
    if purges < args.missed {
        bail!("{purges} of {} purges were applied", args.missed);
    }
    Ok(Some(CatchUp { purges, took_ms: (last - first) as f64 / 1e6 }))
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{text}")
}

const COST_TIME: Duration = Duration::from_secs(6);
