//! `/v1/replicas`: which replicas live, and which of them leads.

use std::sync::Arc;

use axum::extract::State;

use super::{
    Api,
    auth::Caller,
    error::ApiError,
    model::{Items, ReplicaView},
};
use crate::{
    access::Verb,
    replica::{leading, living},
};

/// `GET /v1/replicas`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<Items<ReplicaView>>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let records = api.parts.store.records().as_ref();
    let leader = leading(records).await?;
    let view = |one: crate::replica::Living| ReplicaView {
        leads: leader.as_ref().is_some_and(|(holder, _)| holder.starts_with(&one.id)),
        id: one.id,
        listens: one.holder,
        epoch: one.epoch,
    };
    let items = living(records).await?.into_iter().map(view).collect();
    Ok(axum::Json(Items { items }))
}
