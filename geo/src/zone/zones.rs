//! All zones, by name.
//!
//! Invariant: a name belongs to the zone with the longest name above it; only its DS records belong to the zone above that
//! (RFC 4035 3.1.4.1).

use std::{collections::HashMap, sync::Arc};

use hickory_proto::rr::{Name, RecordType};
use tidegate_contract::zone::Zone;

/// All zones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Zones {
    by_origin: HashMap<Name, Arc<Zone>>,
}

impl Zones {
    /// These zones; of two with one name, the later.
    #[must_use]
    pub fn new(zones: impl IntoIterator<Item = Arc<Zone>>) -> Self {
        let named = zones.into_iter().map(|zone| (zone.origin().clone(), zone));
        Self { by_origin: named.collect() }
    }

    /// The zone that answers for a name and a type.
    #[must_use]
    pub fn find(&self, name: &Name, kind: RecordType) -> Option<&Arc<Zone>> {
        let own = self.above(name)?;
        if kind == RecordType::DS && own.origin() == name && !name.is_root() {
            return self.above(&name.base_name()).or(Some(own));
        }
        Some(own)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.by_origin.values()
    }

    /// Whether these are the very same zones, and not only alike.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let has = |zone: &Arc<Zone>| {
            other.by_origin.get(zone.origin()).is_some_and(|other| Arc::ptr_eq(zone, other))
        };
        self.by_origin.len() == other.by_origin.len() && self.all().all(has)
    }

    fn above(&self, name: &Name) -> Option<&Arc<Zone>> {
        if self.by_origin.is_empty() {
            return None;
        }
        let labels = name.iter().len();
        (0..=labels).rev().find_map(|kept| self.by_origin.get(&name.trim_to(kept)))
    }
}
