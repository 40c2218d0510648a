//! `/v1/pops/{pop}/drain`: a PoP is emptied in stages, and filled again; `/v1/fleet`: what clients are answered by.
//!
//! `?dry_run=true` makes the plan and nothing else.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tidegate_contract::id::PopId;

use super::{
    Api,
    anycast_model::{DrainRequest, DrainView, FleetList, FleetPop, UndrainRequest},
    auth::{Caller, digest_of},
    error::ApiError,
    request::{self, Json},
};
use crate::{
    access::{Danger, Verb},
    anycast::AnycastError,
    drain::{Drain, DrainError, NewDrain, weight_percent},
    token::Scope,
};

/// What changes how a request is answered.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Who reads the fleet to answer clients, and up to where it has.
#[derive(Debug, Deserialize)]
pub(super) struct Reader {
    reader: Option<String>,
    seen: Option<u64>,
}

/// `GET /v1/pops/{pop}/drain`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
) -> Result<Answer<DrainView>, ApiError> {
    caller.require(Scope::Read)?;
    let pop = request::id("pop", pop, PopId::parse)?;
    let drain = api.parts.drains.of(&pop).await?;
    let drain = drain.ok_or(ApiError::NotFound { what: "drain of pop", id: pop.into() })?;
    Ok(Answer(view(&api, drain, Vec::new())))
}

/// `POST /v1/pops/{pop}/drain`
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<DrainRequest>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::PopDrain, &format!("pop/{pop}"))?;
    let pop = existing(&api, pop).await?;
    let deadline = time("deadline", body.deadline.as_deref())?;
    let digest = digest_of(&(&body.to_level, &body.deadline));
    let (target, by, reason) = (body.to_level, caller.person().to_owned(), reason(body.reason)?);
    caller.reason(&reason);
    let new = NewDrain { pop: pop.clone(), target, deadline, by, reason };
    if asked.dry_run {
        let plans = api.parts.drains.plan(&new).await?;
        caller.plans();
        return Ok(Answer(plans).into_response());
    }
    let subject = format!("pop/{pop}");
    api.danger(&caller, Danger::Drain, &subject, &digest, &headers).await?;
    let (drain, plans) = api.parts.drains.begin(new).await?;
    caller.audit("drain pop", pop.as_str());
    Ok((StatusCode::ACCEPTED, Answer(view(&api, drain, plans))).into_response())
}

/// `DELETE /v1/pops/{pop}/drain`
pub(super) async fn undo(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
    Query(asked): Query<Asked>,
    Query(body): Query<UndrainRequest>,
) -> Result<Answer<DrainView>, ApiError> {
    caller.require_verb(Verb::PopDrain, &format!("pop/{pop}"))?;
    let pop = request::id("pop", pop, PopId::parse)?;
    let slow_start = time("slow_start", body.slow_start.as_deref())?;
    if asked.dry_run {
        let (drain, plans) = api.parts.drains.plan_undo(&pop, slow_start).await?;
        caller.plans();
        return Ok(Answer(view(&api, drain, plans)));
    }
    let drain = api.parts.drains.undo(&pop, slow_start).await?;
    caller.audit("undrain pop", pop.as_str());
    Ok(Answer(view(&api, drain, Vec::new())))
}

/// `GET /v1/fleet`
pub(super) async fn fleet(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(reader): Query<Reader>,
) -> Result<Answer<FleetList>, ApiError> {
    caller.require(Scope::Read)?;
    let anycast = api.parts.drains.anycast();
    let now = anycast.now_unix_ms();
    if let (Some(name), Some(seen)) = (&reader.reader, reader.seen) {
        let name: String = name.chars().take(READER_CHARS_MAX).collect();
        api.parts.drains.readers().saw(&name, seen, now);
    }
    // Read before what it names, so that a reader never claims to have seen what it has not.
    let revision = *api.parts.drains.head().borrow();
    let sites = anycast.sites();
    let drains = api.parts.drains.all().await?;
    let item = |pop: PopId| {
        let drain = drains.get(&pop);
        let state = anycast.reports().state(&pop);
        FleetPop {
            site: sites.pops.get(&pop).cloned().unwrap_or_default(),
            health: state.health.as_str().to_owned(),
            why: state.why.to_owned(),
            stage: drain.map(|drain| stage(drain).to_owned()),
            weight_percent: weight_percent(drain, now),
            mbps: anycast
                .reports()
                .fresh(now)
                .iter()
                .filter(|node| node.name.pop == pop)
                .map(|node| node.rates.mbps)
                .sum(),
            pop,
        }
    };
    let head = api.parts.releases.head()?;
    let pops: std::collections::BTreeSet<PopId> =
        head.state.pops().chain(sites.pops.keys().cloned()).collect();
    Ok(Answer(FleetList { revision, items: pops.into_iter().map(item).collect() }))
}

/// A PoP that is known in one way or another.
pub(super) async fn existing(api: &Api, pop: String) -> Result<PopId, ApiError> {
    let pop = request::id("pop", pop, PopId::parse)?;
    let sites = api.parts.drains.anycast().sites();
    let is_known = sites.pops.contains_key(&pop) || api.parts.releases.has_pop(&pop).await?;
    if is_known { Ok(pop) } else { Err(ApiError::NotFound { what: "pop", id: pop.into() }) }
}

/// A reason that says something.
pub(super) fn reason(reason: String) -> Result<String, ApiError> {
    if reason.trim().is_empty() {
        return Err(ApiError::Invalid("a reason is needed: it stands in the audit log".to_owned()));
    }
    Ok(reason.chars().take(REASON_CHARS_MAX).collect())
}

/// A time in words, when there is one.
pub(super) fn time(
    what: &str,
    text: Option<&str>,
) -> Result<Option<std::time::Duration>, ApiError> {
    let parse = |text| {
        let time = humantime::parse_duration(text);
        time.map_err(|error| ApiError::Invalid(format!("{what}: {error}")))
    };
    text.map(parse).transpose()
}

fn view(api: &Api, drain: Drain, plans: Vec<crate::anycast::Plan>) -> DrainView {
    let weight_percent = weight_percent(Some(&drain), api.parts.drains.anycast().now_unix_ms());
    DrainView {
        stage: stage(&drain).to_owned(),
        is_done: drain.is_done(),
        weight_percent,
        plans,
        drain,
    }
}

fn stage(drain: &Drain) -> &'static str {
    if drain.returns_since_unix_ms.is_some() { "returning" } else { drain.stage.as_str() }
}

impl From<AnycastError> for ApiError {
    fn from(error: AnycastError) -> Self {
        match error {
            AnycastError::NotFound(what) => Self::Missing(what),
            AnycastError::Refused(refusal) => Self::Interlock(refusal.to_string()),
            AnycastError::Contended => Self::Conflict(error.to_string()),
            AnycastError::Store(error) => error.into(),
            AnycastError::Commit(error) => Self::Invalid(error.to_string()),
        }
    }
}

impl From<DrainError> for ApiError {
    fn from(error: DrainError) -> Self {
        match error {
            DrainError::Already(_) => Self::Conflict(error.to_string()),
            DrainError::Not(pop) => Self::NotFound { what: "drain of pop", id: pop.into() },
            DrainError::Anycast(error) => error.into(),
        }
    }
}

const REASON_CHARS_MAX: usize = 500;
const READER_CHARS_MAX: usize = 64;
