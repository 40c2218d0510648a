//! `/v1/purges`: order a purge, see how far it is, read the log.
//!
//! The answer to an order is sent when the purge is durable, or, when the caller waits, when no node is pending
//! any more or the deadline is over. A deadline that is over is no error: the purge goes on. `?dry_run=true` makes the
//! plan and nothing else.

mod wanted;
mod planned;
mod shown;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_contract::{id::PurgeId, purge::PurgeTarget, purge_offset::epoch};
use tokio::time::Instant;

use self::{
    planned::plan,
    shown::{confirm, order_of, view},
    wanted::{check_replacement, deadline, idempotency_key, limit, read, subject},
};
use super::{
    Api,
    auth::{Caller, digest_of},
    drain::Asked,
    error::ApiError,
    model::{PurgeLagList, PurgeLagView, PurgeList, PurgeView, Wait},
    request::{self, Json},
};
use crate::{
    access::Danger,
    fleet::node_state,
    purge::{first_since, is_reached},
    store::Page,
    token::Scope,
    unix_time::unix_ms,
};

/// `POST /v1/purges`
pub(super) async fn order(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let since = Instant::now();
    caller.require(Scope::Purge)?;
    let request = read(body)?;
    let deadline = since + deadline(&request, api.parts.purges.config().wait_max)?;
    if asked.dry_run {
        check_replacement(&api, &request)?;
        idempotency_key(&headers, &caller)?;
        let plan = plan(&api, &caller, request).await?;
        caller.plans();
        return Ok(axum::Json(plan).into_response());
    }
    limit(&api, &caller, &request)?;
    if matches!(request.order.target, PurgeTarget::All) {
        let plan = digest_of(&request.order);
        api.danger(&caller, Danger::PurgeAll, "", &plan, &headers).await?;
    }
    check_replacement(&api, &request)?;
    let key = idempotency_key(&headers, &caller)?;
    let _waiting = match request.wait {
        Wait::None => None,
        Wait::All | Wait::Percent(_) => Some(api.waits.try_acquire().map_err(|_| ApiError::Busy)?),
    };
    let subject = subject(&request);
    let appended = api.parts.purges.accept_with(request.order, request.replace, key).await?;
    caller.audit("purge", &subject);
    let mut view = view(&api, &appended.entry);
    let Some(percent) = request.wait.percent() else {
        return Ok((StatusCode::ACCEPTED, axum::Json(view)).into_response());
    };
    let drain = &api.parts.drain;
    let confirmations = api.parts.purges.wait(&appended.entry, percent, deadline, drain).await;
    view.reached = Some(is_reached(&confirmations, percent));
    confirm(&api, &mut view, confirmations);
    Ok(axum::Json(view).into_response())
}

/// `GET /v1/purges/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<PurgeView>, ApiError> {
    caller.require_either(Scope::Purge, Scope::Read)?;
    let id = request::id("purge", id, PurgeId::parse)?;
    let entry = api.parts.purges.log().find(&id).await?;
    let entry = entry.ok_or(ApiError::NotFound { what: "purge", id: id.to_string() })?;
    let mut view = view(&api, &entry);
    view.order = Some(order_of(&entry)?);
    confirm(&api, &mut view, api.parts.purges.confirmations(&entry));
    Ok(axum::Json(view))
}

/// The query of `GET /v1/purges`.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    after: u64,
    /// Not what was accepted before this time.
    since_unix_ms: Option<u64>,
    limit: Option<usize>,
}

/// `GET /v1/purges`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<axum::Json<PurgeList>, ApiError> {
    caller.require(Scope::Read)?;
    let Query(query) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    let entries_max = query.limit.unwrap_or(LIST_ENTRIES_MAX).clamp(1, LIST_ENTRIES_MAX);
    let log = api.parts.purges.log();
    let begin = match query.since_unix_ms {
        None => query.after,
        Some(since) => first_since(&**log, since).await?.max(query.after),
    };
    let mut purges: Vec<PurgeView> = Vec::new();
    while purges.len() < entries_max {
        let after = purges.last().map_or(begin, |last| last.offset);
        let entries = match log.read(after, entries_max - purges.len()).await? {
            Page::Entries(entries) => entries,
            // Trimmed meanwhile: what was read is a page, too.
            Page::Gone { .. } if !purges.is_empty() => break,
            Page::Gone { head } => {
                let text = format!("the log does not hold offset {after}; its head is {head}");
                return Err(ApiError::Invalid(text));
            }
        };
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            purges.push(PurgeView { order: Some(order_of(entry)?), ..view(&api, entry) });
        }
    }
    let head = *log.head().borrow();
    Ok(axum::Json(PurgeList { stream: log.stream().clone(), head, purges }))
}

/// `GET /v1/purges/lag`
pub(super) async fn lag(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<PurgeLagList>, ApiError> {
    caller.require_either(Scope::Purge, Scope::Read)?;
    let log = api.parts.purges.log();
    let (head, now_unix_ms) = (*log.head().borrow(), unix_ms(api.parts.clock.now()));
    // Most nodes stand at the same few places.
    let mut waiting: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    let mut items = Vec::new();
    for sight in api.parts.fleet.sights() {
        // Of a node in an earlier epoch nobody can tell how much it missed.
        let applied = sight.applied.filter(|applied| epoch(*applied) == epoch(head));
        let behind = applied.filter(|applied| *applied < head);
        let since = match behind {
            None => None,
            Some(applied) => match waiting.get(&applied) {
                Some(known) => *known,
                None => {
                    let oldest = match log.read(applied, 1).await? {
                        Page::Entries(entries) => entries.first().map(|e| e.accepted_unix_ms),
                        Page::Gone { .. } => None,
                    };
                    *waiting.entry(applied).or_insert(oldest)
                }
            },
        };
        items.push(PurgeLagView {
            state: node_state(&sight, now_unix_ms, api.limits()).as_str().to_owned(),
            subscriptions: sight.purge_lanes,
            applied: sight.applied,
            lag: applied.map(|applied| head.saturating_sub(applied)),
            behind_ms: since.map(|since| now_unix_ms.saturating_sub(since)),
            pop: sight.name.pop,
            node: sight.name.node,
        });
    }
    Ok(axum::Json(PurgeLagList { stream: log.stream().clone(), head, items }))
}

const LIST_ENTRIES_MAX: usize = 1000;
