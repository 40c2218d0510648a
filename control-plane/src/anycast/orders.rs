//! What the nodes of a PoP are told: levels with their permits, whom to look at, and the trial of a configuration.
//!
//! Only what is recorded is told; a node decides itself whether a permit still holds.

use std::time::Duration;

use tidegate_contract::{
    id::PopId,
    telemetry::{LevelOrder, Neighbour, Orders, TrialOrder, VIEWS_MAX},
};

use super::{
    permits::{Anycast, AnycastError, PERMIT, push},
    sites::{Sites, distance_km},
    state::{Assigned, Trial},
};
use crate::{
    store::{Commit, CommitError, Key, StoreError},
    unix_time::millis,
};

impl Anycast {
    /// What the nodes of a PoP shall do about routes, and whom they look at.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn orders(&self, pop: &PopId) -> Result<Orders, StoreError> {
        let sites = self.sites();
        let mut orders = Orders { neighbours: neighbours(&sites, pop), ..Orders::default() };
        for (group, _) in sites.groups_of(pop) {
            let (state, _) = self.state(group).await?;
            for (prefix, told) in state.levels.get(pop).into_iter().flatten() {
                let Assigned { level, epoch, expires_unix_ms, .. } = told.clone();
                orders.levels.insert(prefix.clone(), LevelOrder { level, epoch, expires_unix_ms });
            }
        }
        if let Some(record) = self.records().get(&trial_key(pop)).await?
            && let Ok(trial) = serde_json::from_slice::<Trial>(&record.value)
        {
            let Trial { id, timeout_s, is_confirmed, expires_unix_ms } = trial;
            orders.trial = Some(TrialOrder { id, timeout_s, is_confirmed, expires_unix_ms });
        }
        Ok(orders)
    }

    /// Begins the trial of a speaker's configuration at a PoP, or confirms the one that goes on.
    ///
    /// # Errors
    /// [`AnycastError`]
    pub async fn try_configuration(
        &self,
        pop: &PopId,
        timeout: Option<Duration>,
    ) -> Result<Trial, AnycastError> {
        let key = trial_key(pop);
        let found = self.records().get(&key).await?;
        let before: Option<Trial> =
            found.as_ref().and_then(|record| serde_json::from_slice(&record.value).ok());
        let trial = match (timeout, before) {
            (Some(timeout), before) => Trial {
                id: before.map_or(0, |before| before.id) + 1,
                timeout_s: u16::try_from(timeout.as_secs()).unwrap_or(u16::MAX).max(1),
                is_confirmed: false,
                expires_unix_ms: self.now_unix_ms() + millis(PERMIT),
            },
            (None, Some(before)) => Trial { is_confirmed: true, ..before },
            (None, None) => return Err(AnycastError::NotFound(format!("trial at {pop}"))),
        };
        let mut commit = Commit::default();
        let bytes = serde_json::to_vec(&trial).expect("plain data");
        push(&mut commit, key, found.map(|record| record.revision), bytes);
        match self.records().commit(commit).await {
            Ok(_) => Ok(trial),
            Err(CommitError::Conflict { .. }) => Err(AnycastError::Contended),
            Err(error) => Err(AnycastError::Commit(error)),
        }
    }
}

/// The nearest PoPs that can be reached at an address of their own.
fn neighbours(sites: &Sites, pop: &PopId) -> Vec<Neighbour> {
    let here = sites.pops.get(pop).and_then(|site| site.place);
    let mut others: Vec<_> = sites
        .pops
        .iter()
        .filter(|(other, _)| *other != pop)
        .filter_map(|(other, site)| Some((other, site, *site.addresses.first()?)))
        .map(|(other, site, address)| {
            let far = match (here, site.place) {
                (Some(a), Some(b)) => distance_km(a, b),
                _ => f64::MAX,
            };
            let address = (address, site.port.unwrap_or(HTTPS_PORT)).into();
            (far, Neighbour { pop: other.clone(), address, name: site.name.clone() })
        })
        .collect();
    others.sort_by(|(a, one), (b, other)| a.total_cmp(b).then_with(|| one.pop.cmp(&other.pop)));
    others.into_iter().take(VIEWS_MAX).map(|(_, neighbour)| neighbour).collect()
}

fn trial_key(pop: &PopId) -> Key {
    Key::parse(&format!("trial/{pop}")).expect("an id is a good part of a key")
}

const HTTPS_PORT: u16 = 443;
