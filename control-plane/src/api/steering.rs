//! `/v1/steering/manifest`: what a player would be told by content steering, and why.
//!
//! Asked of a geo node, which answers players. Nothing is written down of who was asked about.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Query, State},
};
use serde::Deserialize;
use tidegate_contract::geo_feed::Question;

use super::{Api, auth::Caller, error::ApiError, geo, geo_model::DnsAnswer};
use crate::token::Scope;

/// Who plays what.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    client: String,
    asset: String,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    pathway: Option<String>,
}

/// `GET /v1/steering/manifest`
pub(super) async fn manifest(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Answer<DnsAnswer>, ApiError> {
    caller.require(Scope::Read)?;
    let Asked { client, asset, policy, pathway } = asked;
    let client = geo::client_of(&client)?;
    if asset.is_empty() || asset.len() > ASSET_BYTES_MAX {
        let text = format!("an asset is a path or a URL of 1 to {ASSET_BYTES_MAX} bytes");
        return Err(ApiError::Invalid(text));
    }
    let is_long = |name: &Option<String>| {
        name.as_ref().is_some_and(|name| name.is_empty() || name.len() > NAME_BYTES_MAX)
    };
    if is_long(&policy) || is_long(&pathway) {
        let text = format!("a policy or pathway has a name of 1 to {NAME_BYTES_MAX} bytes");
        return Err(ApiError::Invalid(text));
    }
    geo::ask(&api, Question::Steer { asset, policy, pathway, client }).await
}

/// As long as a geo node reads.
const ASSET_BYTES_MAX: usize = 2048;
const NAME_BYTES_MAX: usize = 128;
