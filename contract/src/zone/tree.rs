//! One zone: its names, and what is at each.
//!
//! Invariant: every name between the apex and a name with records is there too, so that "there is no such name" is never
//! said of one that has names below it.

use std::{collections::HashMap, sync::Arc};

use hickory_proto::rr::{Name, RData, RecordType, rdata::SOA};

use super::{record_set::RecordSet, steered::Steered};

/// A zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    origin: Name,
    soa: RecordSet,
    nodes: HashMap<Name, Node>,
    records: usize,
}

/// What is at a name. One without anything is there for the names below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Records, a set for each type.
    pub sets: Vec<RecordSet>,
    /// Whether addresses come from the map, and how.
    pub steered: Option<Arc<Steered>>,
}

impl Zone {
    /// A zone of nodes that were checked; `None` without an SOA record at its apex.
    pub(super) fn new(origin: Name, mut nodes: HashMap<Name, Node>) -> Option<Self> {
        let soa = nodes.get(&origin)?.set(RecordType::SOA)?.clone();
        let mut parents: Vec<Name> = Vec::new();
        for owner in nodes.keys().filter(|owner| **owner != origin) {
            // One that is there has seen to those above it.
            let mut parent = owner.base_name();
            while !nodes.contains_key(&parent) && !parent.is_root() {
                parents.push(parent.clone());
                parent = parent.base_name();
            }
        }
        for parent in parents {
            nodes.entry(parent).or_default();
        }
        let records = nodes.values().flat_map(|node| &node.sets).map(|set| set.data.len()).sum();
        Some(Self { origin, soa, nodes, records })
    }

    /// Its name.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Its SOA record.
    #[must_use]
    pub fn soa(&self) -> &RecordSet {
        &self.soa
    }

    /// What its SOA record says.
    #[must_use]
    pub fn authority(&self) -> &SOA {
        match self.soa.data.first() {
            Some(RData::SOA(soa)) => soa,
            _ => unreachable!("a set is never empty and has data of its type"),
        }
    }

    /// Its SOA record as it stands in an answer that denies: kept as long as the denial may be (RFC 2308 5).
    #[must_use]
    pub fn denial(&self) -> RecordSet {
        let ttl = self.soa.ttl.min(self.authority().minimum);
        self.soa.clone().with_ttl(ttl)
    }

    /// How many records it has.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// Every name, in no order.
    pub fn names(&self) -> impl Iterator<Item = (&Name, &Node)> {
        self.nodes.iter()
    }

    /// What is at a name itself, whether or not others serve it.
    #[must_use]
    pub fn node(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(name)
    }
}

impl Node {
    /// The records of a type.
    #[must_use]
    pub fn set(&self, kind: RecordType) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.kind == kind)
    }

    /// Whether it has name servers: below the apex, others serve it then.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.set(RecordType::NS).is_some()
    }

    /// The types that it has records of.
    pub fn kinds(&self) -> impl Iterator<Item = RecordType> {
        self.sets.iter().map(|set| set.kind)
    }
}
