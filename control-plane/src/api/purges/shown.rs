//! A purge as it is shown: what it is, how far each node is with it, and why it is not further.

use std::collections::BTreeMap;

use tidegate_contract::{purge::PurgeOrder, purge_offset::epoch};

use crate::{
    api::{
        Api,
        error::ApiError,
        model::{PurgeNodeView, PurgeView, ReplacementView},
    },
    fleet::{NodeSight, NodeState, node_state},
    purge::{ConfirmState, Confirmation, is_complete},
    store::{Entry, StoreError},
    unix_time::unix_ms,
};

/// A purge of the log.
pub(super) fn view(api: &Api, entry: &Entry) -> PurgeView {
    PurgeView {
        id: entry.id.clone(),
        stream: api.parts.purges.log().stream().clone(),
        offset: entry.offset,
        accepted_unix_ms: entry.accepted_unix_ms,
        order: None,
        replacement: entry.replacement_digest.map(|digest| ReplacementView {
            digest: hex::encode(digest),
            bytes: entry.replacement.as_ref().map(|new| new.body.len() as u64),
            headers: entry.replacement.as_ref().map(|new| new.headers.clone()),
        }),
        pops: None,
        complete: None,
        reached: None,
    }
}

/// Adds how far each node is.
pub(super) fn confirm(api: &Api, view: &mut PurgeView, confirmations: Vec<Confirmation>) {
    let sights: BTreeMap<_, _> =
        api.parts.fleet.sights().into_iter().map(|sight| (sight.name.clone(), sight)).collect();
    let now_unix_ms = unix_ms(api.parts.clock.now());
    view.complete = Some(is_complete(&confirmations));
    let offset = view.offset;
    let node = |confirmation: Confirmation| {
        let sight = sights.get(&confirmation.name);
        let is_open = confirmation.state != ConfirmState::Applied;
        let why = sight
            .filter(|_| is_open)
            .map(|sight| why(sight, node_state(sight, now_unix_ms, api.limits()), offset));
        PurgeNodeView {
            pop: confirmation.name.pop,
            node: confirmation.name.node,
            state: confirmation.state.as_str().to_owned(),
            why,
            ms: confirmation.ms,
        }
    };
    view.pops = Some(confirmations.into_iter().map(node).collect());
}

/// Why a node has not applied a purge, as far as can be told from here.
fn why(sight: &NodeSight, state: NodeState, offset: u64) -> String {
    match (state, sight.applied) {
        (NodeState::Down, _) => "down".to_owned(),
        _ if !sight.has_purge_lane() => "cut off".to_owned(),
        (NodeState::Draining, _) => "draining".to_owned(),
        (_, Some(applied)) if epoch(applied) == epoch(offset) => {
            format!("behind by {}", offset.saturating_sub(applied))
        }
        _ => "behind".to_owned(),
    }
}

/// What an entry of the log purges.
pub(super) fn order_of(entry: &Entry) -> Result<PurgeOrder, ApiError> {
    serde_json::from_slice(&entry.order_json)
        .map_err(|error| StoreError::damaged("purge order", error).into())
}
