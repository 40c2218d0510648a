//! `/v1/status`: what the status page shows, in one answer.
//!
//! It names no node and no property. Without a token it is shown only where the configuration says so.

use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;

use super::{
    Api,
    access_model::{PlaceView, PopStatus, ReleaseStatus, StatusPageView},
    auth::Caller,
    error::ApiError,
};
use crate::{
    access::{ApprovalState, Verb},
    fleet::{node_state, pop_state},
    release::reports,
    resource::shown,
    rollout::{Decision, Waiting},
    unix_time::unix_ms,
};

/// `GET /v1/status`
pub(super) async fn status(
    caller: Result<Caller, ApiError>,
    State(api): State<Arc<Api>>,
) -> Result<axum::Json<StatusPageView>, ApiError> {
    if !api.parts.access.config().open_status_page {
        api.require(&caller?, Verb::Read, "")?;
    }
    let now_unix_ms = unix_ms(api.parts.clock.now());
    let approvals = api.parts.access.approvals().await?;
    let is_pending = |approval: &&crate::access::Approval| {
        approval.state == ApprovalState::Pending && approval.expires_unix_ms > now_unix_ms
    };
    let audit = api.parts.access.audit().stored_head().await?;
    let purge_head = *api.parts.purges.log().head().borrow();
    Ok(axum::Json(StatusPageView {
        at_unix_ms: now_unix_ms,
        purge_head,
        pops: pops(&api, now_unix_ms)?,
        release: release(&api, now_unix_ms),
        approvals_pending: approvals.iter().filter(is_pending).count(),
        audit,
    }))
}

fn pops(api: &Api, now_unix_ms: u64) -> Result<Vec<PopStatus>, ApiError> {
    let head = api.parts.releases.head()?;
    let course = api.parts.releases.course();
    let sights = api.parts.fleet.sights();
    let purge_head = *api.parts.purges.log().head().borrow();
    let view = |(name, entry)| {
        let name: &tidegate_contract::resource::ResourceName = name;
        let spec = shown(entry);
        let of_pop = || sights.iter().filter(|sight| sight.name.pop.as_str() == name.as_str());
        let states: Vec<_> =
            of_pop().map(|sight| node_state(sight, now_unix_ms, api.limits())).collect();
        let health = || of_pop().filter_map(|sight| sight.health);
        let requests: u64 = health().map(|health| health.requests_total).sum();
        let hits: u64 = health().map(|health| health.hits_total).sum();
        let wanted = tidegate_contract::id::PopId::parse(name.to_string())
            .ok()
            .and_then(|id| course.release_for(&id).map(|made| made.version().0));
        PopStatus {
            pop: name.to_string(),
            role: spec["role"].as_str().unwrap_or_default().to_owned(),
            state: pop_state(&states).as_str().to_owned(),
            nodes: states.len(),
            nodes_up: states.iter().filter(|state| state.as_str() == "up").count(),
            release: wanted.unwrap_or(0),
            release_oldest: of_pop().map(|sight| sight.generation).min(),
            purge_lag: of_pop()
                .filter_map(|sight| sight.applied)
                .map(|applied| purge_head.saturating_sub(applied))
                .max(),
            hit_ratio: (requests > 0).then(|| hits as f64 / requests as f64),
            place: place(&spec),
        }
    };
    Ok(head.state.of_kind(tidegate_contract::resource::Kind::Pop).map(view).collect())
}

fn release(api: &Api, now_unix_ms: u64) -> ReleaseStatus {
    let course = api.parts.releases.course();
    let reports = reports(&api.parts.fleet);
    let rollout = course.rollout.as_ref();
    let config = api.parts.releases.rollout_config();
    let next =
        |rollout: &crate::rollout::Rollout| match rollout.decide(&reports, now_unix_ms, config) {
            Decision::Stay(Waiting::Acks(nodes)) => format!("waits for {} nodes", nodes.len()),
            Decision::Stay(Waiting::Bake) => "waits for the stage's time".to_owned(),
            Decision::Stay(Waiting::Operator) => "waits for an operator".to_owned(),
            Decision::Advance => "goes on".to_owned(),
            Decision::TurnBack(_) => "turns back".to_owned(),
        };
    ReleaseStatus {
        version: course.version().0,
        stage: rollout.map(|rollout| rollout.stage.as_str().to_owned()),
        next: rollout.map(next),
    }
}

/// Where a PoP is, as its spec says, in degrees that are on the globe.
fn place(spec: &Value) -> Option<PlaceView> {
    let place = spec.get("place").or_else(|| spec.get("site")?.get("place"))?;
    let degrees =
        |name: &str, most: f64| place.get(name)?.as_f64().filter(|degrees| degrees.abs() <= most);
    Some(PlaceView {
        latitude: degrees("latitude", 90.0)?,
        longitude: degrees("longitude", 180.0)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_on_the_globe() {
        let at = |latitude: f64, longitude: f64| {
            place(&json!({"place": {"latitude": latitude, "longitude": longitude}}))
        };
        assert_eq!(at(50.1, 8.7).map(|place| (place.latitude, place.longitude)), Some((50.1, 8.7)));
        assert!(at(91.0, 0.0).is_none() && at(0.0, -181.0).is_none());
        assert!(place(&json!({"role": "edge"})).is_none());
    }
}
