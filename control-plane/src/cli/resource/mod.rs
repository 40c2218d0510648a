//! `tidegate get, describe, explain, apply, diff, validate, edit, delete, export`: resources of any kind.
//!
//! What a file says is compared with what is there, the plan is shown, and one change-set does all of it or nothing. A
//! change-set names the state that the plan was made on, so that nobody's change is overwritten unseen.

mod which; // KIND NAME or KIND/NAME
mod get;
mod apply;
mod export;
mod edit;
mod delete;
mod explain;
mod shape; // the fields of specs
mod plan;
mod documents;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_contract::resource::Kind;

use self::{
    apply::ApplyArgs,
    documents::{Document, list_path, path, read_all},
    plan::{differences, surplus},
    which::Which,
};
use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, yaml},
};
use crate::{
    api::model::{Items, StepView},
    resource::Selector,
};

/// What is done with resources of any kind.
#[derive(Subcommand)]
pub(super) enum ResourceCommand {
    /// List resources of a kind, or show one
    Get {
        #[command(flatten)]
        which: Which,
        /// Only those whose labels it chooses: name=value, name!=value, name, !name, joined by commas
        #[arg(short = 'l', long, value_name = "SELECTOR")]
        selector: Option<Selector>,
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Show everything that is known of one resource
    Describe {
        #[command(flatten)]
        which: Which,
    },
    /// Say what a kind of resource is, or a field of one: what it takes, what it is without, why it is there
    Explain {
        /// A kind, or a field of one, like property.cache.default_ttl
        #[arg(value_name = "KIND[.FIELD]")]
        what: String,
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
    /// Check files, without a server; with --on-server also against what is there
    Validate {
        #[command(flatten)]
        files: Files,
        /// Ask the control plane as well; nothing is kept
        #[arg(long = "on-server")]
        on_server: bool,
    },
    /// Change one resource in an editor
    Edit {
        #[command(flatten)]
        which: Which,
    },
    /// Delete one resource, or all of a kind that a selector chooses, in one change-set
    Delete {
        #[command(flatten)]
        which: Which,
        /// All of the kind whose labels it chooses
        #[arg(short = 'l', long, value_name = "SELECTOR")]
        selector: Option<Selector>,
    },
    /// Write resources as files that apply takes
    Export {
        /// Kinds; all when none is named
        kinds: Vec<Kind>,
        /// Only those whose labels it chooses: name=value, name!=value, name, !name, joined by commas
        #[arg(short = 'l', long, value_name = "SELECTOR")]
        selector: Option<Selector>,
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

/// Runs a command on resources.
pub(super) async fn run(
    command: ResourceCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        ResourceCommand::Explain { what } => out.print_text(&explain::explain(&what)?)?,
        ResourceCommand::Validate { files, on_server } => {
            let documents = read_all(&files.files)?;
            documents.iter().try_for_each(Document::check)?;
            if on_server {
                let body = change_set("validate", consent, &documents, &[]);
                let _: Value = client()?.post("/v1/validate", &body).await?;
            }
            out.note(&format!("{} resources are good", documents.len()));
        }
        ResourceCommand::Get { which, selector, watch } => {
            let (kind, name) = which.any()?;
            return get::get(kind, name, selector, watch, &client()?, out).await;
        }
        ResourceCommand::Describe { which } => {
            let (kind, name) = which.one()?;
            let document: Document = client()?.get(&path(kind, &name)).await?;
            if out.is_names() {
                out.print_text(document.name.as_str())?;
            } else if out.is_for_people() {
                out.print_text(&yaml(&document)?)?;
            } else {
                out.print_json(&document)?;
            }
        }
        ResourceCommand::Apply(args) => return apply::apply(args, client, consent, out).await,
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
        ResourceCommand::Edit { which } => {
            let (kind, name) = which.one()?;
            return edit::edit(kind, &name, &client()?, consent, out).await;
        }
        ResourceCommand::Delete { which, selector: None } => {
            let (kind, name) = which.one()?;
            return delete::one(kind, &name, &client()?, consent, out).await;
        }
        ResourceCommand::Delete { which, selector: Some(selector) } => {
            let kind = which.all()?;
            return delete::chosen(kind, &selector, &client()?, consent, out).await;
        }
        ResourceCommand::Export { kinds, selector, to } => {
            return export::export(kinds, selector, to, &client()?, out).await;
        }
    }
    Ok(Exit::Ok)
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
        there.extend(list(kind, None, client).await?);
    }
    Ok(surplus(&there, wanted).into_iter().cloned().collect())
}

async fn list(
    kind: Kind,
    selector: Option<&Selector>,
    client: &Client,
) -> Result<Vec<Document>, Failure> {
    let list: Items<Document> = client.get(&list_path(kind, selector)).await?;
    Ok(list.items)
}

fn change_set(title: &str, consent: &Consent, puts: &[Document], deletes: &[Document]) -> Value {
    let put = |document: &Document| {
        let mut put = json!({
            "kind": document.kind, "name": document.name, "spec": document.spec,
        });
        if let Some(labels) = &document.labels {
            put["labels"] = json!(labels);
        }
        put
    };
    let delete = |document: &Document| json!({"kind": document.kind, "name": document.name});
    json!({
        "title": title,
        "reason": consent.reason.as_deref().unwrap_or(title),
        "puts": puts.iter().map(put).collect::<Vec<_>>(),
        "deletes": deletes.iter().map(delete).collect::<Vec<_>>(),
    })
}
