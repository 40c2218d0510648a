//! `/v1/health-history`: verdicts as they changed, of one PoP or of all, in the order of time.
//!
//! It is read from the records, so that every replica answers alike.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Query, State},
};
use serde::Deserialize;
use tidegate_contract::id::PopId;

use super::{
    Api, anycast_model::HealthChange, auth::Caller, error::ApiError, model::Items, request,
};
use crate::{
    access::Verb,
    health::{Change, histories},
};

/// Which changes.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pop: Option<String>,
    #[serde(default)]
    since_unix_ms: u64,
    limit: Option<usize>,
}

/// `GET /v1/health-history`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Answer<Items<HealthChange>>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let pop = asked.pop.map(|pop| request::id("pop", pop, PopId::parse)).transpose()?;
    let limit = asked.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    let all = histories(api.parts.store.records().as_ref()).await?;
    if let Some(pop) = pop.as_ref().filter(|pop| !all.contains_key(*pop)) {
        // A PoP of which nothing is known yet has an empty history; one that never was has none. One that was removed
        // keeps its history for a while.
        super::drain::existing(&api, pop.to_string()).await?;
    }
    let view = |pop: &PopId, change: &Change| HealthChange {
        pop: pop.clone(),
        at_unix_ms: change.at_unix_ms,
        from: change.from.as_str().to_owned(),
        to: change.to.as_str().to_owned(),
        why: change.why.clone(),
    };
    let asked_for = all.iter().filter(|(known, _)| pop.as_ref().is_none_or(|pop| pop == *known));
    let mut items: Vec<_> = asked_for
        .flat_map(|(pop, history)| history.changes().iter().map(|change| view(pop, change)))
        .filter(|change| change.at_unix_ms >= asked.since_unix_ms)
        .collect();
    items.sort_by(|one, other| (one.at_unix_ms, &one.pop).cmp(&(other.at_unix_ms, &other.pop)));
    items.drain(..items.len().saturating_sub(limit));
    Ok(Answer(Items { items }))
}

const LIMIT: usize = 200;
const LIMIT_MAX: usize = 5000;
