//! The smallest program on the chassis: a port that answers with a greeting, and a task to make it fail by.
//!
//! It shows how a program is put together, and the tests of the chassis run it as a process of its own.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Parser;
use serde::{Deserialize, Serialize};
use tidegate_chassis::{
    ACCESS, ConfigArgs, Process, ProcessConfig, Program, ProgramConfig, Secret, metrics,
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let overrides = cli.listen.map(|addr| toml::toml! { listen = (addr.to_string()) });
    tidegate_chassis::run(&PROGRAM, &cli.config, overrides.unwrap_or_default(), serve)
}

async fn serve(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    let greeted =
        metrics::counter(process.registry(), "specimen_greetings_total", "Greetings sent.");
    let listener = TcpListener::bind(config.listen).await.context("listen")?;
    process.announce("greeting", listener.local_addr()?);
    let drain = process.drain();

    let failure = config.failure;
    process.spawn("fragile", {
        let drain = drain.clone();
        async move {
            match failure {
                Failure::Error => anyhow::bail!("broken by config"),
                Failure::Panic => panic!("broken by config"),
                Failure::Return => Ok(()),
                Failure::None | Failure::Main | Failure::Hang => {
                    drain.started().await;
                    Ok(())
                }
            }
        }
    });
    anyhow::ensure!(failure != Failure::Main, "broken by config");
    process.ready("greeting").set(true);

    loop {
        tokio::select! {
            accepted = listener.accept() => {
                accepted?.0.write_all(config.greeting.as_bytes()).await?;
                greeted.inc();
                tracing::info!(target: ACCESS, "greeted");
            }
            () = drain.started(), if failure != Failure::Hang => return Ok(()),
        }
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    /// Listen here
    #[arg(long)]
    listen: Option<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    process: ProcessConfig,
    listen: SocketAddr,
    greeting: String,
    token: Secret,
    failure: Failure,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Failure {
    None,
    Error,
    Panic,
    Return,
    Main,
    Hang,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            process: ProcessConfig::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            greeting: "hello\n".to_owned(),
            token: Secret::default(),
            failure: Failure::None,
        }
    }
}

impl ProgramConfig for Config {
    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.greeting.is_empty(), "greeting is empty");
        Ok(())
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

const PROGRAM: Program = Program { name: "specimen", env_prefix: "SPECIMEN" };
