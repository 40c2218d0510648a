//! `tidegate apply`: what is there becomes what files say, in one change-set.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Files, change_set,
    documents::read_all,
    plan::{done, outline},
    pruned,
};
use crate::{
    api::model::{Items, StatusView, StepView},
    cli::{
        client::Client,
        consent::Consent,
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

/// A change-set, as far as this needs it.
#[derive(Deserialize, Serialize)]
struct Change {
    id: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Applies files.
pub(super) async fn apply(
    args: ApplyArgs,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let wanted = read_all(&args.files.files)?;
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
    if consent.is_dry_run {
        return Ok(changed);
    }
    if !deletes.is_empty() {
        consent.confirm("prune")?;
    }
    // Whoever publishes one of these in between is not overwritten unseen.
    body["base"] = json!(base);
    let change: Change = client.post("/v1/changes", &body).await?;
    if args.no_publish {
        out.print_line(&change, |change| format!("change {} waits", change.id))?;
    } else {
        let publish =
            json!({"stage": args.stage, "reason": consent.reason.as_deref().unwrap_or("apply")});
        let published: Result<Value, _> =
            client.post(&format!("/v1/changes/{}/publish", change.id), &publish).await;
        let published = published.map_err(|failure| {
            let hint = match failure.hint() {
                Some(hint) => format!("{hint}; change {} waits", change.id),
                None => format!("change {} waits", change.id),
            };
            failure.with_hint(hint)
        })?;
        out.print_line(&published, |_| format!("change {} published", change.id))?;
    }
    Ok(changed)
}
