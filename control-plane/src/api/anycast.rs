//! `/v1/anycast`: groups, what each PoP announces, the interlock; `/v1/health`: how PoPs are, and why.
//!
//! Levels are changed only through permits, so everything here that announces less may be refused.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json as Answer,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use tidegate_contract::id::{AnycastGroupId, PopId};

use super::{
    Api,
    anycast_model::{
        GroupList, GroupPop, GroupView, HealthList, HealthNode, HealthPop, InterlockView,
        LevelRequest, TrialRequest, TrialView,
    },
    auth::{Caller, digest_of},
    drain::{Asked, existing, reason, time},
    error::ApiError,
    request::{self, Json},
};
use crate::{
    access::{Danger, Verb},
    anycast::{GroupState, InterlockState, Picture, Plan, Wanted},
    token::Scope,
};

/// `GET /v1/anycast`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Answer<GroupList>, ApiError> {
    caller.require(Scope::Read)?;
    let anycast = api.parts.drains.anycast();
    let sites = anycast.sites();
    let mut items = Vec::new();
    for group in sites.groups.keys() {
        items.push(view(&api, group).await?);
    }
    Ok(Answer(GroupList { items }))
}

/// `GET /v1/anycast/{group}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(group): Path<String>,
) -> Result<Answer<GroupView>, ApiError> {
    caller.require(Scope::Read)?;
    let group = request::id("group", group, AnycastGroupId::parse)?;
    Ok(Answer(view(&api, &group).await?))
}

/// `POST /v1/anycast/{group}/level`
pub(super) async fn level(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(group): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<LevelRequest>,
) -> Result<Answer<Plan>, ApiError> {
    caller.require_verb(Verb::BgpWrite, &format!("group/{group}"))?;
    let group = request::id("group", group, AnycastGroupId::parse)?;
    let digest = digest_of(&(&body.pop, &body.prefixes, &body.level));
    let LevelRequest { pop, prefixes, level, reason: why } = body;
    let (by, reason) = (caller.person().to_owned(), reason(why)?);
    caller.reason(&reason);
    let wanted = Wanted { pop, prefixes, level, by, reason };
    let anycast = api.parts.drains.anycast();
    if asked.dry_run {
        let plan = anycast.plan(&group, &wanted).await?;
        caller.plans();
        return Ok(Answer(plan));
    }
    let target = format!("group/{group}");
    api.danger(&caller, Danger::Announce, &target, &digest, &headers).await?;
    let plan = anycast.set(&group, &wanted).await?;
    caller.audit("set level", &format!("{group} at {} to {}", wanted.pop, wanted.level));
    Ok(Answer(plan))
}

/// `GET /v1/anycast/{group}/interlock`
pub(super) async fn interlock(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(group): Path<String>,
) -> Result<Answer<InterlockView>, ApiError> {
    caller.require(Scope::Read)?;
    let group = request::id("group", group, AnycastGroupId::parse)?;
    let (picture, state) = api.parts.drains.anycast().picture(&group).await?;
    Ok(Answer(limits(&picture, &state)))
}

/// `PUT /v1/anycast/{group}/interlock`
pub(super) async fn set_interlock(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(group): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<InterlockState>,
) -> Result<Answer<InterlockView>, ApiError> {
    caller.require_verb(Verb::BgpWrite, &format!("group/{group}"))?;
    let group = request::id("group", group, AnycastGroupId::parse)?;
    if body.min_announcing == Some(0) {
        return Err(ApiError::Invalid("min_announcing must be at least 1".to_owned()));
    }
    if body.max_capacity_withdrawn_percent.is_some_and(|percent| percent > 100) {
        let text = "max_capacity_withdrawn_percent must be at most 100";
        return Err(ApiError::Invalid(text.to_owned()));
    }
    if asked.dry_run {
        let (picture, state) = api.parts.drains.anycast().picture_with(&group, body).await?;
        caller.plans();
        return Ok(Answer(limits(&picture, &state)));
    }
    let (target, digest) = (format!("group/{group}"), digest_of(&body));
    api.danger(&caller, Danger::Interlock, &target, &digest, &headers).await?;
    let anycast = api.parts.drains.anycast();
    anycast.set_interlock(&group, &body).await?;
    caller.audit("set interlock", group.as_str());
    let (picture, state) = anycast.picture(&group).await?;
    Ok(Answer(limits(&picture, &state)))
}

