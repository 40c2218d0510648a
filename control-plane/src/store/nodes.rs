//! The nodes that were enrolled, and which certificates of theirs are good.
//!
//! A node has at most two good certificates: its newest, and the one before it until the newest is used. Enrolling
//! a node again makes all older ones worthless.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_contract::id::{NodeId, PopId};

use super::{Store, error::StoreError};

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

impl Store {
    /// Every node.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM node ORDER BY pop, node");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.push(node(row)?);
            }
            Ok(all)
        })
        .await
    }

    /// One node.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn node(&self, name: &NodeName) -> Result<Option<NodeRow>, StoreError> {
        let name = name.clone();
        self.read(move |connection| find(connection, &name)).await
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
        let name = name.clone();
        self.write(
            move |connection| {
                let known = find(connection, &name)?;
                if !known.is_some_and(|row| row.has_serial(&asked_with)) {
                    return Ok(false);
                }
                connection.execute(
                    "UPDATE node SET serial = ?3, serial_previous = ?4, expires_unix_ms = ?5
                     WHERE pop = ?1 AND node = ?2",
                    params![
                        name.pop.as_str(),
                        name.node.as_str(),
                        serial,
                        asked_with,
                        expires_unix_ms
                    ],
                )?;
                Ok(true)
            },
            |_| {},
        )
        .await
    }

    /// Forgets a node and its certificates; false when it was not known.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_node(&self, name: &NodeName) -> Result<bool, StoreError> {
        let name = name.clone();
        self.write(
            move |connection| {
                let sql = "DELETE FROM node WHERE pop = ?1 AND node = ?2";
                Ok(connection.execute(sql, [name.pop.as_str(), name.node.as_str()])? > 0)
            },
            |_| {},
        )
        .await
    }

    /// Writes down how far nodes are, for people who look after a restart. Correctness does not hang on it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn note_nodes(
        &self,
        notes: Vec<(NodeName, Option<u64>, u64)>,
    ) -> Result<(), StoreError> {
        self.write(
            move |connection| {
                let mut sql = connection.prepare_cached(
                    "UPDATE node SET applied = ?3, seen_unix_ms = ?4 WHERE pop = ?1 AND node = ?2",
                )?;
                for (name, applied, seen_unix_ms) in notes {
                    sql.execute(params![
                        name.pop.as_str(),
                        name.node.as_str(),
                        applied,
                        seen_unix_ms
                    ])?;
                }
                Ok(())
            },
            |()| {},
        )
        .await
    }
}

/// Writes a newly enrolled node down, in the place of one with the same name.
pub(super) fn enrol(
    connection: &Connection,
    name: &NodeName,
    serial: &[u8],
    expires_unix_ms: u64,
    now_unix_ms: u64,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO node VALUES (?1, ?2, ?3, NULL, ?4, ?5, NULL, NULL)",
        params![name.pop.as_str(), name.node.as_str(), serial, expires_unix_ms, now_unix_ms],
    )?;
    Ok(())
}

/// How many nodes a PoP has, one of the given name not counted.
pub(super) fn count_others(connection: &Connection, name: &NodeName) -> Result<usize, StoreError> {
    let sql = "SELECT count(*) FROM node WHERE pop = ?1 AND node <> ?2";
    let count: i64 =
        connection.query_row(sql, [name.pop.as_str(), name.node.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn find(connection: &Connection, name: &NodeName) -> Result<Option<NodeRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM node WHERE pop = ?1 AND node = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row([name.pop.as_str(), name.node.as_str()], |row| Ok(node(row)))
        .optional()?
        .transpose()
}

fn node(row: &Row<'_>) -> Result<NodeRow, StoreError> {
    let damaged = |error| StoreError::damaged("node name", error);
    Ok(NodeRow {
        name: NodeName {
            pop: PopId::parse(row.get::<_, String>(0)?).map_err(damaged)?,
            node: NodeId::parse(row.get::<_, String>(1)?).map_err(damaged)?,
        },
        serial: row.get(2)?,
        serial_previous: row.get(3)?,
        expires_unix_ms: row.get(4)?,
        applied: row.get(5)?,
        seen_unix_ms: row.get(6)?,
    })
}

const COLUMNS: &str = "pop, node, serial, serial_previous, expires_unix_ms, applied, seen_unix_ms";
