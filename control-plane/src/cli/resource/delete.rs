//! `tidegate delete`: one resource, or all of a kind that a selector chooses.
//!
//! What goes is named before anything is asked. Several go in one change-set on the state that was shown: all of them, or
//! none when somebody changed one of them meanwhile.

use serde_json::{Value, json};
use tidegate_contract::resource::{Kind, ResourceName};

use super::{
    change_set,
    documents::{Document, path},
    list,
};
use crate::{
    api::model::{ChangeSetView, Items, ReleaseAnswer, StatusView, StepView},
    cli::{
        client::Client,
        consent::{Consent, DryRun},
        failure::{Exit, Failure},
        output::Output,
    },
    resource::Selector,
};

/// Deletes one resource.
pub(super) async fn one(
    kind: Kind,
    name: &ResourceName,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let document: Document = client.get(&path(kind, name)).await?;
    out.note(&format!("{kind}/{name} is deleted: PoPs no longer know it"));
    let tag = document.generation.map(|generation| format!("\"{generation}\""));
    if consent.dry_run() == Some(DryRun::Server) {
        let path = format!("{}?dry_run=true", document.path());
        let _: Value = client.remove(&path, tag).await?;
    } else if consent.confirm(name.as_str())? {
        let _: Value = client.remove(&document.path(), tag).await?;
        out.note(&format!("{kind}/{name} deleted"));
    }
    Ok(Exit::Ok)
}

/// Deletes all of a kind that a selector chooses; whoever confirms types the kind.
pub(super) async fn chosen(
    kind: Kind,
    selector: &Selector,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    // The version before the list: who publishes in between is not overwritten unseen.
    let base = client.find::<StatusView>("/v1/releases/status").await?.map(|status| status.version);
    let documents = list(kind, Some(selector), client).await?;
    if documents.is_empty() {
        out.note(&format!("{selector} chooses no {kind}: nothing is deleted"));
        return Ok(Exit::Ok);
    }
    for document in &documents {
        let name = &document.name;
        out.note(&format!("{kind}/{name} is deleted: PoPs no longer know it"));
    }
    let mut body = change_set(&format!("delete {kind} by labels"), consent, &[], &documents);
    if consent.dry_run() != Some(DryRun::Client) {
        let _: Items<StepView> = client.post("/v1/validate", &body).await?;
    }
    if consent.confirm(kind.as_str())? {
        body["base"] = json!(base);
        let set: ChangeSetView = client.post("/v1/changes", &body).await?;
        let publish = json!({"stage": "staged", "reason": set.reason});
        let path = format!("/v1/changes/{}/publish", set.id);
        let done: Result<ReleaseAnswer, _> = client.post(&path, &publish).await;
        let waits = |failure: Failure| failure.with_hint(format!("change {} waits", set.id));
        let version = done.map_err(waits)?.version;
        out.note(&format!("{} deleted with version {version}", documents.len()));
    }
    Ok(Exit::Ok)
}
