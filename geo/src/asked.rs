//! Everything that operators ask through the control plane beside the map: names, players, zones, keys.
//!
//! Invariant: each is answered by what answers clients.

use std::sync::Arc;

use crate::{
    dns::sign::keeper::Keeper,
    live::Above,
    resolve::resolve,
    signed::{rolling, signing, zones},
    steer::Policies,
    steered::steered,
    world::Worlds,
    zone::ZoneTable,
};

/// Answers from the newest of everything.
#[must_use]
pub fn above(
    table: &Arc<ZoneTable>,
    worlds: &Arc<Worlds>,
    policies: &Arc<Policies>,
    keeper: Option<&Arc<Keeper>>,
) -> Above {
    Above {
        resolve: resolve(Arc::clone(table), Arc::clone(worlds)),
        steer: steered(Arc::clone(policies), Arc::clone(worlds)),
        zones: zones(Arc::clone(table), keeper.map(|keeper| keeper.signer().clone())),
        signing: signing(keeper.cloned()),
        roll: rolling(keeper.cloned()),
    }
}
