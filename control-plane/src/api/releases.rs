//! `/v1/releases`: what was released, how far it is, and the way back.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
};
use serde::Deserialize;
use tidegate_contract::id::Generation;

use super::{
    Api,
    auth::{Caller, digest_of},
    changes::{step_views, text},
    error::ApiError,
    model::{
        Items, NackView, ReleaseAnswer, ReleaseNodeView, ReleaseView, RollbackRequest, RolloutView,
        StatusView, StepView,
    },
    request::Json,
};
use crate::{
    access::{Danger, Verb},
    release::{Made, ReleaseError, ReleaseRecord, reports},
    rollout::{Decision, Pace, Rollout, Waiting},
    token::Scope,
    unix_time::unix_ms,
};

/// `GET /v1/releases`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<Items<ReleaseView>>, ApiError> {
    caller.require(Scope::Read)?;
    let records = api.parts.releases.records().await?;
    Ok(axum::Json(Items { items: records.iter().map(view).collect() }))
}

/// `GET /v1/releases/{version}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(version): Path<String>,
) -> Result<axum::Json<ReleaseView>, ApiError> {
    caller.require(Scope::Read)?;
    let made = version_of(&api, &version).await?;
    let mut view = view(&made.record);
    view.resources = Some(made.state.entries.keys().map(ToString::to_string).collect());
    Ok(axum::Json(view))
}

/// The query of `GET /v1/releases/{version}/diff`.
#[derive(Deserialize)]
pub(super) struct DiffQuery {
    against: Option<u64>,
}

/// `GET /v1/releases/{version}/diff`
pub(super) async fn diff(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(version): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Result<axum::Json<Items<StepView>>, ApiError> {
    caller.require(Scope::Read)?;
    let made = version_of(&api, &version).await?;
    let against = query.against.unwrap_or(made.version().0.saturating_sub(1));
    let against = api.parts.releases.version(Generation(against)).await?;
    Ok(axum::Json(Items { items: step_views(&against.state, &made.state) }))
}

/// `GET /v1/releases/status`
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<StatusView>, ApiError> {
    caller.require(Scope::Read)?;
    let course = api.parts.releases.course();
    let reports = reports(&api.parts.fleet);
    let now = unix_ms(api.parts.clock.now());
    let rollout = course.rollout.as_ref().map(|rollout| RolloutView {
        target: rollout.target,
        base: rollout.base,
        stage: rollout.stage.as_str().to_owned(),
        pace: rollout.pace,
        paused: rollout.is_paused,
        since_unix_ms: rollout.since_unix_ms,
        pops: rollout.admitted().to_vec(),
        next: match rollout.decide(&reports, now, api.parts.releases.rollout_config()) {
            Decision::Stay(Waiting::Acks(nodes)) => format!("waits for {}", nodes.join(", ")),
            Decision::Stay(Waiting::Bake) => "waits for the stage's time".to_owned(),
            Decision::Stay(Waiting::Operator) => "waits for resume or promote".to_owned(),
            Decision::Advance => "goes on".to_owned(),
            Decision::TurnBack(why) => format!("turns back: {why}"),
        },
    });
    let node = |report: &crate::rollout::NodeReport| ReleaseNodeView {
        node: report.name.clone(),
        connected: report.is_connected,
        wanted: course.release_for(&report.pop).map_or(0, |made| made.version().0),
        version: report.version,
        nack: report.nack.clone().map(|(generation, error)| NackView { generation, error }),
    };
    let nodes = reports.iter().map(node).collect();
    Ok(axum::Json(StatusView { version: course.version().0, rollout, nodes }))
}

/// `POST /v1/releases/promote`: the next stage begins now, whatever it waited for; the last one ends the roll-out.
pub(super) async fn promote(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<ReleaseAnswer>, ApiError> {
    let reports = reports(&api.parts.fleet);
    let now = unix_ms(api.parts.clock.now());
    let next = |rollout: &Rollout| {
        let next = rollout.advanced(now, &reports);
        // Whoever promotes wants it to go on.
        let next = Rollout { is_paused: false, ..next };
        next.unless_over()
    };
    move_rollout(&api, &caller, "promote release", next).await
}

/// `POST /v1/releases/pause`
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<ReleaseAnswer>, ApiError> {
    let paused = |rollout: &Rollout| Some(Rollout { is_paused: true, ..rollout.clone() });
    move_rollout(&api, &caller, "pause release", paused).await
}

/// `POST /v1/releases/resume`
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<ReleaseAnswer>, ApiError> {
    let going = |rollout: &Rollout| {
        Some(Rollout { is_paused: false, pace: Pace::Staged, ..rollout.clone() })
    };
    move_rollout(&api, &caller, "resume release", going).await
}

/// `POST /v1/releases/rollback`
pub(super) async fn roll_back(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<RollbackRequest>,
) -> Result<axum::Json<ReleaseAnswer>, ApiError> {
    caller.require_verb(Verb::ReleaseWrite, "")?;
    let reason = text("reason", &body.reason)?;
    caller.reason(&reason);
    let to = Generation(body.to);
    let digest = digest_of(&body.to);
    api.danger(&caller, Danger::Rollback, &format!("release/{to}"), &digest, &headers).await?;
    let version = api.parts.releases.roll_back(to, caller.person(), &reason).await?;
    caller.audit("roll back release", &format!("{to} as {version}"));
    Ok(axum::Json(ReleaseAnswer { version: version.0, changed: true }))
}

async fn move_rollout(
    api: &Api,
    caller: &Caller,
    action: &'static str,
    next: impl Fn(&Rollout) -> Option<Rollout>,
) -> Result<axum::Json<ReleaseAnswer>, ApiError> {
    caller.require_verb(Verb::ReleaseWrite, "")?;
    let releases = &api.parts.releases;
    for _ in 0..ATTEMPTS_MAX {
        releases.refresh().await?;
        let course = releases.course();
        let rollout = course.rollout.as_ref().ok_or(ReleaseError::NothingUnderWay)?;
        if releases.move_rollout(&course, next(rollout).as_ref()).await? {
            caller.audit(action, &course.version().to_string());
            return Ok(axum::Json(ReleaseAnswer { version: course.version().0, changed: true }));
        }
    }
    Err(ReleaseError::Contended.into())
}

async fn version_of(api: &Api, text: &str) -> Result<Arc<Made>, ApiError> {
    let id = || text.chars().take(64).collect();
    let version = text.parse().map_err(|_| ApiError::NotFound { what: "release", id: id() })?;
    Ok(api.parts.releases.version(Generation(version)).await?)
}

fn view(record: &ReleaseRecord) -> ReleaseView {
    let header = &record.header;
    ReleaseView {
        version: header.version.0,
        root: hex::encode(header.root),
        created_unix_ms: header.created_unix_ms,
        expires_unix_ms: header.expires_unix_ms,
        build_min: header.build_min.to_string(),
        key_number: record.key.number,
        author: record.author.clone(),
        reason: record.reason.clone(),
        change: record.change.clone(),
        repeats: record.repeats,
        pace: record.pace,
        resources: None,
    }
}

/// Others that move the same roll-out at once.
const ATTEMPTS_MAX: usize = 5;
