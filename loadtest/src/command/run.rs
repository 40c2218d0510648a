//! `run`: a scenario, from flags to exit code.
//!
//! Invariant: whatever ends the run, what was measured is written, and the exit code says how it ended.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use prometheus::Registry;
use tidegate_chassis::Secret;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{LocalSet, spawn_local},
};

use super::{
    exit::{Exit, Failure},
    metrics_port,
    outputs::{IntervalFile, Outputs, check_file, write_json},
    say::{note, print},
    screen::Screen,
    source::{Changes, read},
};
use crate::{
    fleet::{self, AgentAddress},
    output::lines,
    results::Results,
    run::{RunPlan, Stop, execute, judge, prepare},
    scenario::Scenario,
};

#[derive(Args)]
pub(super) struct RunArgs {
    /// A built-in scenario, a file, or a URL to play (see `scenarios list`)
    #[arg(value_name = "SCENARIO|FILE|URL")]
    scenario: String,
    #[command(flatten)]
    changes: Changes,
    /// Write the results, for `report` and `compare`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a line of JSON for each second, while it runs
    #[arg(long, value_name = "FILE")]
    ndjson: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    /// Where Prometheus may read the run
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Run on agents instead of here, each HOST:PORT=FINGERPRINT
    #[arg(long, value_name = "AGENT", value_delimiter = ',', requires = "token_file")]
    agents: Vec<AgentAddress>,
    /// The token that the agents were started with
    #[arg(long, value_name = "FILE", env = "TIDEGATE_LOAD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Lines instead of the dashboard, also on a terminal
    #[arg(long)]
    plain: bool,
    /// Nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    /// Read the scenario and its files, and run nothing
    #[arg(long)]
    check_config: bool,
}

pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let (scenario, text) = read(&args.scenario, &args.changes)?;
    in_runtime(async {
        let inputs = prepare(&scenario).await.map_err(Failure::usage)?;
        if args.check_config {
            note(&format!("{}: fine, {} videos", scenario.name, inputs.videos.len()));
            return Ok(Exit::Ok);
        }
        args.outputs.check()?;
        args.json.iter().try_for_each(|path| check_file(path))?;
        let plan =
            RunPlan { scenario, inputs, part: 0, of: 1, has_faults: true, scenario_text: text };
        let results = measure(args, &plan).await?;
        print(&lines::summary(&results));
        if let Some(path) = &args.json {
            write_json(path, &results)?;
        }
        args.outputs.write(&results)?;
        Ok(Exit::of(&results))
    })
}

/// Runs a future on a runtime for one thread, with its `LocalSet`.
pub(super) fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::failed)?;
    let ended = LocalSet::new().block_on(&runtime, work);
    runtime.shutdown_background();
    ended
}

async fn measure(args: &RunArgs, plan: &RunPlan) -> Result<Results, Failure> {
    let stop = stop_by_signal()?;
    let registry = args.metrics.map(|_| Registry::new());
    let intervals = args.ndjson.as_deref().map(IntervalFile::create).transpose()?;
    if let (Some(addr), Some(registry)) = (args.metrics, &registry) {
        metrics_port::serve(addr, registry.clone()).await?;
    }
    let mut screen = Screen::open(args.plain, args.quiet, planned(&plan.scenario))
        .with_intervals(intervals)
        .with_metrics(registry.as_ref());
    let measured = match &args.token_file {
        Some(path) if !args.agents.is_empty() => {
            let token = read_token(path)?;
            let run = fleet::run(plan, &args.agents, &token, &stop, &mut screen);
            run.await.map_err(Failure::failed)
        }
        _ => execute(plan, &stop, &mut screen).await.map_err(Failure::failed),
    };
    screen.close();
    let mut results = measured?;
    if plan.scenario.knee.is_none() {
        judge(&mut results, &plan.scenario);
    }
    Ok(results)
}

/// A stop that the first interrupt gives. The second one ends the program.
pub(super) fn stop_by_signal() -> Result<Stop, Failure> {
    let stop = Stop::default();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let given = stop.clone();
    spawn_local(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if given.is_given() {
                note("ended at once; nothing was written, and faults were not undone");
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            note("ending; once more ends at once");
            given.give();
        }
    });
    Ok(stop)
}

/// A token that agents and their controller share.
pub(super) fn read_token(path: &std::path::Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let token = text.trim();
    if token.len() < TOKEN_BYTES_MIN {
        let reason =
            format!("{}: a token has {TOKEN_BYTES_MIN} characters or more", path.display());
        return Err(Failure::usage(reason));
    }
    Ok(Secret::new(token))
}

/// How long the run is to last, where that is known.
fn planned(scenario: &Scenario) -> Option<Duration> {
    let arrivals = &scenario.arrivals;
    scenario.knee.is_none().then(|| arrivals.duration + arrivals.drain)
}

/// Shorter ones can be tried out.
const TOKEN_BYTES_MIN: usize = 16;
