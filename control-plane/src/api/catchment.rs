//! `/v1/anycast/{group}/catchment`: from where clients reach which PoP of a group, and where they would go.
//!
//! Who lands where is asked of a geo node, to which all PoPs' counts go. Where a PoP's clients would land without it is what
//! the interlock and the ladder work with: a guess, and the same one.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use tidegate_contract::{
    anycast::Level,
    geo_feed::{CATCHMENT_NETWORKS_MAX, Question},
    id::{AnycastGroupId, PopId, PrefixId},
};

use super::{
    Api,
    anycast_model::{CatchmentPrefix, CatchmentView, Landing, WithdrawalView},
    auth::Caller,
    error::ApiError,
    request,
};
use crate::{
    anycast::{Picture, landing},
    token::Scope,
};

/// Of which PoP, and how much of it.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    pop: Option<String>,
    #[serde(default = "networks")]
    networks: u16,
}

/// `GET /v1/anycast/{group}/catchment`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(group): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<CatchmentView>, ApiError> {
    caller.require(Scope::Read)?;
    let group = request::id("group", group, AnycastGroupId::parse)?;
    let pop = wanted.pop.map(|pop| request::id("PoP", pop, PopId::parse)).transpose()?;
    if wanted.networks > CATCHMENT_NETWORKS_MAX {
        let text = format!("networks: at most {CATCHMENT_NETWORKS_MAX} of each PoP");
        return Err(ApiError::Invalid(text));
    }
    let anycast = api.parts.drains.anycast();
    let (picture, _) = anycast.picture(&group).await?;
    if let Some(pop) = pop.as_ref().filter(|pop| !picture.sites.contains_key(*pop)) {
        return Err(ApiError::NotFound { what: "PoP of this group", id: pop.to_string() });
    }
    let sites = anycast.sites();
    let prefixes: Vec<CatchmentPrefix> = picture
        .prefixes
        .iter()
        .filter_map(|id| {
            let block = sites.prefixes.get(id)?.block;
            Some(CatchmentPrefix { prefix: id.clone(), block })
        })
        .collect();
    let question = Question::Catchment {
        blocks: prefixes.iter().map(|prefix| prefix.block).collect(),
        pop: pop.clone(),
        networks: wanted.networks,
    };
    let (node, catchment) = api.parts.geo.ask(question).await?;
    let withdrawals = withdrawals(&picture, pop.as_ref());
    Ok(Answer(CatchmentView { group, node, prefixes, catchment, withdrawals }))
}

/// Where each PoP's clients are expected when it announces nothing any more.
fn withdrawals(picture: &Picture, only: Option<&PopId>) -> Vec<WithdrawalView> {
    let sites = picture.sites.iter().filter(|(pop, _)| only.is_none_or(|only| only == *pop));
    let view = |(pop, site): (&PopId, &crate::anycast::Site)| {
        let announced = |prefix: &&PrefixId| site.level(prefix).is_announced();
        let prefixes: Vec<PrefixId> = picture.prefixes.iter().filter(announced).cloned().collect();
        let landing = |prefix: &PrefixId| Landing {
            prefix: prefix.clone(),
            to: landing::lands_at(picture, pop, prefix, &Level::Withdrawn).cloned(),
        };
        let after = landing::predict(picture, pop, &prefixes, &Level::Withdrawn);
        let percent = |(pop, load): (PopId, landing::Load)| (pop, load.percent);
        WithdrawalView {
            pop: pop.clone(),
            lands: prefixes.iter().map(landing).collect(),
            expected_percent: after.map(|after| after.into_iter().map(percent).collect()),
        }
    };
    sites.map(view).collect()
}

fn networks() -> u16 {
    10
}
