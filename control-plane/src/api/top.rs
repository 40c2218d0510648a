//! `/v1/top`: what clients ask for most, in one PoP or in all.
//!
//! Replicas tell one another what they were told, so that any of them answers for the fleet; the answer says how many nodes told
//! it, how many there are, and by how much a figure may be too low where a replica has more than it can tell.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Query, State},
};
use serde::Deserialize;
use tidegate_contract::id::PopId;

use super::{
    Api,
    auth::Caller,
    drain,
    error::ApiError,
    model::{TopItem, TopView},
};
use crate::{
    access::Verb,
    demand::{Kind, Rate, Rates},
    unix_time::unix_ms,
};

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    of: Of,
    #[serde(default)]
    by: By,
    pop: Option<String>,
    limit: Option<usize>,
}

/// Of what.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    Services,
    Assets,
}

/// In which order.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    #[default]
    Requests,
    Bytes,
}

/// `GET /v1/top`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Answer<TopView>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let pop = match asked.pop {
        Some(pop) => Some(drain::existing(&api, pop).await?),
        None => None,
    };
    let kind = match asked.of {
        Of::Services => Kind::Properties,
        Of::Assets => Kind::Assets,
    };
    let now = unix_ms(api.parts.clock.now());
    let Rates { items: mut rates, nodes, left } = api.parts.demand.rates(kind, pop.as_ref(), now);
    let key = |rate: &Rate| match asked.by {
        By::Requests => rate.requests,
        By::Bytes => rate.bytes,
    };
    rates.sort_by(|one, other| {
        let name = |rate: &Rate| (rate.property.clone(), rate.path.clone());
        key(other).total_cmp(&key(one)).then_with(|| name(one).cmp(&name(other)))
    });
    rates.truncate(asked.limit.unwrap_or(LIMIT).min(LIMIT_MAX));
    let is_asked = |of: &PopId| pop.as_ref().is_none_or(|pop| pop == of);
    let names = api.parts.fleet.names();
    let nodes_all = names.iter().filter(|name| is_asked(&name.pop)).count();
    let item = |rate: Rate| TopItem {
        property: rate.property,
        path: (!rate.path.is_empty()).then_some(rate.path),
        requests_per_s: rate.requests,
        mbps: mbps(rate.bytes),
        pops: rate.pops.len(),
    };
    let items = rates.into_iter().map(item).collect();
    Ok(Answer(TopView {
        nodes,
        nodes_all,
        low_by_requests_per_s: left.requests,
        low_by_mbps: mbps(left.bytes),
        items,
    }))
}

fn mbps(bytes_per_s: f64) -> f64 {
    bytes_per_s * 8.0 / 1e6
}

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1000;