/// `POST /v1/pops/{pop}/speaker-trial`
pub(super) async fn trial(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
    Json(body): Json<TrialRequest>,
) -> Result<Answer<TrialView>, ApiError> {
    caller.require_verb(Verb::BgpWrite, &format!("pop/{pop}"))?;
    let pop = existing(&api, pop).await?;
    let timeout = time("timeout", body.timeout.as_deref())?;
    let trial = api.parts.drains.anycast().try_configuration(&pop, timeout).await?;
    caller.audit("try speaker configuration", pop.as_str());
    Ok(Answer(TrialView { pop, id: trial.id, is_confirmed: trial.is_confirmed }))
}

/// `GET /v1/health`
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Answer<HealthList>, ApiError> {
    caller.require(Scope::Read)?;
    let head = api.parts.releases.head()?;
    let items = head.state.pops().map(|pop| health_of(&api, &pop)).collect();
    Ok(Answer(HealthList { items }))
}

/// `GET /v1/health/{pop}`
pub(super) async fn health_of_pop(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
) -> Result<Answer<HealthPop>, ApiError> {
    caller.require(Scope::Read)?;
    let pop = existing(&api, pop).await?;
    Ok(Answer(health_of(&api, &pop)))
}

fn health_of(api: &Api, pop: &PopId) -> HealthPop {
    let anycast = api.parts.drains.anycast();
    let (reports, now) = (anycast.reports(), anycast.now_unix_ms());
    let (state, signs) = (reports.state(pop), reports.signs(pop, now));
    let nodes = reports.all().into_iter().filter(|node| node.name.pop == *pop);
    let node = |node: crate::health::NodeReport| HealthNode {
        node: node.name.node,
        heard_unix_ms: node.heard_unix_ms,
        mbps: node.rates.mbps,
        resets: node.rates.resets,
        report: node.report,
    };
    HealthPop {
        pop: pop.clone(),
        health: state.health.as_str().to_owned(),
        why: state.why.to_owned(),
        views_good: signs.views_good,
        views_bad: signs.views_bad,
        requests: signs.requests,
        errors: signs.errors,
        nodes: nodes.map(node).collect(),
    }
}

async fn view(api: &Api, group: &AnycastGroupId) -> Result<GroupView, ApiError> {
    let anycast = api.parts.drains.anycast();
    let (picture, state) = anycast.picture(group).await?;
    let fresh = anycast.reports().fresh(anycast.now_unix_ms());
    let pops = picture.sites.iter().map(|(pop, site)| {
        let speakers = fresh
            .iter()
            .filter(|node| node.name.pop == *pop)
            .filter_map(|node| node.report.speaker.as_ref());
        let mut announced = BTreeMap::new();
        for (prefix, level) in speakers.clone().flat_map(|speaker| &speaker.levels) {
            if picture.prefixes.contains(prefix) {
                announced.insert(prefix.clone(), level.clone());
            }
        }
        GroupPop {
            pop: pop.clone(),
            health: site.health.as_str().to_owned(),
            percent: site.percent(),
            is_draining: site.is_going,
            told: state.levels.get(pop).cloned().unwrap_or_default(),
            announced,
            is_gate_closed: speakers.clone().any(|speaker| speaker.is_gate_closed),
            sessions: speakers.clone().map(|speaker| speaker.sessions).sum(),
            established: speakers.map(|speaker| speaker.established).sum(),
        }
    });
    Ok(GroupView {
        group: group.clone(),
        epoch: state.epoch,
        prefixes: picture.prefixes.clone(),
        interlock: limits(&picture, &state),
        pops: pops.collect(),
    })
}

fn limits(picture: &Picture, state: &GroupState) -> InterlockView {
    InterlockView {
        min_announcing: picture.min_announcing,
        max_capacity_withdrawn_percent: picture.max_capacity_withdrawn_percent,
        is_frozen: picture.is_frozen,
        is_shedding: state.interlock.is_shedding,
    }
}
