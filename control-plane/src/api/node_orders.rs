//! `/v1/pops/{pop}/nodes/{node}/order`: what one node shall do once, and what became of it.
//!
//! `?dry_run=true` says what would happen, and refuses what would be refused.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use tidegate_contract::{
    id::{NodeId, PopId},
    node_order::Act,
};

use super::{
    Api,
    auth::{Caller, digest_of},
    drain::{Asked, reason},
    error::ApiError,
    model::{NodeOrderRequest, NodeOrderView},
    request::{self, Json},
};
use crate::{
    access::{Danger, Verb},
    errands::{Errand, ErrandError},
    store::{CommitError, NodeName, StoreError},
    unix_time::unix_ms,
};

/// `GET /v1/pops/{pop}/nodes/{node}/order`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
) -> Result<Answer<NodeOrderView>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let name = existing(&api, path).await?;
    let errand = api.parts.errands.of(&name).await?;
    let none = || ApiError::NotFound { what: "order to node", id: name.to_string() };
    Ok(Answer(view(&api, &name, errand.ok_or_else(none)?)))
}

/// `POST /v1/pops/{pop}/nodes/{node}/order`
pub(super) async fn give(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((pop, node)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<NodeOrderRequest>,
) -> Result<Response, ApiError> {
    let target = format!("node/{pop}/{node}");
    api.require(&caller, Verb::NodeWrite, &target)?;
    let name = existing(&api, (pop, node)).await?;
    let NodeOrderRequest { act, reason: why } = body;
    let (danger, word) = match act {
        Act::Restart => (Danger::RestartNode, "restart node"),
        Act::RollbackLocal => (Danger::RollbackNode, "roll back node"),
        Act::Unknown => return Err(ApiError::Invalid("act: restart or rollback_local".to_owned())),
    };
    let reason = reason(why)?;
    caller.reason(&reason);
    let reports = api.parts.drains.anycast().reports();
    let now = unix_ms(api.parts.clock.now());
    if !reports.fresh(now).iter().any(|known| known.name == name) {
        return Err(ApiError::Interlock(format!("{name} is not heard of: it could not be told")));
    }
    api.parts.errands.check(&name, act).await?;
    if asked.dry_run {
        caller.plans();
        return Ok(Answer(plan(&api, &name, act)).into_response());
    }
    api.danger(&caller, danger, &target, &digest_of(&act), &headers).await?;
    let by = caller.person().to_owned();
    let errand = api.parts.errands.give(&name, act, by, reason).await?;
    caller.audit(word, &format!("{name} order {}", errand.order.number));
    Ok((StatusCode::ACCEPTED, Answer(view(&api, &name, errand))).into_response())
}

async fn existing(api: &Api, (pop, node): (String, String)) -> Result<NodeName, ApiError> {
    let pop = request::id("pop", pop, PopId::parse)?;
    let name = NodeName { pop, node: request::id("node", node, NodeId::parse)? };
    let none = || ApiError::NotFound { what: "node", id: name.to_string() };
    api.parts.store.node(&name).await?.ok_or_else(none)?;
    Ok(name)
}

fn plan(api: &Api, name: &NodeName, act: Act) -> NodeOrderView {
    let sights = api.parts.fleet.sights();
    let runs = sights.iter().find(|sight| sight.name == *name).map_or(0, |sight| sight.generation);
    let detail = match act {
        Act::Restart => "a new process takes over its sockets; connections that are open end in \
                         their own time"
            .to_owned(),
        _ => format!(
            "it runs version {runs}, goes back to the one before that it keeps, and takes \
             {runs} never again; it takes the next release"
        ),
    };
    NodeOrderView {
        node: name.to_string(),
        number: None,
        act,
        state: "planned".to_owned(),
        detail,
        by: None,
        reason: None,
        ordered_unix_ms: None,
        answered_unix_ms: None,
    }
}

fn view(api: &Api, name: &NodeName, errand: Errand) -> NodeOrderView {
    let standing = errand.standing(unix_ms(api.parts.clock.now()));
    NodeOrderView {
        node: name.to_string(),
        number: Some(errand.order.number),
        act: errand.order.act,
        state: standing.as_str().to_owned(),
        detail: errand.answer.map(|answer| answer.detail).unwrap_or_default(),
        by: Some(errand.by),
        reason: Some(errand.reason),
        ordered_unix_ms: Some(errand.ordered_unix_ms),
        answered_unix_ms: errand.answered_unix_ms,
    }
}

impl From<ErrandError> for ApiError {
    fn from(error: ErrandError) -> Self {
        match error {
            ErrandError::Refused(why) => Self::Interlock(why),
            ErrandError::Contended => Self::Conflict(error.to_string()),
            ErrandError::Store(error) | ErrandError::Commit(CommitError::Store(error)) => {
                error.into()
            }
            ErrandError::Commit(error) => Self::Store(StoreError::damaged("node order", error)),
        }
    }
}
