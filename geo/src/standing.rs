//! A world from files alone: places, networks and a fleet, read once at the start.
//!
//! Invariant: without a fleet there is a world all the same, in which no PoP serves.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    fleet::Fleet,
    latency::Latency,
    locate::{self, File},
    map::{Inputs, Round},
    place::Place,
    unit::{Units, UnitsBuilder},
    world::{Trust, World},
};

/// The section `[places]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Places {
    /// A file of cities or countries, MaxMind DB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<PathBuf>,
    /// A file of networks (autonomous systems), MaxMind DB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<PathBuf>,
}

/// The section `[fleet]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetFile {
    /// The PoPs: a TOML file of `[[pop]]` tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

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
