//! `tidegate release`: what was released, how far it is, and the way back.

use clap::Subcommand;

use super::{
    change::print_steps,
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash, time},
    watch::{Shown, show},
};
use crate::api::model::{
    Items, ReleaseAnswer, ReleaseNodeView, ReleaseView, RollbackRequest, StatusView, StepView,
};

/// What is done with releases.
#[derive(Subcommand)]
pub(super) enum ReleaseCommand {
    /// List the releases that are kept, the newest first
    List,
    /// Show a release and what it holds, as JSON
    Show {
        /// Its version
        version: u64,
    },
    /// Show what is different between two releases
    Diff {
        /// The version
        version: u64,
        /// The version before; without, the one below
        #[arg(long, value_name = "VERSION")]
        against: Option<u64>,
    },
    /// Show how far the roll-out is; exit code 1 while one is under way or a node is behind
    Status {
        /// Print again whenever something changes, until everybody has it
        #[arg(short, long)]
        watch: bool,
    },
    /// Begin the next stage now, whatever it waits for
    Promote,
    /// Stop the roll-out where it is; it still turns back when it does harm
    Pause,
    /// Let the roll-out go on by itself
    Resume,
    /// Release the content of an older version again, to everybody at once
    Rollback {
        /// The version
        version: u64,
    },
}

/// Runs a command on releases.
pub(super) async fn run(
    command: ReleaseCommand,
    client: &Client,
    out: &Output,
    consent: &Consent,
) -> Result<Exit, Failure> {
    match command {
        ReleaseCommand::List => {
            let list: Items<ReleaseView> = client.get("/v1/releases").await?;
            let header = ["VERSION", "CREATED", "AUTHOR", "CHANGE", "REPEATS", "REASON"];
            out.print(&list.items, header, |releases| releases.iter().map(row).collect())?;
        }
        ReleaseCommand::Show { version } => {
            let release: ReleaseView = client.get(&format!("/v1/releases/{version}")).await?;
            out.print_whole(&release, release.version)?;
        }
        ReleaseCommand::Diff { version, against } => {
            print_steps(&diff(version, against, client).await?, out)?;
        }
        ReleaseCommand::Status { watch } => return status(watch, client, out).await,
        ReleaseCommand::Promote => step("promote", client, out, consent).await?,
        ReleaseCommand::Pause => step("pause", client, out, consent).await?,
        ReleaseCommand::Resume => step("resume", client, out, consent).await?,
        ReleaseCommand::Rollback { version } => {
            let now: StatusView = client.get("/v1/releases/status").await?;
            print_steps(&diff(version, Some(now.version), client).await?, out)?;
            if consent.confirm(&version.to_string())? {
                let reason = consent.reason.clone().unwrap_or_default();
                let request = RollbackRequest { to: version, reason };
                let done: ReleaseAnswer = client.post("/v1/releases/rollback", &request).await?;
                let line = format!("version {} has the content of version {version}", done.version);
                out.note(&line);
            }
        }
    }
    Ok(Exit::Ok)
}

async fn diff(
    version: u64,
    against: Option<u64>,
    client: &Client,
) -> Result<Vec<StepView>, Failure> {
    let against = against.map(|against| format!("?against={against}")).unwrap_or_default();
    let steps: Items<StepView> =
        client.get(&format!("/v1/releases/{version}/diff{against}")).await?;
    Ok(steps.items)
}

async fn status(watch: bool, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let ask = async || client.get::<StatusView>("/v1/releases/status").await;
    show(watch, out, ask, |status| Ok(Shown::until_done(print_status(status, out)?))).await
}

/// Prints how far it is; true when it is everywhere.
fn print_status(status: &StatusView, out: &Output) -> Result<bool, Failure> {
    if let Some(rollout) = &status.rollout {
        let (target, stage, next) = (rollout.target, &rollout.stage, &rollout.next);
        let pops: Vec<_> = rollout.pops.iter().map(AsRef::as_ref).collect();
        let paused = if rollout.paused { ", paused" } else { "" };
        let at = pops.join(" ");
        out.note(&format!("version {target} at {stage}{paused}, on {at}: {next}"));
    } else {
        out.note(&format!("version {} is everywhere", status.version));
    }
    out.print(status, ["NODE", "CONNECTED", "WANTED", "RUNS", "REFUSED"], |status| {
        let row = |node: &ReleaseNodeView| {
            let refused = node.nack.as_ref();
            [
                node.node.clone(),
                if node.connected { "yes" } else { "no" }.to_owned(),
                node.wanted.to_string(),
                node.version.to_string(),
                or_dash(refused.map(|nack| format!("{}: {}", nack.generation, nack.error))),
            ]
        };
        status.nodes.iter().map(row).collect()
    })?;
    let is_behind = |node: &ReleaseNodeView| node.connected && node.version != node.wanted;
    Ok(status.rollout.is_none() && !status.nodes.iter().any(is_behind))
}

async fn step(verb: &str, client: &Client, out: &Output, consent: &Consent) -> Result<(), Failure> {
    if consent.goes_on() {
        let nothing = serde_json::Value::Null;
        let done: ReleaseAnswer = client.post(&format!("/v1/releases/{verb}"), &nothing).await?;
        out.note(&format!("version {}: {verb}", done.version));
    }
    Ok(())
}

fn row(release: &ReleaseView) -> [String; 6] {
    [
        release.version.to_string(),
        time(release.created_unix_ms),
        release.author.clone(),
        or_dash(release.change.clone()),
        or_dash(release.repeats),
        release.reason.clone(),
    ]
}
