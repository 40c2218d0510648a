//! `/v1/pops`: the PoPs, their nodes, and tokens to enrol new ones.
//!
//! What a PoP shall be comes from the store, how its nodes are from the fleet.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use tidegate_contract::{
    id::{NodeId, PopId},
    resource_spec::PopSpec,
};

use super::{
    Api,
    auth::{Caller, digest_of},
    drain::Asked,
    error::ApiError,
    model::{
        ChangeView, EnrolmentTokenView, HealthView, NackView, NodeView, PopList, PopRequest,
        PopView, RevokedView,
    },
    request::{self, Json},
    resources::{self, Change},
};
use crate::{
    access::{Danger, Verb},
    change::Wish,
    fleet::{NodeSight, node_state, pop_state},
    resource::Pop,
    store::{EnrolmentTokenRow, NodeName},
    token::{Kind, NewToken, Scope},
    unix_time::{millis, unix_ms},
};

/// `GET /v1/pops`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<PopList>, ApiError> {
    caller.require(Scope::Read)?;
    Ok(axum::Json(PopList { pops: views(&api)? }))
}

/// `GET /v1/pops/{pop}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
) -> Result<axum::Json<PopView>, ApiError> {
    caller.require(Scope::Read)?;
    let pop = request::id("pop", pop, PopId::parse)?;
    let view = views(&api)?.into_iter().find(|view| view.pop == pop);
    view.map(axum::Json).ok_or(ApiError::NotFound { what: "pop", id: pop.into() })
}

/// `PUT /v1/pops/{pop}`
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
    Query(asked): Query<Asked>,
    Json(body): Json<PopRequest>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::PopWrite, &format!("pop/{pop}"))?;
    let id = PopId::parse(pop).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let pop = Pop { id: id.clone(), role: body.role, shield_upstream: body.shield_upstream };
    let key = resources::key("pop", id.as_str())?;
    // Where it is was said elsewhere, and stays.
    let site = api.parts.drains.anycast().sites().pops.get(&id).cloned().unwrap_or_default();
    let spec = PopSpec { role: pop.role, shield_upstream: pop.shield_upstream.clone(), site };
    let spec = serde_json::to_value(spec).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let wish = Wish::put(key.kind, key.name, spec);
    let change = resources::publish(&api, &caller, wish, None, asked.dry_run).await?;
    if !asked.dry_run {
        caller.audit("put pop", id.as_str());
    }
    Ok(changed(id.into(), change, asked.dry_run))
}

/// `DELETE /v1/pops/{pop}`
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Path(pop): Path<String>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::PopWrite, &format!("pop/{pop}"))?;
    let id = request::id("pop", pop, PopId::parse)?;
    if asked.dry_run {
        let wish = Wish::delete(resources::key("pop", id.as_str())?);
        resources::publish(&api, &caller, wish, None, true).await?;
        let nodes = nodes_of(&api, &id).await?;
        return Ok(axum::Json(RevokedView { pop: id, nodes, dry_run: true }).into_response());
    }
    api.danger(&caller, Danger::RemovePop, &format!("pop/{id}"), "remove", &headers).await?;
    let wish = Wish::delete(resources::key("pop", id.as_str())?);
    let change = resources::publish(&api, &caller, wish, None, false).await?;
    caller.audit("delete pop", id.as_str());
    Ok(changed(id.into(), change, false))
}

/// `DELETE /v1/pops/{pop}/nodes`
pub(super) async fn revoke_nodes(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Path(pop): Path<String>,
) -> Result<axum::Json<RevokedView>, ApiError> {
    let target = format!("pop/{pop}");
    caller.require_verb(Verb::PopWrite, &target)?;
    let pop = request::id("pop", pop, PopId::parse)?;
    if !api.parts.releases.has_pop(&pop).await? {
        return Err(ApiError::NotFound { what: "pop", id: pop.into() });
    }
    let nodes = nodes_of(&api, &pop).await?;
    if asked.dry_run {
        caller.plans();
    } else {
        // Whoever approves has seen which nodes: one more is another plan.
        api.danger(&caller, Danger::RevokeNodes, &target, &digest_of(&nodes), &headers).await?;
        // Tokens that would enrol others go with them: who has stolen one has a node otherwise.
        api.parts.store.forget_pop(&pop).await?;
        api.parts.fleet.forget_pop(&pop);
        caller.audit("revoke nodes", &format!("{pop} {}", nodes.len()));
    }
    Ok(axum::Json(RevokedView { pop, nodes, dry_run: asked.dry_run }))
}

