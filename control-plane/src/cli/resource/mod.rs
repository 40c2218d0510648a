//! `tidegate get, describe, explain, apply, diff, validate, edit, delete, export`: resources of any kind.
//!
//! What a file says is compared with what is there, the plan is shown, and one change-set does all of it or nothing. A
//! change-set names the state that the plan was made on, so that nobody's change is overwritten unseen.

mod edit;
mod explain;
mod plan;
mod documents;

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_contract::resource::{Kind, ResourceName};
use tokio::time::sleep;

use self::{
    documents::{Document, path, read_all},
    plan::{differences, done, outline, surplus},
};
use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash, yaml},
};
use crate::api::model::{Items, StatusView, StepView};

/// What is done with resources of any kind.
#[derive(Subcommand)]
pub(super) enum ResourceCommand {
    /// List resources of a kind, or show one
    Get {
        /// The kind: property, origin, cache_policy, certificate, pop, node, prefix, anycast_group, …
        kind: Kind,
        /// One of them
        name: Option<ResourceName>,
        /// Print again whenever something changes
        #[arg(short, long)]
        watch: bool,
    },
    /// Show everything that is known of one resource
    Describe {
        /// Its kind
        kind: Kind,
        /// Its name
        name: ResourceName,
    },
    /// Say what a kind of resource is
    Explain {
        /// The kind
        kind: Kind,
    },
    /// Make what is there as files say, in one change-set; shows the plan first
    Apply(ApplyArgs),
    /// Show what apply would change; exit code 0 when nothing, 1 when something
    Diff {
        #[command(flatten)]
        files: Files,
        /// Also what is there, of the kinds in the files, and not in them
        #[arg(long)]
        prune: bool,
    },
    /// Check files, without a server; with --server also against what is there
    Validate {
        #[command(flatten)]
        files: Files,
        /// Ask the control plane as well; nothing is kept
        #[arg(long = "on-server")]
        on_server: bool,
    },
    /// Change one resource in an editor
    Edit {
        /// Its kind
        kind: Kind,
        /// Its name
        name: ResourceName,
    },
    /// Delete one resource
    Delete {
        /// Its kind
        kind: Kind,
        /// Its name
        name: ResourceName,
    },
    /// Write resources as files that apply takes
    Export {
        /// Kinds; all when none is named
        kinds: Vec<Kind>,
        /// A folder to write one file each into, instead of standard output
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// Where documents are.
#[derive(Args)]
pub(super) struct Files {
    /// Files and folders of TOML, JSON and YAML; - reads standard input
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How to apply.
#[derive(Args)]
pub(super) struct ApplyArgs {
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
pub(super) enum Stage {
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

/// Runs a command on resources.
pub(super) async fn run(
    command: ResourceCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        ResourceCommand::Explain { kind } => out.print_text(&explain::explain(kind))?,
        ResourceCommand::Validate { files, on_server } => {
            let documents = read_all(&files.files)?;
            documents.iter().try_for_each(Document::check)?;
            if on_server {
                let body = change_set("validate", consent, &documents, &[]);
                let _: Value = client()?.post("/v1/validate", &body).await?;
            }
            out.note(&format!("{} resources are good", documents.len()));
        }
        ResourceCommand::Get { kind, name, watch } => {
            return get(kind, name.as_ref(), watch, &client()?, out).await;
        }
        ResourceCommand::Describe { kind, name } => {
            let document: Document = client()?.get(&path(kind, &name)).await?;
            if out.is_for_people() {
                out.print_text(&yaml(&document)?)?;
            } else {
                out.print_json(&document)?;
            }
        }
        ResourceCommand::Apply(args) => return apply(args, &client()?, consent, out).await,
        ResourceCommand::Diff { files, prune } => {
            let client = client()?;
            let wanted = read_all(&files.files)?;
            let body =
                change_set("diff", consent, &wanted, &pruned(&wanted, prune, &client).await?);
            let steps: Items<StepView> = client.post("/v1/validate", &body).await?;
            if !steps.items.is_empty() {
                out.print_text(&differences(&steps.items))?;
                return Ok(Exit::Failed);
            }
        }
        ResourceCommand::Edit { kind, name } => {
            return edit::edit(kind, &name, &client()?, consent, out).await;
        }
        ResourceCommand::Delete { kind, name } => {
            let client = client()?;
            let document: Document = client.get(&path(kind, &name)).await?;
            out.note(&format!("{kind}/{name} is deleted: PoPs no longer know it"));
            if consent.confirm(name.as_str())? {
                let tag = document.generation.map(|generation| format!("\"{generation}\""));
                let _: Value = client.remove(&document.path(), tag).await?;
                out.note(&format!("{kind}/{name} deleted"));
            }
        }
        ResourceCommand::Export { kinds, to } => return export(kinds, to, &client()?, out).await,
    }
    Ok(Exit::Ok)
}

async fn get(
    kind: Kind,
    name: Option<&ResourceName>,
    watch: bool,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let mut shown = None;
    loop {
        let documents = match name {
            Some(name) => vec![client.get::<Document>(&path(kind, name)).await?],
            None => list(kind, client).await?,
        };
        let now = serde_json::to_value(&documents).ok();
        if shown != now {
            shown = now;
            print(&documents, name.is_some(), out)?;
        }
        if !watch {
            return Ok(Exit::Ok);
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn print(documents: &[Document], is_one: bool, out: &Output) -> Result<(), Failure> {
    // One that was asked for by its name is an object, not a list of one.
    if is_one && !out.is_for_people() {
        return match documents {
            [one] => out.print(one, ["NAME"], |one| vec![[one.name.to_string()]]),
            _ => Ok(()),
        };
    }
    let width = if out.is_wide() { SUMMARY_CHARS_WIDE } else { SUMMARY_CHARS };
    out.print(&documents, ["NAME", "GENERATION", "SPEC"], |documents| {
        let row = |document: &Document| {
            let summary = summary(&document.spec, width);
            [document.name.to_string(), or_dash(document.generation), summary]
        };
        documents.iter().map(row).collect()
    })
}

/// The plain fields of a spec, as far as they fit.
fn summary(spec: &Value, width: usize) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            Some(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        }
        _ => None,
    };
    let fields = spec.as_object().into_iter().flatten();
    let words = fields.filter_map(|(name, value)| Some(format!("{name}={}", word(value)?)));
    let line = words.collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
    if line.chars().count() <= width {
        return line;
    }
    line.chars().take(width - 1).chain(['…']).collect()
}

async fn apply(
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

/// What is there and not wanted, when that is to go.
async fn pruned(
    wanted: &[Document],
    prune: bool,
    client: &Client,
) -> Result<Vec<Document>, Failure> {
    let mut there = Vec::new();
    let mut kinds: Vec<_> = wanted.iter().map(|document| document.kind).collect();
    kinds.dedup();
    for kind in kinds.into_iter().filter(|_| prune) {
        there.extend(list(kind, client).await?);
    }
    Ok(surplus(&there, wanted).into_iter().cloned().collect())
}

async fn list(kind: Kind, client: &Client) -> Result<Vec<Document>, Failure> {
    let list: Items<Document> = client.get(&format!("/v1/resources/{kind}")).await?;
    Ok(list.items)
}

fn change_set(title: &str, consent: &Consent, puts: &[Document], deletes: &[Document]) -> Value {
    let put = |document: &Document| json!({"kind": document.kind, "name": document.name, "spec": document.spec});
    let delete = |document: &Document| json!({"kind": document.kind, "name": document.name});
    json!({
        "title": title,
        "reason": consent.reason.as_deref().unwrap_or(title),
        "puts": puts.iter().map(put).collect::<Vec<_>>(),
        "deletes": deletes.iter().map(delete).collect::<Vec<_>>(),
    })
}

async fn export(
    kinds: Vec<Kind>,
    to: Option<PathBuf>,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let kinds = if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds };
    let mut documents = Vec::new();
    for kind in kinds {
        documents.extend(list(kind, client).await?);
    }
    for document in &mut documents {
        (document.generation, document.status) = (None, None);
    }
    let Some(folder) = to else {
        if out.is_for_people() {
            let texts = documents.iter().map(yaml).collect::<Result<Vec<_>, _>>()?;
            out.print_text(&texts.join("---\n"))?;
        } else {
            out.print_json(&documents)?;
        }
        return Ok(Exit::Ok);
    };
    for document in &documents {
        let place = folder.join(document.kind.as_str());
        let file = place.join(format!("{}.yaml", document.name));
        let written = fs::create_dir_all(&place).and_then(|()| {
            fs::write(
                &file,
                yaml(document).map_err(|error| std::io::Error::other(error.to_string()))?,
            )
        });
        written
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", file.display())))?;
    }
    out.note(&format!("{} resources written to {}", documents.len(), folder.display()));
    Ok(Exit::Ok)
}

const LOOK_AGAIN: Duration = Duration::from_secs(2);
const SUMMARY_CHARS: usize = 60;
const SUMMARY_CHARS_WIDE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_that_fits() {
        let spec = json!({"role": "edge", "hosts": ["a", "b"], "deep": {"x": 1}, "n": 3});
        assert_eq!(summary(&spec, 60).split(' ').count(), 3);
        assert!(summary(&spec, 60).contains("hosts=a,b"));
        assert_eq!(summary(&json!({"a": "x\ny".repeat(50)}), 10).chars().count(), 10);
    }
}
