//! `/v1/changes`: drafts that become releases, or do not.
//!
//! What a change-set does is always told against what is there now; conflicts with what others published since it was
//! drafted stand beside it. Secrets are shown as fingerprints.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use tidegate_contract::{id::Generation, resource::ResourceKey};

use super::{
    Api,
    auth::{Caller, digest_of},
    error::ApiError,
    model::{ChangeRequest, ChangeSetView, Items, PublishRequest, ReleaseAnswer, StepView},
    request::Json,
    resources,
};
use crate::{
    access::{Danger, Verb},
    change::{ChangeSet, Wish, plan},
    release::{Draft, Publish, ReleaseError, reports},
    resource::{Labels, State as Resources, shown},
    rollout::{Pace, turns},
    token::Scope,
};

/// `POST /v1/validate`
pub(super) async fn validate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Json(body): Json<ChangeRequest>,
) -> Result<axum::Json<Items<StepView>>, ApiError> {
    caller.require(Scope::Read)?;
    let head = api.parts.releases.head()?;
    let mut wish = wish(body);
    wish.saw(&head.state);
    let planned = plan(&head.state, &wish, Generation(head.version().0 + 1))?;
    let items = step_views(&head.state, &planned.state);
    Ok(axum::Json(Items { items }))
}

/// `POST /v1/changes`
pub(super) async fn draft(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Json(body): Json<ChangeRequest>,
) -> Result<Response, ApiError> {
    wish_allowed(&caller, &body)?;
    let (title, reason) = (text("title", &body.title)?, text("reason", &body.reason)?);
    let base = body.base.map(Generation);
    let author = caller.person().to_owned();
    let draft = Draft { title: &title, reason: &reason, author: &author, base, wish: wish(body) };
    let set = api.parts.releases.draft(draft).await?;
    caller.audit("draft change-set", &set.id);
    Ok((StatusCode::CREATED, axum::Json(view(&api, &set)?)).into_response())
}

/// `GET /v1/changes`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<Items<ChangeSetView>>, ApiError> {
    caller.require(Scope::Read)?;
    let sets = api.parts.releases.change_sets().await?;
    let items = sets.iter().map(plain).collect();
    Ok(axum::Json(Items { items }))
}

/// `GET /v1/changes/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<ChangeSetView>, ApiError> {
    caller.require(Scope::Read)?;
    let (set, _) = api.parts.releases.change_set(&id).await?;
    Ok(axum::Json(view(&api, &set)?))
}

/// `POST /v1/changes/{id}/approve`
pub(super) async fn approve(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<ChangeSetView>, ApiError> {
    caller.require_verb(Verb::ReleaseWrite, "")?;
    let who = caller.person().to_owned();
    let set = api.parts.releases.move_set(&id, |set| set.approve(&who)).await?;
    caller.audit("approve change-set", &id);
    Ok(axum::Json(plain(&set)))
}

/// `POST /v1/changes/{id}/abandon`
pub(super) async fn abandon(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<ChangeSetView>, ApiError> {
    caller.require_verb(Verb::ConfigWrite, "")?;
    let set = api.parts.releases.move_set(&id, ChangeSet::abandon).await?;
    caller.audit("abandon change-set", &id);
    Ok(axum::Json(plain(&set)))
}

/// `POST /v1/changes/{id}/publish`
pub(super) async fn publish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<PublishRequest>,
) -> Result<axum::Json<ReleaseAnswer>, ApiError> {
    caller.require_verb(Verb::ReleaseWrite, "")?;
    let (set, revision) = api.parts.releases.change_set(&id).await?;
    set.check_alive().map_err(ReleaseError::from)?;
    caller.reason(&body.reason);
    if body.stage == Pace::Fast {
        let digest = digest_of(&set.wish);
        api.danger(&caller, Danger::PublishFast, &format!("change/{id}"), &digest, &headers)
            .await?;
    }
    let reason = if body.reason.is_empty() { set.reason.clone() } else { body.reason };
    let reason = text("reason", &reason)?;
    let reports = reports(&api.parts.fleet);
    let publish = Publish {
        wish: &set.wish,
        pace: body.stage,
        author: caller.person(),
        reason: &reason,
        set: Some((&set, revision)),
        is_dry: false,
        steers: api.steers(),
        reports: &reports,
    };
    let published = api.parts.releases.publish(publish).await?;
    if published.is_change() {
        resources::forget_gone(&api, &set.wish).await?;
    } else {
        // Somebody else did just that: nothing is left to release.
        let version = published.version.0;
        api.parts.releases.move_set(&id, |set| set.publish(version)).await?;
    }
    caller.audit("publish change-set", &id);
    let version = published.version.0;
    Ok(axum::Json(ReleaseAnswer { version, changed: published.is_change() }))
}

/// What is different between two states, as people see it.
pub(super) fn step_views(from: &Resources, to: &Resources) -> Vec<StepView> {
    let steps = crate::change::steps_between(from, to);
    let view = |step: crate::change::Step| StepView {
        before: from.entries.get(&step.key).map(shown),
        after: to.entries.get(&step.key).map(shown),
        labels_before: labels(from, &step.key),
        labels_after: labels(to, &step.key),
        kind: step.key.kind,
        name: step.key.name,
        act: step.act,
    };
    steps.into_iter().map(view).collect()
}

fn labels(of: &Resources, key: &ResourceKey) -> Labels {
    of.entries.get(key).map(|entry| entry.labels.clone()).unwrap_or_default()
}

/// A text that people write: short, and on one line.
pub(super) fn text(what: &str, text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(ApiError::Invalid(format!(
            "{what}: 1 to {TEXT_BYTES_MAX} bytes on one line are needed"
        )));
    }
    Ok(text.to_owned())
}

/// Whoever drafts must be allowed to write each of the resources.
fn wish_allowed(caller: &Caller, body: &ChangeRequest) -> Result<(), ApiError> {
    let puts = body.puts.iter().map(|put| format!("{}/{}", put.kind, put.name));
    let keys = puts.chain(body.deletes.iter().map(ToString::to_string));
    for key in keys {
        caller.require_verb(Verb::ConfigWrite, &key)?;
    }
    Ok(())
}

fn wish(body: ChangeRequest) -> Wish {
    Wish { puts: body.puts, deletes: body.deletes, ..Wish::default() }
}

/// A change-set with what it would do now.
fn view(api: &Api, set: &ChangeSet) -> Result<ChangeSetView, ApiError> {
    let mut view = plain(set);
    if set.check_alive().is_err() {
        return Ok(view);
    }
    let head = api.parts.releases.head()?;
    match plan(&head.state, &set.wish, Generation(head.version().0 + 1)) {
        Ok(planned) => {
            let words = turns(&planned.steps, api.steers());
            view.turns = words.iter().map(|turn| turn.as_str().to_owned()).collect();
            view.steps = step_views(&head.state, &planned.state);
        }
        Err(error) => view.conflict = Some(error.to_string()),
    }
    Ok(view)
}

fn plain(set: &ChangeSet) -> ChangeSetView {
    ChangeSetView {
        id: set.id.clone(),
        title: set.title.clone(),
        reason: set.reason.clone(),
        author: set.author.clone(),
        created_unix_ms: set.created_unix_ms,
        base: set.base,
        state: set.state,
        approved_by: set.approved_by.clone(),
        version: set.version,
        resources: set.wish.keys().map(|key| key.to_string()).collect(),
        turns: Vec::new(),
        steps: Vec::new(),
        conflict: None,
    }
}

const TEXT_BYTES_MAX: usize = 500;
