//! `/v1/dns/signing`: the keys that geo nodes sign with, and the steps from one key to the next.
//!
//! Private keys lie at geo nodes alone: one of them works a step out, and what is kept and told here is sealed. `?dry_run=true`
//! works it out and nothing else.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::Value;
use tidegate_contract::{
    geo_feed::Question,
    zone_keys::{KeyKind, zone_name},
};

use super::{
    Api,
    auth::Caller,
    drain::{Asked, reason},
    error::ApiError,
    geo::NAME_BYTES_MAX,
    geo_model::{NodeSigning, RollRequest, RollView, SigningList},
    request::Json,
};
use crate::{
    access::Verb,
    geo::{AskError, RollError, Rolled, Wish},
    store::CommitError,
    token::Scope,
};

/// Of which zone.
#[derive(Debug, Deserialize)]
pub(super) struct Only {
    #[serde(default)]
    zone: Option<String>,
}

/// `GET /v1/dns/signing`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(only): Query<Only>,
) -> Result<Answer<SigningList>, ApiError> {
    caller.require(Scope::Read)?;
    if only.zone.as_ref().is_some_and(|zone| zone.is_empty() || zone.len() > NAME_BYTES_MAX) {
        return Err(ApiError::Invalid(format!("a zone's name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    let answers = api.parts.geo.ask_each(Question::Signing { zone: only.zone }).await;
    if answers.is_empty() {
        return Err(AskError::Nobody.into());
    }
    let view = |(node, answer): (String, Result<Value, AskError>)| match answer {
        Ok(answer) => NodeSigning { node, answer: Some(answer), error: None },
        Err(error) => NodeSigning { node, answer: None, error: Some(error.to_string()) },
    };
    Ok(Answer(SigningList { items: answers.into_iter().map(view).collect() }))
}

/// `POST /v1/dns/signing/{zone}/roll`
pub(super) async fn roll(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(zone): Path<String>,
    Query(asked): Query<Asked>,
    Json(body): Json<RollRequest>,
) -> Result<Answer<RollView>, ApiError> {
    caller.require_verb(Verb::DnsWrite, "")?;
    let zone = format!("{}.", zone.trim_end_matches('.').to_ascii_lowercase());
    zone_name(&zone).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let RollRequest { kind, ds_seen, without, step, before, reason: why } = body;
    let why = reason(why)?;
    caller.reason(&why);
    let kind = kind.map(|kind| kind.parse::<KeyKind>()).transpose();
    let kind = kind.map_err(|error| ApiError::Invalid(error.to_string()))?;
    if without.len() > WITHOUT_MAX {
        return Err(ApiError::Invalid(format!("at most {WITHOUT_MAX} geo nodes are left out")));
    }
    let wish = Wish { zone: zone.clone(), kind, ds_seen, without, step, before };
    if asked.dry_run {
        caller.plans();
    }
    let Rolled { proposal, before, revision, nodes } =
        api.parts.geo.roll(&wish, (caller.person(), &why), asked.dry_run).await?;
    if revision.is_some() && !asked.dry_run {
        caller.audit("roll keys", &format!("{zone} {}: {}", proposal.kind, proposal.text));
    }
    Ok(Answer(RollView {
        zone,
        kind: proposal.kind.to_string(),
        step: proposal.step,
        text: proposal.text,
        is_due: revision.is_some(),
        from: proposal.from,
        next: proposal.next,
        ds: proposal.ds,
        before,
        revision,
        nodes,
    }))
}

impl From<RollError> for ApiError {
    fn from(error: RollError) -> Self {
        let text = error.to_string();
        match error {
            RollError::Ask(error) => error.into(),
            RollError::NotSigned(zone) => {
                let first = "`tidegate-geo keys generate` makes the first";
                Self::Missing(format!("key of {zone} at any geo node: {first}"))
            }
            RollError::Refused(_) => Self::Interlock(text),
            RollError::UnderWay(_) => Self::UnderWay(text),
            RollError::Conflict(_) => Self::Conflict(text),
            RollError::Form(..)
            | RollError::Other(..)
            | RollError::Unreadable(_)
            | RollError::TooMany(_) => Self::Invalid(text),
            RollError::Store(error) | RollError::Commit(CommitError::Store(error)) => error.into(),
            RollError::Commit(_) => Self::Conflict(text),
        }
    }
}

/// As many as may follow.
const WITHOUT_MAX: usize = 64;