/// `DELETE /v1/pops/{pop}/nodes/{node}`
pub(super) async fn remove_node(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Path((pop, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::PopWrite, &format!("pop/{pop}"))?;
    let pop = request::id("pop", pop, PopId::parse)?;
    let name = NodeName { pop, node: request::id("node", node, NodeId::parse)? };
    if api.parts.store.node(&name).await?.is_none() {
        return Err(ApiError::NotFound { what: "node", id: name.to_string() });
    }
    if asked.dry_run {
        caller.plans();
        let NodeName { pop, node } = name;
        let view = RevokedView { pop, nodes: vec![node], dry_run: true };
        return Ok(axum::Json(view).into_response());
    }
    // One by one they are all of a PoP: it takes as much as those.
    let target = format!("node/{name}");
    api.danger(&caller, Danger::RevokeNodes, &target, "revoke", &headers).await?;
    if !api.parts.store.delete_node(&name).await? {
        return Err(ApiError::NotFound { what: "node", id: name.to_string() });
    }
    api.parts.fleet.forget(&name);
    caller.audit("delete node", &name.to_string());
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/pops/{pop}/enrolment-tokens`
pub(super) async fn enrol(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::PopWrite, &format!("pop/{pop}"))?;
    let pop = request::id("pop", pop, PopId::parse)?;
    let now_unix_ms = unix_ms(api.parts.clock.now());
    let token = NewToken::make(Kind::Enrolment);
    let row = EnrolmentTokenRow {
        id: token.id.clone(),
        pop: pop.clone(),
        hash: token.hash.to_vec(),
        expires_unix_ms: now_unix_ms + millis(api.config.enrolment_token_lifetime),
        is_used: false,
    };
    let expires_unix_ms = row.expires_unix_ms;
    if !api.parts.releases.has_pop(&pop).await? {
        return Err(ApiError::NotFound { what: "pop", id: pop.into() });
    }
    api.parts.store.add_enrolment_token(row, now_unix_ms).await?;
    caller.audit("make enrolment token", &format!("{pop} {}", token.id));
    let view = EnrolmentTokenView { token: token.text, pop, expires_unix_ms };
    Ok((StatusCode::CREATED, axum::Json(view)).into_response())
}

/// The answer to a change of the desired state.
pub(super) fn changed(id: String, change: Change, dry_run: bool) -> Response {
    let status = if change.created && !dry_run { StatusCode::CREATED } else { StatusCode::OK };
    let Change { changed, created, generation } = change;
    let view = ChangeView { id, changed, created, dry_run, generation: generation.0 };
    (status, axum::Json(view)).into_response()
}

/// The nodes that a PoP has.
async fn nodes_of(api: &Api, pop: &PopId) -> Result<Vec<NodeId>, ApiError> {
    let rows = api.parts.store.nodes().await?.into_iter().map(|row| row.name);
    Ok(rows.filter(|name| name.pop == *pop).map(|name| name.node).collect())
}

fn views(api: &Api) -> Result<Vec<PopView>, ApiError> {
    let desired = api.parts.releases.desired()?;
    let course = api.parts.releases.course();
    let purge_head = *api.parts.purges.log().head().borrow();
    let sights = api.parts.fleet.sights();
    let now_unix_ms = unix_ms(api.parts.clock.now());
    let view = |pop: Pop| {
        let nodes = sights.iter().filter(|sight| sight.name.pop == pop.id);
        let states: Vec<_> =
            nodes.clone().map(|sight| node_state(sight, now_unix_ms, api.limits())).collect();
        let nodes = nodes
            .zip(&states)
            .map(|(sight, state)| node_view(sight, state.as_str(), purge_head))
            .collect();
        let release = course.release_for(&pop.id);
        let generation = release.map_or(desired.generation, |made| made.version()).0;
        PopView {
            pop: pop.id,
            role: pop.role,
            shield_upstream: pop.shield_upstream,
            state: pop_state(&states).as_str().to_owned(),
            generation,
            purge_head,
            nodes,
        }
    };
    Ok(desired.pops.into_iter().map(view).collect())
}

fn node_view(sight: &NodeSight, state: &str, purge_head: u64) -> NodeView {
    NodeView {
        node: sight.name.node.clone(),
        state: state.to_owned(),
        connected: sight.has_purge_lane() && sight.has_config_lane,
        build: sight.build.clone(),
        generation: sight.generation,
        nack: sight
            .nack
            .clone()
            .map(|nack| NackView { generation: nack.generation, error: nack.error }),
        purge_applied: sight.applied,
        purge_lag: sight.applied.map(|applied| purge_head.saturating_sub(applied)),
        heard_unix_ms: sight.heard_unix_ms,
        certificate_expires_unix_ms: sight.expires_unix_ms,
        health: sight.health.map(|health| HealthView {
            ready: health.ready,
            draining: health.draining,
            requests_total: health.requests_total,
            hits_total: health.hits_total,
            errors_total: health.errors_total,
            cache_bytes: health.cache_bytes,
            started_unix_ms: health.started_unix_ms,
        }),
    }
}
