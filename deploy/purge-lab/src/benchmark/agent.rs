//! One PoP: the agent of the edge as it is, over a table of purges, and a witness that writes down when each purge
//! counts.
//!
//! A purge counts from the moment at which a request for what was purged is no longer answered from the cache: the
//! witness asks the table for an object that was fetched before. Standard input ends: it writes what it saw and ends.

use std::{
    fmt::Write,
    fs,
    io::Read,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use tidegate_chassis::{Clock, Process};
use tidegate_contract::{id::NodeId, surrogate_key::SurrogateKey};
use tidegate_edge::{
    cache::{
        lease::Lease,
        purge::{Limits, PurgeTable, Verdict},
    },
    control::{self, Config, Health, Seams},
    policy::PolicyHandle,
};

/// What an agent is told.
#[derive(clap::Args)]
pub struct Args {
    /// Where it keeps its identity; the token to enrol with is in its file `token`
    #[arg(long)]
    state: PathBuf,
    /// The authority of the control plane
    #[arg(long)]
    ca: PathBuf,
    /// Where the control plane is
    #[arg(long, required = true)]
    endpoint: Vec<String>,
    /// Where it keeps its purges over a restart; without it they are in memory alone
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Where it writes when it applied what
    #[arg(long)]
    out: PathBuf,
}

/// Runs one PoP until standard input ends.
///
/// # Errors
/// The agent cannot start, or a purge was applied that does not count.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let process = Process::for_test();
    let config = Config {
        endpoints: args.endpoint,
        ca: args.ca,
        server_name: Some("localhost".to_owned()),
        state_dir: args.state.clone(),
        node: NodeId::parse("n")?,
        // On a machine with two cores and 150 agents a handshake takes its time.
        connect_timeout: Duration::from_secs(15),
        enrolment_token_file: Some(args.state.join("token")),
        ..Config::default()
    };
    let clock = Clock::system();
    let purges = match &args.journal {
        None => PurgeTable::new(clock.clone(), Limits::default()),
        Some(folder) => PurgeTable::open(folder, clock.clone(), Limits::default())?,
    };
    let lease = Lease::new(config.lease);
    lease.attach(purges.clone());
    let (started, replacing) = (SystemTime::now(), purges.clone());
    let health = move || Health {
        ready: true,
        draining: false,
        requests_total: 0,
        hits_total: 0,
        errors_total: 0,
        cache_bytes: 0,
        started,
    };
    let seams = Seams {
        policy: PolicyHandle::default(),
        purges: purges.clone(),
        replace: Arc::new(move |order, _, _| {
            replacing.apply(order);
        }),
        lease: lease.clone(),
        vitals: Arc::new(health),
        telemetry: None,
        restart: None,
        clock,
        is_successor: false,
        predecessor: None,
    };
    let _agent = control::start(&config, seams, &process)?;
    let (end, mut ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let mut seen = Vec::new();
    let watching = watch(&purges, &lease, &mut seen);
    tokio::select! {
        failed = watching => failed?,
        _ = &mut ended => {}
    }
    let mut text = String::new();
    for (offset, ns) in seen {
        writeln!(text, "{offset} {ns}")?;
    }
    fs::write(&args.out, text).with_context(|| args.out.display().to_string())
}

/// Writes down when each purge counts. Ends only when something is wrong.
async fn watch(
    purges: &PurgeTable,
    lease: &Lease,
    seen: &mut Vec<(u64, u128)>,
) -> anyhow::Result<()> {
    let stream = tidegate_contract::id::StreamId::parse("main")?;
    let name = SurrogateKey::parse(KEY)?.hash();
    while lease.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut last = lease.seen().values().copied().max().unwrap_or_default();
    loop {
        let born = purges.seq();
        let next = [(stream.clone(), last + 1)].into();
        if !lease.wait_applied(&next, FOREVER).await {
            continue;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let applied = lease.seen().get(&stream).copied().unwrap_or(last);
        // Whoever fetched it before this turn gets it anew from now on. Purges that were applied between the look at
        // the counter and the wait belong to this turn, too.
        let is_purged = purges.verdict([name], born, true) == Verdict::Hard;
        if !is_purged && purges.seq() > born {
            bail!("offset {applied} is applied and does not count");
        }
        seen.extend((last + 1..=applied).map(|offset| (offset, now)));
        last = applied;
    }
}

/// What the benchmark purges.
pub(super) const KEY: &str = "benchmark";
const FOREVER: Duration = Duration::from_secs(3600);
