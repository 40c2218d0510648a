//! Everything that operators ask through the control plane beside the map: names, players, zones, keys.
//!
//! Invariant: each is answered by what answers clients.

use std::sync::Arc;

use crate::{
    dns::sign::{Signer, config::Config},
    live::Above,
    resolve::resolve,
    signed::{signing, zones},
    steer::Policies,
    steered::steered,
    world::Worlds,
    zone::ZoneTable,
};

/// Answers from the newest of everything; `dnssec` says what a roll-over of keys waits for.
#[must_use]
pub fn above(
    table: &Arc<ZoneTable>,
    worlds: &Arc<Worlds>,
    policies: &Arc<Policies>,
    signer: Option<&Arc<Signer>>,
    dnssec: &Config,
) -> Above {
    Above {
        resolve: resolve(Arc::clone(table), Arc::clone(worlds)),
        steer: steered(Arc::clone(policies), Arc::clone(worlds)),
        zones: zones(Arc::clone(table), signer.cloned()),
        signing: signing(signer.cloned(), dnssec.holding()),
    }
}
