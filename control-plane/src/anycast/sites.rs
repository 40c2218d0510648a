//! Where PoPs are and what groups hold, as operators declared it.
//!
//! The specs of resources are read leniently: what other parts of a spec say is not looked at here. Invariant: a resource
//! that cannot be read is left out and named in the log, and never makes the others unreadable.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use tidegate_contract::{
    anycast::{AnycastGroup, Coordinates, PopSite, Prefix},
    id::{AnycastGroupId, PopId, PrefixId},
};

use crate::store::{Records, StoreError};

/// What is declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sites {
    /// PoPs.
    pub pops: BTreeMap<PopId, PopSite>,
    /// Groups.
    pub groups: BTreeMap<AnycastGroupId, AnycastGroup>,
    /// Prefixes.
    pub prefixes: BTreeMap<PrefixId, Prefix>,
}

/// A resource as it is stored, as far as it matters here.
#[derive(Deserialize)]
struct Resource<T> {
    spec: T,
}

/// The spec of a PoP, as far as it matters here.
#[derive(Deserialize)]
struct PopSpec {
    #[serde(default)]
    site: PopSite,
}

impl Sites {
    /// Reads all of them.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read(records: &Arc<dyn Records>) -> Result<Self, StoreError> {
        let pops: BTreeMap<PopId, PopSpec> = read(records, "resource/pop/").await?;
        let pops = pops.into_iter().map(|(id, spec)| (id, spec.site));
        let mut groups: BTreeMap<AnycastGroupId, AnycastGroup> =
            read(records, "resource/anycast_group/").await?;
        groups.retain(|id, group| {
            let checked = group.check();
            if let Err(error) = &checked {
                tracing::warn!(group = %id, %error, "a group cannot be used");
            }
            checked.is_ok()
        });
        let good = pops.filter(|(id, site)| {
            let checked = site.check();
            if let Err(error) = &checked {
                tracing::warn!(pop = %id, %error, "a site cannot be used");
            }
            checked.is_ok()
        });
        Ok(Self {
            pops: good.collect(),
            groups,
            prefixes: read(records, "resource/prefix/").await?,
        })
    }

    /// The groups that a PoP announces.
    pub fn groups_of<'a>(
        &'a self,
        pop: &PopId,
    ) -> impl Iterator<Item = (&'a AnycastGroupId, &'a AnycastGroup)> {
        let ids = self.pops.get(pop).map_or(&[][..], |site| &site.anycast_groups);
        ids.iter().filter_map(|id| self.groups.get_key_value(id))
    }
}

async fn read<I, T>(records: &Arc<dyn Records>, folder: &str) -> Result<BTreeMap<I, T>, StoreError>
where
    I: Ord + TryFrom<String>,
    T: DeserializeOwned,
{
    let listing = records.list(folder).await?;
    let one = |record: crate::store::Record| {
        let name = record.key.as_str().strip_prefix(folder)?.to_owned();
        match serde_json::from_slice::<Resource<T>>(&record.value) {
            Ok(resource) => Some((I::try_from(name).ok()?, resource.spec)),
            Err(error) => {
                tracing::warn!(key = %record.key, %error, "a resource cannot be read");
                None
            }
        }
    };
    Ok(listing.records.into_iter().filter_map(one).collect())
}

/// The way over the Earth's surface.
#[must_use]
pub fn distance_km(a: Coordinates, b: Coordinates) -> f64 {
    let (north_a, north_b) = (a.latitude.to_radians(), b.latitude.to_radians());
    let north = (north_b - north_a) / 2.0;
    let east = (b.longitude - a.longitude).to_radians() / 2.0;
    let h = north.sin().powi(2) + north_a.cos() * north_b.cos() * east.sin().powi(2);
    2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
}

const EARTH_RADIUS_KM: f64 = 6371.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_that_of_the_map() {
        let place = |latitude, longitude| Coordinates { latitude, longitude };
        let (amsterdam, new_york) = (place(52.37, 4.90), place(40.71, -74.01));
        assert!((distance_km(amsterdam, new_york) - 5865.0).abs() < 20.0);
        assert!(distance_km(place(0.0, 180.0), place(0.0, -180.0)) < 0.001);
    }
}
