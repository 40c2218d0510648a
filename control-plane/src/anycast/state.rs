//! The record of a group: its epoch, what every PoP was told to announce, who is draining, and its interlock.
//!
//! Invariant: the epoch grows with every change, and an order carries the epoch of the change that made it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    anycast::Level,
    id::{PopId, PrefixId},
};

/// What a group's PoPs were told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupState {
    /// Grows with every change.
    pub epoch: u64,
    /// By PoP and prefix. What is not named is announced normally.
    pub levels: BTreeMap<PopId, BTreeMap<PrefixId, Assigned>>,
    /// PoPs that are going, or have gone, by a drain: they count as withdrawn before they are.
    pub reserved: BTreeSet<PopId>,
    /// What is allowed.
    pub interlock: InterlockState,
}

/// What a PoP was told about one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The level.
    pub level: Level,
    /// The epoch of the change.
    pub epoch: u64,
    /// Until when a node may begin it.
    pub expires_unix_ms: u64,
    /// When it was told.
    pub since_unix_ms: u64,
    /// Who: a person, `drain` or `shedding`.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What an operator set in the place of the group's own limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterlockState {
    /// PoPs that always announce each prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_announcing: Option<u32>,
    /// The most capacity that is withdrawn at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_capacity_withdrawn_percent: Option<u8>,
    /// Nothing is changed at all while this is set, by anybody.
    pub is_frozen: bool,
    /// Whether load is shed by itself.
    pub is_shedding: bool,
}

/// A speaker's configuration that is tried at a PoP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number.
    pub id: u64,
    /// After so long the speaker takes it back.
    pub timeout_s: u16,
    /// Whether it stays.
    pub is_confirmed: bool,
    /// Until when a node may begin it.
    pub expires_unix_ms: u64,
}

impl GroupState {
    /// What a PoP was told about a prefix.
    #[must_use]
    pub fn level(&self, pop: &PopId, prefix: &PrefixId) -> Level {
        let assigned = self.levels.get(pop).and_then(|prefixes| prefixes.get(prefix));
        assigned.map_or(Level::Normal, |assigned| assigned.level.clone())
    }
}
