//! A world from files alone: places, networks and a fleet, read once; for tests and for a look without a network.
//!
//! Invariant: without a fleet there is a world all the same, in which no PoP serves.

use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

pub use crate::live::config::{FleetConfig as FleetFile, PlacesConfig as Places};
use crate::{
    fleet::Fleet,
    latency::Latency,
    locate::{self, File},
    map::{Inputs, Round},
    place::Place,
    unit::{Units, UnitsBuilder},
    world::{Trust, World},
};

/// The world of the files.
///
/// # Errors
/// A file cannot be read or is wrong.
pub fn world(places: &Places, fleet: &FleetFile) -> anyhow::Result<World> {
    let fleet = match &fleet.file {
        None => Fleet::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| shown(path))?;
            Fleet::from_toml(&text).with_context(|| shown(path))?
        }
    };
    let units: Units = match &places.places {
        None => UnitsBuilder::default().build(),
        Some(path) => {
            let networks = places.networks.as_deref().map(File::open).transpose()?;
            locate::units(&File::open(path)?, networks.as_ref()).with_context(|| shown(path))?
        }
    };
    let (fleet, units) = (Arc::new(fleet), Arc::new(units));
    let home = match fleet.pops().first() {
        Some(pop) => pop.place,
        None => Place::new(0.0, 0.0)?,
    };
    // Nobody has told how much anybody asks for.
    let demand = vec![0.0; units.all().len()];
    let latency = Latency::default();
    let inputs = Inputs {
        units: &units,
        demand: &demand,
        fleet: &fleet,
        latency: &latency,
        home,
        previous: None,
    };
    let now = SystemTime::now();
    let round = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(World { map: Round::make(inputs).map, trust: Trust::Current, round, heard: now })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
