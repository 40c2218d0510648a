//! `tidegate apply`: what is there becomes what files say, in one change-set.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{
    Files, change_set,
    documents::{Document, read_all},
    plan::{done, outline},
    pruned,
};
use crate::{
    api::model::{ChangeSetView, Items, ReleaseAnswer, StatusView, StepView},
    cli::{
        arrival,
        client::Client,
        consent::{Consent, DryRun},
        failure::{Exit, Failure},
        output::Output,
    },
};

/// How to apply.
#[derive(Args)]
pub(in crate::cli) struct ApplyArgs {
    #[command(flatten)]
    files: Files,
    /// Delete what is there, of the kinds in the files, and not in them
    #[arg(long)]
    prune: bool,
    /// How the release goes out
    #[arg(long, value_enum, default_value_t = Stage::Staged)]
    stage: Stage,
    /// Leave the change-set for somebody to publish
    #[arg(long)]
    no_publish: bool,
    /// Exit code 10 when something was changed, 0 when nothing had to be
    #[arg(long)]
    detailed_exitcode: bool,
    /// Wait until every connected node runs it, with a canary those of that one; exit code 6 when a node refuses it or it is
    /// taken back, 7 when the deadline is over
    #[arg(long, conflicts_with = "no_publish")]
    wait: bool,
    /// The longest wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    deadline: Duration,
}

/// How a release goes out.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum Stage {
    /// To the canary alone, until it is promoted
    Canary,
    /// Step by step
    Staged,
    /// To every PoP at once
    Fast,
}

/// Applies files.
pub(super) async fn apply(
    args: ApplyArgs,
    client: impl FnOnce() -> Result<Client, Failure>,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let wanted = read_all(&args.files.files)?;
    if consent.dry_run() == Some(DryRun::Client) {
        return check(&wanted, args.prune, out);
    }
    let client = &client()?;
    let base = client.find::<StatusView>("/v1/releases/status").await?.map(|status| status.version);
    let deletes = pruned(&wanted, args.prune, client).await?;
    let mut body = change_set("apply", consent, &wanted, &deletes);
    let steps: Items<StepView> = client.post("/v1/validate", &body).await?;
    let steps = steps.items;
    for step in &steps {
        out.note(&format!("{}/{} is {}", step.kind, step.name, done(step.act)));
    }
    out.note(&outline(&steps, wanted.len()));
    let changed = if args.detailed_exitcode { Exit::Changed } else { Exit::Ok };
    if steps.is_empty() {
        return Ok(Exit::Ok);
    }
    if !consent.goes_on() {
        return Ok(changed);
    }
    if !deletes.is_empty() {
        consent.confirm("prune")?;
    }
    // Whoever publishes one of these in between is not overwritten unseen.
    body["base"] = json!(base);
    let change: ChangeSetView = client.post("/v1/changes", &body).await?;
    let id = &change.id;
    if args.no_publish {
        out.print_line(&change, id, |_| format!("change {id} waits"))?;
        return Ok(changed);
    }
    let publish =
        json!({"stage": args.stage, "reason": consent.reason.as_deref().unwrap_or("apply")});
    let published: Result<ReleaseAnswer, _> =
        client.post(&format!("/v1/changes/{id}/publish"), &publish).await;
    let published = published.map_err(|failure| {
        let hint = match failure.hint() {
            Some(hint) => format!("{hint}; change {id} waits"),
            None => format!("change {id} waits"),
        };
        failure.with_hint(hint)
    })?;
    out.print_line(&published, id, |_| format!("change {id} published"))?;
    if args.wait {
        arrival::wait(published.version, args.deadline, client, out).await?;
    }
    Ok(changed)
}

/// What can be said of files alone.
fn check(wanted: &[Document], prune: bool, out: &Output) -> Result<Exit, Failure> {
    if prune {
        let failure = Failure::new(Exit::Usage, "what there is to prune the control plane knows");
        return Err(failure.with_hint("--dry-run=server shows the plan"));
    }
    wanted.iter().try_for_each(Document::check)?;
    for document in wanted {
        out.note(&format!("{}/{} can be sent", document.kind, document.name));
    }
    out.note(&format!("{} resources are good; nothing was compared", wanted.len()));
    Ok(Exit::Ok)
}
