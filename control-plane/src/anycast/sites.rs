//! Where PoPs are and what groups hold, as operators declared it.
//!
//! Values of the newest release: whatever stands here was checked before it was published.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_contract::{
    anycast::{AnycastGroup, Coordinates, PopSite, Prefix},
    id::{AnycastGroupId, PopId, PrefixId},
};

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

/// Asked for what is declared now.
pub type Declared = Arc<dyn Fn() -> Arc<Sites> + Send + Sync>;

impl Sites {
    /// The groups that a PoP announces.
    pub fn groups_of<'a>(
        &'a self,
        pop: &PopId,
    ) -> impl Iterator<Item = (&'a AnycastGroupId, &'a AnycastGroup)> {
        let ids = self.pops.get(pop).map_or(&[][..], |site| &site.anycast_groups);
        ids.iter().filter_map(|id| self.groups.get_key_value(id))
    }
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
