//! The nodes that were enrolled, and which certificates of theirs are good.
//!
//! A node has at most two good certificates: its newest, and the one before it until the newest is used. Enrolling
//! a node again makes all older ones worthless.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize};
use tidegate_contract::id::{NodeId, PopId};

use super::{
    error::StoreError,
    records::{COMMIT_ENTRIES_MAX, Commit, Expect},
    registry::{Hex, Kept, Registry, TRIES, contended, key, put},
};

/// A node's full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    /// Its PoP.
    pub pop: PopId,
    /// The node in that PoP.
    pub node: NodeId,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pop, self.node)
    }
}

/// A node as stored.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// Its name.
    pub name: NodeName,
    /// Serial number of its newest certificate.
    pub serial: Vec<u8>,
    /// Serial number of the one before, while it is still good.
    pub serial_previous: Option<Vec<u8>>,
    /// When the newest certificate ends.
    pub expires_unix_ms: u64,
    /// The purge offset that it had applied when it was last written down.
    pub applied: Option<u64>,
    /// When it was last heard of, as last written down.
    pub seen_unix_ms: Option<u64>,
}

impl NodeRow {
    /// Whether a certificate's serial number is one of the good ones.
    #[must_use]
    pub fn has_serial(&self, serial: &[u8]) -> bool {
        self.serial == serial || self.serial_previous.as_deref() == Some(serial)
    }
}

/// A node's certificates, as they lie under `node/<pop>/<node>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    pub(super) serial: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) serial_previous: Option<Hex>,
    pub(super) expires_unix_ms: u64,
    pub(super) enrolled_unix_ms: u64,
}

/// How far a node was, as it lies under `seen/<pop>/<node>`: apart, since it changes all the time.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SeenRecord {
    applied: Option<u64>,
    seen_unix_ms: u64,
}

impl Registry {
    /// Every node.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let seen = self.list::<SeenRecord>(SEEN).await?.into_iter();
        let mut seen: HashMap<_, _> =
            seen.map(|kept| (kept.key.as_str()[SEEN.len()..].to_owned(), kept.value)).collect();
        let nodes = self.list::<NodeRecord>(NODES).await?;
        nodes
            .into_iter()
            .map(|kept| {
                let name = kept.key.as_str()[NODES.len()..].to_owned();
                row(read_name(&name)?, kept.value, seen.remove(&name))
            })
            .collect()
    }

    /// One node.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn node(&self, name: &NodeName) -> Result<Option<NodeRow>, StoreError> {
        let found = self.get::<NodeRecord>(&node_key(name)).await?;
        found.map(|kept| row(name.clone(), kept.value, None)).transpose()
    }

    /// Writes a renewed certificate down: the one that asked stays good beside it. False when the node is not
    /// known or the certificate that asked is not good any more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn renew_node(
        &self,
        name: &NodeName,
        asked_with: Vec<u8>,
        serial: Vec<u8>,
        expires_unix_ms: u64,
    ) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let Some(Kept { key, value, revision }) =
                self.get::<NodeRecord>(&node_key(name)).await?
            else {
                return Ok(false);
            };
            if !row(name.clone(), value.clone(), None)?.has_serial(&asked_with) {
                return Ok(false);
            }
            let renewed = NodeRecord {
                serial: Hex(serial.clone()),
                serial_previous: Some(Hex(asked_with.clone())),
                expires_unix_ms,
                ..value
            };
            let commit = Commit {
                expect: vec![(key, Expect::At(revision))],
                puts: vec![put(&node_key(name), &renewed)],
                deletes: Vec::new(),
            };
            if self.try_commit(commit).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Forgets a node and its certificates; false when it was not known.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_node(&self, name: &NodeName) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let Some(found) = self.get::<NodeRecord>(&node_key(name)).await? else {
                return Ok(false);
            };
            let commit = Commit {
                expect: vec![(found.key, Expect::At(found.revision))],
                deletes: vec![key(&node_key(name)), key(&seen_key(name))],
                puts: Vec::new(),
            };
            if self.try_commit(commit).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Forgets the nodes and the enrolment tokens of a PoP.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_pop(&self, pop: &PopId) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        for prefix in [format!("{NODES}{pop}/"), format!("{SEEN}{pop}/")] {
            let found = self.records().list(&prefix).await?.records;
            gone.extend(found.into_iter().map(|record| record.key));
        }
        gone.extend(self.enrolments_of(pop).await?);
        for some in gone.chunks(COMMIT_ENTRIES_MAX) {
            let commit = Commit { deletes: some.to_vec(), ..Commit::default() };
            self.try_commit(commit).await?;
        }
        Ok(())
    }

    /// Writes down how far nodes are, for people who look after a restart. Correctness does not hang on it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn note_nodes(
        &self,
        notes: Vec<(NodeName, Option<u64>, u64)>,
    ) -> Result<(), StoreError> {
        for some in notes.chunks(COMMIT_ENTRIES_MAX) {
            let note = |(name, applied, seen_unix_ms): &(NodeName, Option<u64>, u64)| {
                let seen = SeenRecord { applied: *applied, seen_unix_ms: *seen_unix_ms };
                put(&seen_key(name), &seen)
            };
            let puts = some.iter().map(note).collect();
            self.try_commit(Commit { puts, ..Commit::default() }).await?;
        }
        Ok(())
    }

    /// How many nodes a PoP has, one of the given name not counted.
    pub(super) async fn count_others(&self, name: &NodeName) -> Result<usize, StoreError> {
        let nodes = self.records().list(&format!("{NODES}{}/", name.pop)).await?.records;
        let this = node_key(name);
        Ok(nodes.iter().filter(|record| record.key.as_str() != this).count())
    }
}

pub(super) fn node_key(name: &NodeName) -> String {
    format!("{NODES}{}/{}", name.pop, name.node)
}

pub(super) fn seen_key(name: &NodeName) -> String {
    format!("{SEEN}{}/{}", name.pop, name.node)
}

fn read_name(text: &str) -> Result<NodeName, StoreError> {
    let damaged = |detail: String| StoreError::damaged("node name", detail);
    let (pop, node) = text.split_once('/').ok_or_else(|| damaged("no slash".to_owned()))?;
    Ok(NodeName {
        pop: PopId::parse(pop).map_err(|error| damaged(error.to_string()))?,
        node: NodeId::parse(node).map_err(|error| damaged(error.to_string()))?,
    })
}

fn row(name: NodeName, node: NodeRecord, seen: Option<SeenRecord>) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        name,
        serial: node.serial.0,
        serial_previous: node.serial_previous.map(|serial| serial.0),
        expires_unix_ms: node.expires_unix_ms,
        applied: seen.as_ref().and_then(|seen| seen.applied),
        seen_unix_ms: seen.map(|seen| seen.seen_unix_ms),
    })
}

pub(super) const NODES: &str = "node/";
const SEEN: &str = "seen/";
