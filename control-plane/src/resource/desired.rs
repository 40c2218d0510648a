//! Properties and PoPs of a release, as the rest of the program reads them.
//!
//! Values only.

use tidegate_contract::{
    id::{Generation, PopId},
    property::{Property, Upstream},
    snapshot::{PopRole, Shield},
    tier::TierKey,
};

/// Everything that snapshots are made of, at one generation.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The version of the release that they are of.
    pub generation: Generation,
    /// All properties, by id, with the generation of their last change.
    pub properties: Vec<(Property, Generation)>,
    /// All PoPs, by id.
    pub pops: Vec<Pop>,
    /// The key that all nodes share.
    pub tier_key: TierKey,
}

/// One PoP as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pop {
    /// Its id.
    pub id: PopId,
    /// What it is to its neighbours.
    pub role: PopRole,
    /// How edges reach it, when it is a shield.
    pub shield_upstream: Option<Upstream>,
}

impl Pop {
    /// The PoP as edges see it, when it is a shield that says how to reach it.
    #[must_use]
    pub fn into_shield(self) -> Option<Shield> {
        let upstream = self.shield_upstream?;
        Some(Shield { pop: self.id, upstream })
    }
}
