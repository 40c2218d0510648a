//! `/v1/approvals` and `/v1/audit`: what waits for a second person, and what was done.
//!
//! Nobody approves what they asked for themselves. The audit log is read page by page, and checked by the server or,
//! better, by who reads it: every row comes with what is hashed.

use std::sync::Arc;

use axum::extract::{Path, Query, State, rejection::QueryRejection};
use serde::Deserialize;

use super::{
    Api,
    access_model::{ApprovalList, AuditList, AuditVerdict, AuditView},
    auth::Caller,
    drain::Asked,
    error::ApiError,
    model::Items,
};
use crate::access::{Approval, Verb, verify};

/// `GET /v1/approvals`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<ApprovalList>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    Ok(axum::Json(Items { items: api.parts.access.approvals().await? }))
}

/// `POST /v1/approvals/{id}/approve`
pub(super) async fn approve(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<axum::Json<Approval>, ApiError> {
    decide(&api, &caller, &id, true, asked.dry_run).await
}

/// `POST /v1/approvals/{id}/reject`
pub(super) async fn reject(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<axum::Json<Approval>, ApiError> {
    decide(&api, &caller, &id, false, asked.dry_run).await
}

async fn decide(
    api: &Api,
    caller: &Caller,
    id: &str,
    is_approved: bool,
    is_dry: bool,
) -> Result<axum::Json<Approval>, ApiError> {
    let asked = api.parts.access.approvals().await?.into_iter().find(|asked| asked.id == id);
    // A narrowed right to approve covers what its target covers.
    let target = asked.map(|asked| asked.claim.target).unwrap_or_default();
    api.require(caller, Verb::Approve, &target)?;
    if is_dry {
        let approval = api.parts.access.decidable(id, caller.person()).await?;
        caller.plans();
        return Ok(axum::Json(approval));
    }
    let approval = api.parts.access.decide(id, caller.person(), is_approved).await?;
    let word = if is_approved { "approve" } else { "reject" };
    let what = approval.claim.danger.as_str();
    caller.audit(word, &format!("{id}: {what} {}", approval.claim.target));
    Ok(axum::Json(approval))
}

/// The query of the audit log.
#[derive(Deserialize)]
pub(super) struct AuditQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// `GET /v1/audit`
pub(super) async fn audit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<axum::Json<AuditList>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let Query(query) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    let rows_max = query.limit.unwrap_or(LIST_ROWS_MAX).clamp(1, LIST_ROWS_MAX);
    let log = api.parts.access.audit();
    let head = log.stored_head().await?;
    let rows = log.page(query.after, rows_max).await?;
    let items = rows.into_iter().map(|entry| AuditView { row: entry.row(), entry }).collect();
    Ok(axum::Json(AuditList { items, head }))
}

/// `GET /v1/audit/verify`
pub(super) async fn verify_audit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<axum::Json<AuditVerdict>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let Query(query) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    let rows_max = query.limit.unwrap_or(VERIFY_ROWS_MAX).clamp(1, VERIFY_ROWS_MAX);
    let log = api.parts.access.audit();
    let head = log.stored_head().await?;
    // The row before is the anchor; before the very first stands nothing.
    let mut known = match query.after {
        0 if head.first <= 1 => Some((0, String::new())),
        0 => None,
        after => {
            let row = log.page(after - 1, 1).await?.pop().filter(|row| row.number == after);
            row.map(|row| (row.number, row.link.hash))
        }
    };
    let from = query.after.saturating_add(1).max(head.first);
    let (mut to, mut looked_at) = (query.after.max(from.saturating_sub(1)), 0);
    let mut broken = None;
    while looked_at < rows_max && to < head.number {
        let rows = log.page(to, LIST_ROWS_MAX.min(rows_max - looked_at)).await?;
        let Some(last) = rows.last() else { break };
        let before = known.as_ref().map(|(number, hash)| (*number, hash.as_str()));
        match verify(before, &rows) {
            Ok(hash) => known = Some((last.number, hash)),
            Err(found) => {
                broken = Some(found);
                break;
            }
        }
        (to, looked_at) = (last.number, looked_at + rows.len());
    }
    let hash = known.map(|(_, hash)| hash).unwrap_or_default();
    if broken.is_none() && to == head.number && hash != head.hash {
        let why = "the head names another row".to_owned();
        broken = Some(crate::access::ChainBreak { number: head.number, why });
    }
    Ok(axum::Json(AuditVerdict { ok: broken.is_none(), from, to, hash, head, broken }))
}

const LIST_ROWS_MAX: usize = 1000;
const VERIFY_ROWS_MAX: usize = 100_000;
