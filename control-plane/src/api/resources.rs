//! `/v1/resources`: every kind of resource by one face.
//!
//! A change of one resource is a change-set of one that is published to everybody at once. The entity tag of a
//! resource is its generation; a change that names an older one is refused. Nobody reads a secret here.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use tidegate_contract::{
    id::{Generation, PopId},
    resource::{Kind, ResourceKey, ResourceName},
};

use super::{
    Api, Parts,
    auth::Caller,
    error::ApiError,
    model::{Items, ResourceView},
    pops::changed,
    request::{self, Json},
};
use crate::{
    access::Verb,
    change::Wish,
    release::{self, Publish, reports},
    resource::{Entry, Labels, Selector, shown},
    rollout::Pace,
    token::Scope,
};

/// What a change did, or would do.
pub(super) struct Change {
    /// Whether anything is different from before.
    pub(super) changed: bool,
    /// Whether the thing was not there before.
    pub(super) created: bool,
    /// The version after the change.
    pub(super) generation: Generation,
}

/// The query of a change.
#[derive(Deserialize)]
pub(super) struct ChangeQuery {
    #[serde(default)]
    dry_run: bool,
}

/// The body of `PUT /v1/resources/{kind}/{name}`: a resource as it is shown; only the spec and the labels count.
#[derive(Deserialize)]
pub(super) struct PutRequest {
    spec: Value,
    /// Absent: those that it has.
    labels: Option<Labels>,
}

/// The query of `GET /v1/resources/{kind}`.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    /// Only resources that it chooses.
    labels: Option<String>,
}

/// `GET /v1/resources/{kind}`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(kind): Path<String>,
    Query(ListQuery { labels }): Query<ListQuery>,
) -> Result<axum::Json<Items<ResourceView>>, ApiError> {
    caller.require(Scope::Read)?;
    let kind = self::kind(&kind)?;
    let selector = labels.map(|text| text.parse::<Selector>()).transpose();
    let selector = selector.map_err(|error| ApiError::Invalid(error.to_string()))?;
    let selector = selector.unwrap_or_default();
    let head = api.parts.releases.head()?;
    let chosen = head.state.of_kind(kind).filter(|(_, entry)| selector.chooses(&entry.labels));
    let items = chosen.map(|(name, entry)| view(kind, name, entry)).collect();
    Ok(axum::Json(Items { items }))
}

/// `GET /v1/resources/{kind}/{name}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    caller.require(Scope::Read)?;
    let key = key(&kind, &name)?;
    let head = api.parts.releases.head()?;
    let entry = head.state.entries.get(&key);
    let entry = entry.ok_or(ApiError::NotFound { what: key.kind.as_str(), id: name })?;
    let tag = format!("\"{}\"", entry.generation);
    let view = view(key.kind, &key.name, entry);
    Ok(([(header::ETAG, tag)], axum::Json(view)).into_response())
}

/// `PUT /v1/resources/{kind}/{name}`
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
    Query(ChangeQuery { dry_run }): Query<ChangeQuery>,
    headers: HeaderMap,
    Json(body): Json<PutRequest>,
) -> Result<Response, ApiError> {
    let kind = self::kind(&kind)?;
    let name = ResourceName::parse(name).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let subject = ResourceKey::new(kind, name.clone());
    caller.require_verb(Verb::ConfigWrite, &subject.to_string())?;
    let mut wish = Wish::put(kind, name, body.spec);
    wish.puts.iter_mut().for_each(|put| put.labels.clone_from(&body.labels));
    let expected = request::if_match(&headers)?;
    let change = publish(&api, &caller, wish, expected, dry_run).await?;
    if !dry_run {
        caller.audit("put resource", &subject.to_string());
    }
    Ok(changed(subject.name.into(), change, dry_run))
}

/// `DELETE /v1/resources/{kind}/{name}`
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
    Query(ChangeQuery { dry_run }): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = key(&kind, &name)?;
    caller.require_verb(Verb::ConfigWrite, &key.to_string())?;
    let expected = request::if_match(&headers)?;
    let change = publish(&api, &caller, Wish::delete(key.clone()), expected, dry_run).await?;
    if !dry_run {
        caller.audit("delete resource", &key.to_string());
    }
    Ok(changed(name, change, dry_run))
}

/// Publishes a change of one resource to everybody at once.
pub(super) async fn publish(
    api: &Api,
    caller: &Caller,
    mut wish: Wish,
    expected: Option<Generation>,
    is_dry: bool,
) -> Result<Change, ApiError> {
    if let Some(expected) = expected {
        wish.seen = wish.keys().map(|key| (key, expected)).collect();
    }
    let reports = reports(&api.parts.fleet);
    let publish = Publish {
        wish: &wish,
        pace: Pace::Fast,
        author: caller.person(),
        reason: "a change of one resource",
        set: None,
        is_dry,
        steers: api.steers(),
        reports: &reports,
    };
    let published = api.parts.releases.publish(publish).await?;
    if is_dry {
        caller.plans();
    } else {
        forget_gone(api, &wish).await?;
    }
    Ok(Change {
        changed: published.is_change(),
        created: published.is_creation(),
        generation: published.version,
    })
}

/// Forgets the nodes of PoPs that were taken away, before that is answered.
pub(super) async fn forget_gone(api: &Api, wish: &Wish) -> Result<(), ApiError> {
    let Parts { releases, fleet, store, .. } = &api.parts;
    let pops = wish.keys().filter(|key| key.kind == Kind::Pop);
    let pops = pops.filter_map(|key| PopId::parse(key.name.as_str()).ok());
    Ok(release::forget_gone(releases, fleet, store, pops.collect::<Vec<_>>()).await?)
}

/// Reads a kind out of a path.
pub(super) fn kind(text: &str) -> Result<Kind, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound {
        what: "kind of resource",
        id: text.chars().take(64).collect(),
    })
}

/// Reads kind and name out of a path.
pub(super) fn key(kind: &str, name: &str) -> Result<ResourceKey, ApiError> {
    let kind = self::kind(kind)?;
    let id = || name.chars().take(64).collect();
    let name = ResourceName::parse(name)
        .map_err(|_| ApiError::NotFound { what: kind.as_str(), id: id() })?;
    Ok(ResourceKey::new(kind, name))
}

fn view(kind: Kind, name: &ResourceName, entry: &Entry) -> ResourceView {
    ResourceView {
        kind,
        name: name.clone(),
        generation: entry.generation.0,
        spec: shown(entry),
        labels: entry.labels.clone(),
    }
}
