//! `/v1/properties`: the properties that every PoP serves.
//!
//! A property's entity tag is the generation of its last change; a change that names an older one is refused, so
//! that two operators never overwrite each other unseen. Nobody reads a secret here: its fingerprint stands in its
//! place, and what is sent back with it keeps the secret that is stored.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tidegate_contract::{id::PropertyId, property::Property, resource_spec::PropertySpec};

use super::{
    Api,
    auth::Caller,
    error::ApiError,
    model::{PropertyList, PropertyView},
    pops::changed,
    request::{self, Json},
    resources,
};
use crate::{access::Verb, change::Wish, token::Scope};

/// `GET /v1/properties`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<PropertyList>, ApiError> {
    caller.require(Scope::Read)?;
    Ok(axum::Json(PropertyList { properties: views(&api)? }))
}

/// `GET /v1/properties/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    caller.require(Scope::Read)?;
    let id = request::id("property", id, PropertyId::parse)?;
    let view = views(&api)?.into_iter().find(|view| view.property.id == id);
    let view = view.ok_or(ApiError::NotFound { what: "property", id: id.into() })?;
    let tag = format!("\"{}\"", view.generation);
    Ok(([(header::ETAG, tag)], axum::Json(view)).into_response())
}

/// The query of a change.
#[derive(Deserialize)]
pub(super) struct ChangeQuery {
    #[serde(default)]
    dry_run: bool,
}

/// `PUT /v1/properties/{id}`
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    query: Result<Query<ChangeQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    Json(property): Json<Property>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::ConfigWrite, &format!("property/{id}"))?;
    let Query(ChangeQuery { dry_run }) =
        query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    if property.id.as_str() != id {
        let text = format!("the path says {id:?}, the property {:?}", property.id.as_str());
        return Err(ApiError::Invalid(text));
    }
    let expected = request::if_match(&headers)?;
    let key = resources::key("property", &id)?;
    let spec = serde_json::to_value(PropertySpec::from(property))
        .map_err(|error| ApiError::Invalid(error.to_string()))?;
    let wish = Wish::put(key.kind, key.name, spec);
    let change = resources::publish(&api, &caller, wish, expected, dry_run).await?;
    if !dry_run {
        caller.audit("put property", &id);
    }
    Ok(changed(id, change, dry_run))
}

/// `DELETE /v1/properties/{id}`
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(ChangeQuery { dry_run }): Query<ChangeQuery>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::ConfigWrite, &format!("property/{id}"))?;
    let id = request::id("property", id, PropertyId::parse)?;
    let wish = Wish::delete(resources::key("property", id.as_str())?);
    let change = resources::publish(&api, &caller, wish, None, dry_run).await?;
    if !dry_run {
        caller.audit("delete property", id.as_str());
    }
    Ok(changed(id.into(), change, dry_run))
}

fn views(api: &Api) -> Result<Vec<PropertyView>, ApiError> {
    let desired = api.parts.releases.desired()?;
    let view = |(property, generation): (Property, tidegate_contract::id::Generation)| {
        PropertyView { property: property.redacted(), generation: generation.0 }
    };
    Ok(desired.properties.into_iter().map(view).collect())
}
