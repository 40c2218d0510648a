//! `/v1/authority`: whose certificates count, and the steps from one authority to the next.
//!
//! A step that would cut a node off is refused with the node's name, whoever asks.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    http::HeaderMap,
};
use serde::Deserialize;

use super::{
    Api,
    auth::{Caller, digest_of},
    error::ApiError,
    model::{AuthorityItem, AuthorityView, RotationRequest},
    request::Json,
};
use crate::{
    access::{Danger, Verb},
    rotation::{Mark, Step},
    unix_time::unix_ms,
};

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    dry_run: bool,
}

/// `GET /v1/authority`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<AuthorityView>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let mark = api.parts.rotation.mark().await?;
    Ok(axum::Json(view(&api, &mark).await?))
}

/// `POST /v1/authority/rotation`
pub(super) async fn rotate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<RotationRequest>,
) -> Result<axum::Json<AuthorityView>, ApiError> {
    caller.require_verb(Verb::CaWrite, "")?;
    // Refused before anybody is asked to approve it.
    let after = api.parts.rotation.step(body.step, true).await?;
    if asked.dry_run {
        caller.plans();
        return Ok(axum::Json(view(&api, &after).await?));
    }
    api.danger(&caller, Danger::RotateCa, "", &digest_of(&body.step), &headers).await?;
    let mark = api.parts.rotation.step(body.step, false).await?;
    let word = match body.step {
        Step::Begin => "begin",
        Step::Switch => "switch",
        Step::Finish => "finish",
        Step::Abandon => "abandon",
    };
    caller.audit("rotate authority", word);
    Ok(axum::Json(view(&api, &mark).await?))
}

async fn view(api: &Api, mark: &Mark) -> Result<AuthorityView, ApiError> {
    let rotation = &api.parts.rotation;
    let believed = rotation.authority().believed();
    let item = |one: &Arc<crate::ca::Signer>| {
        let role = match &one.sha256 {
            signs if *signs == mark.ca_sha256 => "signs",
            next if Some(next) == mark.next_sha256.as_ref() => "next",
            _ => "old",
        };
        let ends_unix_ms = unix_ms(one.ends);
        AuthorityItem { sha256: one.sha256.clone(), role: role.to_owned(), ends_unix_ms }
    };
    Ok(AuthorityView {
        phase: mark.phase(),
        bundle_pem: believed.bundle_pem(),
        authorities: believed.all.iter().map(item).collect(),
        lacking: rotation.lacking().await?,
    })
}
