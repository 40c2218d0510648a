//! The life of a process: config, log, admin port, the program's `main`, drain, exit code.
//!
//! SIGTERM, SIGINT, POST /drain, a failed task or `main` returning start the drain. `main` watches the drain and
//! returns when its work is done; if the grace runs out or a second signal comes, the process ends all the same.
//!
//! **Invariant.** The exit code is 0 only if `main` returned without an error and no supervised task failed; 2 means
//! that nothing was started because of the command line or the config; everything else is 1.

use std::{
    fmt::Display,
    io::{self, Write},
    panic::AssertUnwindSafe,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    admin, build_info,
    config::{self, ConfigArgs, Program, ProgramConfig},
    crypto,
    handover::{self, Predecessor},
    logging, metrics,
    process::{ConfigReading, Process, TaskFailure, panic_text},
    ready_file::ReadyFile,
};

/// Runs a program from its command line to its exit code. `overrides` is what the program's own flags say of the
/// config, as the tables of a config file; `--set` goes over it.
///
/// `main` builds the program and returns when it has drained; it runs on a multi-threaded tokio runtime.
pub fn run<C, F, Fut>(
    program: &Program,
    args: &ConfigArgs,
    overrides: toml::Table,
    main: F,
) -> ExitCode
where
    C: ProgramConfig,
    F: FnOnce(Arc<C>, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let config: C = match config::load(program, args, overrides.clone()) {
        Ok(config) => config,
        Err(error) => return refuse(program, &error),
    };
    if args.check_config {
        return show(&format!("ok\n{}", config.summary()));
    }
    if args.print_config {
        return match config::effective_toml(&config) {
            Ok(text) => show(&text),
            Err(error) => refuse(program, &format!("{error:#}")),
        };
    }
    let process_config = config.process();
    let (level, format) = (&process_config.log_level, process_config.log_format);
    if let Err(error) = logging::init(level, format, config.recent_log()) {
        return refuse(program, &error);
    }
    let reading = {
        let (program, args) = (*program, args.clone());
        let running = config::effective_json(&config).ok();
        Arc::new(move || {
            let read = config::load::<C>(&program, &args, overrides.clone());
            let read = read.map_err(|error| error.to_string())?;
            Ok(config::effective_json(&read).ok() == running)
        })
    };
    let lived = live(program, config, reading, main);
    logging::flush();
    match lived {
        Ok(()) => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended with a failure");
            ExitCode::from(FAILED)
        }
    }
}

/// Builds the runtime, lives in it, and takes it down.
fn live<C, F, Fut>(
    program: &Program,
    config: C,
    reading: ConfigReading,
    main: F,
) -> anyhow::Result<()>
where
    C: ProgramConfig,
    F: FnOnce(Arc<C>, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    crypto::init_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(program.name)
        .build()
        .context("cannot start the runtime")?;
    let lived = runtime.block_on(serve(program, Arc::new(config), reading, main));
    runtime.shutdown_timeout(BLOCKING_FINISH_MAX);
    lived
}

async fn serve<C, F, Fut>(
    program: &Program,
    config: Arc<C>,
    reading: ConfigReading,
    main: F,
) -> anyhow::Result<()>
where
    C: ProgramConfig,
    F: FnOnce(Arc<C>, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let signals = Signals::new()?;
    let (version, commit) = (build_info::VERSION, build_info::COMMIT);
    tracing::info!(program = program.name, version, commit, pid = std::process::id(), "starting");

    let process = Process::new();
    process.set_config_reading(reading);
    let mut predecessor = Predecessor::of_process().await.context("taking over")?;
    metrics::register_process(process.registry(), program.name);
    if let Some(addr) = config.process().admin {
        let passed = handover::admin(predecessor.as_mut());
        admin::start(&process, addr, passed, config::effective_json(&*config)?)?;
    }
    let is_following = predecessor.is_some();
    if let Some(predecessor) = predecessor {
        process.set_predecessor(predecessor);
    }
    let ready_file = config.process().ready_file.as_deref();
    let ready_file =
        ready_file.map(|path| ReadyFile::start(path, is_following, &process)).transpose()?;

    let grace = config.process().drain_grace;
    // In a block, so that a panic in `main` before its first await is caught as well.
    let main = async { main(config, process.clone()).await };
    let ended = supervise(&process, grace, signals, main).await;
    drop(ready_file);
    ended?;
    process.failure().map_or(Ok(()), |failure| Err(failure.into()))
}

/// Runs `main` to its end, or to the end of the grace, or to the second signal.
async fn supervise(
    process: &Process,
    grace: Duration,
    mut signals: Signals,
    main: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut main = pin!(AssertUnwindSafe(main).catch_unwind());
    let drain = process.drain();
    let mut grace_over = pin!(async {
        drain.started().await;
        tracing::info!(grace = %humantime::format_duration(grace), "draining");
        tokio::time::sleep(grace).await;
    });
    let mut signalled = false;
    loop {
        tokio::select! {
            ended = &mut main => {
                process.finish_tasks().await;
                return ended.unwrap_or_else(|panic| {
                    Err(anyhow!("main panicked: {}", panic_text(&*panic)))
                });
            }
            signal = signals.next() => {
                // The first signal after a drain from the admin port is no second signal: orchestrators send both.
                if signalled {
                    bail!("second signal, {signal}: ended at once");
                }
                tracing::info!(signal, "drain asked for by a signal");
                signalled = true;
                drain.begin();
            }
            () = &mut grace_over => {
                let failure = process.failure().as_ref().map(TaskFailure::to_string);
                bail!(
                    "the drain did not end within {}{}",
                    humantime::format_duration(grace),
                    failure.map(|failure| format!("; before it, {failure}")).unwrap_or_default()
                );
            }
        }
    }
}

/// The signals that ask a process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Prints what was asked for. A reader that went away is no failure.
fn show(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn refuse(program: &Program, error: &dyn Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}: {error}", program.name);
    ExitCode::from(REFUSED)
}

/// Exit code: started, and failed.
const FAILED: u8 = 1;
/// Exit code: the command line or the config is wrong; clap uses the same.
const REFUSED: u8 = 2;
/// How long blocking work may go on when all else has ended.
const BLOCKING_FINISH_MAX: Duration = Duration::from_secs(1);
