//! The whole benchmark: for each loss a fresh setting and a steady rate of purges; in the first also what a purge costs
//! at that rate and when many come; then how many the API takes, and how long a PoP takes that was away.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{
    figures::Latencies,
    report::{CatchUp, Cost, Spent, Standing, UnderLoss, page},
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
    /// Purges a second while their cost is measured once more, many at a time; may be repeated, 0 leaves it out
    #[arg(long, value_name = "RATE", default_values_t = [500.0, 1000.0])]
    cost_rate: Vec<f64>,
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
    let mut costs = Vec::new();
    let mut standing = None;
    for (number, loss) in args.loss.iter().copied().enumerate() {
        say(&format!("{} PoPs at {loss} % loss", args.pops))?;
        let stage = Stage::start(args, &folder.path().join(number.to_string()), loss)?;
        let is_first = number == 0;
        let idle = if is_first { Some(measure_idle(args, &stage)?) } else { None };
        let (ordered, spent) = measure(&stage, args.count, args.rate)?;
        let mut many = Vec::new();
        for rate in args.cost_rate.iter().copied().filter(|rate| is_first && *rate > 0.0) {
            say(&format!("what a purge costs when {rate} come in a second"))?;
            let count = (rate * COST_TIME.as_secs_f64()) as u64;
            many.push((rate, measure(&stage, count, rate)?));
        }
        let (control_mib, agent_mib) = stage.memory();
        let applied = stage.end()?;
        let latencies = Latencies::of(&ordered, &applied);
        if let Some(idle) = idle {
            standing = Some(Standing { idle, control_mib, agent_mib });
            costs.push(Cost::of(args.rate, args.pops, spent, latencies.clone()));
            for (rate, (ordered, spent)) in many {
                let latencies = Latencies::of(&ordered, &applied);
                costs.push(Cost::of(rate, args.pops, spent, latencies));
            }
        }
        under.push(UnderLoss { loss, latencies });
    }
    let ingest = ingest(args, &folder.path().join("ingest"))?;
    let catch_up = catch_up(args, &folder.path().join("away"))?;
    let page = page(args, &under, (&costs, standing.as_ref()), ingest, catch_up.as_ref());
    match &args.out {
        None => std::io::stdout().write_all(page.as_bytes())?,
        Some(file) => fs::write(file, page).with_context(|| file.display().to_string())?,
    }
    Ok(())
}

/// Orders at a rate; gives back when each purge was ordered, and what all of it took until nothing was behind.
fn measure(stage: &Stage, count: u64, rate: f64) -> anyhow::Result<(BTreeMap<u64, u64>, Spent)> {
    let (control_before, agents_before) = stage.cpu()?;
    let ordered = stage.steady(count, rate)?;
    // The last ones are on their way; with loss that may take a while.
    stage.settle()?;
    let (control, agents) = stage.cpu()?;
    let spent = Spent {
        purges: ordered.len() as f64,
        control_s: control - control_before,
        agents_s: agents - agents_before,
    };
    Ok((ordered, spent))
}

/// CPU time of everything while nobody purges, in seconds for each PoP and second.
fn measure_idle(args: &Args, stage: &Stage) -> anyhow::Result<f64> {
    let before = stage.cpu()?;
    sleep(IDLE_TIME);
    let after = stage.cpu()?;
    let spent = (after.0 - before.0) + (after.1 - before.1);
    Ok(spent / IDLE_TIME.as_secs_f64() / args.pops as f64)
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
const IDLE_TIME: Duration = Duration::from_secs(5);
