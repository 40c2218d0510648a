//! A world that stands still: of files alone, for those who ask without a node.
//!
//! The files are read and the map is made as a node does it that has just started. Invariant: nothing is asked of anybody.

use std::{path::Path, sync::Arc, time::SystemTime};

use anyhow::Context;
use tidegate_contract::id::PopId;

use super::{config::PlacesConfig, files};
use crate::{
    fleet::Fleet,
    latency::Latency,
    map::{Inputs, Round},
    place::Place,
    world::{Trust, World},
};

/// The world of a file of PoPs and of places, before anything was measured or asked for.
///
/// # Errors
/// When a file cannot be read or is wrong.
pub fn world(places: &PlacesConfig, fleet: &Path) -> anyhow::Result<World> {
    let fleet = Arc::new(files::fleet(fleet)?);
    let units = Arc::new(files::places(places).context("places")?);
    let (latency, demand) = (Latency::default(), vec![0.0; units.all().len()]);
    let inputs = Inputs {
        units: &units,
        demand: &demand,
        fleet: &fleet,
        latency: &latency,
        home: home(places.home()?, None, &fleet),
        previous: None,
    };
    let map = Round::make(inputs).map;
    Ok(World { map, trust: Trust::Current, round: 0, heard: SystemTime::UNIX_EPOCH })
}

/// Where clients are taken to be that nobody can locate: where that is said, or at the own PoP, or at the first.
pub(super) fn home(said: Option<Place>, own: Option<&PopId>, fleet: &Fleet) -> Place {
    let own = own.and_then(|own| fleet.index(own)).map(usize::from);
    let pop = own.map_or_else(|| fleet.pops().first(), |own| fleet.pops().get(own));
    let nowhere = || Place::new(0.0, 0.0).expect("off Africa");
    said.unwrap_or_else(|| pop.map_or_else(nowhere, |pop| pop.place))
}
