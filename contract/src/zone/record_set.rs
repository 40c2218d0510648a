//! Records of one name and type: what is answered, and what is signed.
//!
//! Invariant: never empty, and one TTL for all of them.

use std::sync::Arc;

use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Records of one name and type. A clone shares the data.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSet {
    /// Whose they are.
    pub owner: Name,
    /// Their type.
    pub kind: RecordType,
    /// How long they may be kept, in seconds.
    pub ttl: u32,
    /// What they say.
    pub data: Arc<[RData]>,
}

impl RecordSet {
    /// Its records.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let record = |data: &RData| Record::from_rdata(self.owner.clone(), self.ttl, data.clone());
        self.data.iter().map(record)
    }

    /// The same records under another name: what a wildcard stands for.
    #[must_use]
    pub fn owned_by(&self, owner: &Name) -> Self {
        Self { owner: owner.clone(), ..self.clone() }
    }

    /// The same records with another TTL.
    #[must_use]
    pub fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }
}
