//! How a node is once a second, and what it shall do: both are whole, never differences, so that one that got lost costs
//! nothing.
//!
//! Invariant: an order to announce a prefix less carries a permit, and nothing here says whether the control plane can be
//! reached: what no word exists for, no program can act on.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    anycast::Level,
    id::{PopId, PrefixId},
    node_order::{NodeOrder, OrderReport},
};

/// The largest report or set of orders, in bytes of JSON.
pub const TELEMETRY_BYTES_MAX: usize = 48 * 1024;
/// The most neighbours that a node looks at.
pub const VIEWS_MAX: usize = 8;

/// What every node answers with status 200 and a few bytes of its own on every host, once it can serve: for itself and for
/// its neighbours.
pub const SELF_TEST_PATH: &str = "/.well-known/tidegate/self-test";

/// One thing that a node tries on itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A request over TLS to its own public listener.
    Https,
    /// The same over QUIC.
    H3,
    /// A write and a read in the folder of the disk tier.
    Disk,
    /// Whether the interfaces that carry clients are up.
    Nic,
}

/// How a node finds itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelfTest {
    /// Whether it can serve, with hysteresis.
    pub is_good: bool,
    /// What failed the last time.
    pub failed: BTreeSet<Probe>,
}

/// What a node moved since it started, and holds now. Rates are made of two of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Requests that ended.
    pub requests_total: u64,
    /// Of them, answered with a status of 500 or above or not at all, for our or upstream's fault.
    pub errors_total: u64,
    /// Connections of clients that were cut or refused.
    pub resets_total: u64,
    /// Body bytes to clients.
    pub sent_bytes_total: u64,
    /// Connections of clients now.
    pub connections: u64,
}

/// How a node finds a neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Which.
    pub pop: PopId,
    /// Whether a request over TLS to a public address of it was answered.
    pub is_good: bool,
}

/// What the speaker of a node's PoP does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpeakerReport {
    /// Whether it answers.
    pub is_up: bool,
    /// Sessions with neighbours that are established, and all of them.
    pub established: u32,
    /// As above.
    pub sessions: u32,
    /// What each prefix is announced as.
    pub levels: BTreeMap<PrefixId, Level>,
    /// Whether the dead man's gate is closed: nothing is announced, whatever the levels say.
    pub is_gate_closed: bool,
    /// A configuration that waits for its confirmation, or the last one's outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialReport>,
}

/// How far a trial of a speaker's configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReport {
    /// Its number.
    pub id: u64,
    /// What became of it.
    pub state: TrialState,
}

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// In use; undone by the speaker itself when no confirmation comes in time.
    Pending,
    /// In use for good.
    Confirmed,
    /// The speaker refused it.
    Refused,
}

/// What a node says once a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// How it finds itself.
    pub self_test: SelfTest,
    /// What it moved.
    pub load: Load,
    /// How it finds its neighbours.
    pub views: Vec<View>,
    /// What its speaker does; absent where the node has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<SpeakerReport>,
    /// Whether it asks its clients to go elsewhere.
    pub is_leaving: bool,
    /// Orders that it refused, by prefix.
    pub refused: BTreeMap<PrefixId, String>,
    /// What became of the last order to this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderReport>,
}

/// What a PoP may do with a prefix, and until when it may begin to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelOrder {
    /// What the prefix shall be announced as.
    pub level: Level,
    /// Grows with every order of the prefix's group: an older one is refused.
    pub epoch: u64,
    /// After this the order begins nothing any more; what it has begun stays. Milliseconds since 1970.
    pub expires_unix_ms: u64,
}

/// A neighbour that a node shall look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Which.
    pub pop: PopId,
    /// Where it answers.
    pub address: SocketAddr,
    /// A name that its certificate answers to. Absent: `localhost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A configuration of the speaker that is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialOrder {
    /// Its number; a node tries each once.
    pub id: u64,
    /// How long the speaker waits before it takes the configuration back.
    pub timeout_s: u16,
    /// Whether it is confirmed.
    pub is_confirmed: bool,
    /// After this a node does not begin it any more. Milliseconds since 1970.
    pub expires_unix_ms: u64,
}

/// What a node shall do: the whole of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// What prefixes are announced as. One that is not named stays as it is.
    pub levels: BTreeMap<PrefixId, LevelOrder>,
    /// Whether clients are asked to go elsewhere: GOAWAY, `Connection: close`.
    pub is_leaving: bool,
    /// Whom to look at; at most [`VIEWS_MAX`].
    pub neighbours: Vec<Neighbour>,
    /// What the speaker shall try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialOrder>,
    /// What this node alone shall do, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeOrder>,
}

/// Bytes that are no report or no orders.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Larger than [`TELEMETRY_BYTES_MAX`].
    #[error("at most {TELEMETRY_BYTES_MAX} bytes, not {0}")]
    Size(usize),
    /// Not the JSON of it.
    #[error("cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// More neighbours or views than allowed.
    #[error("at most {VIEWS_MAX} neighbours, not {0}")]
    Views(usize),
}

impl Report {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a report holds only strings, numbers and lists")
    }

    /// Reads a report of somebody else.
    ///
    /// # Errors
    /// [`TelemetryError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TelemetryError> {
        let report: Self = read(bytes)?;
        views(report.views.len())?;
        Ok(report)
    }
}

impl Orders {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("orders hold only strings, numbers and lists")
    }

    /// Reads orders of somebody else.
    ///
    /// # Errors
    /// [`TelemetryError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TelemetryError> {
        let orders: Self = read(bytes)?;
        views(orders.neighbours.len())?;
        Ok(orders)
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, TelemetryError> {
    if bytes.len() > TELEMETRY_BYTES_MAX {
        return Err(TelemetryError::Size(bytes.len()));
    }
    Ok(serde_json::from_slice(bytes)?)
}

fn views(found: usize) -> Result<(), TelemetryError> {
    if found > VIEWS_MAX { Err(TelemetryError::Views(found)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_another_version_is_read_as_far_as_it_is_known() {
        let text = br#"{"self_test":{"is_good":true,"failed":["h3"]},"from_the_future":1}"#;
        let report = Report::from_bytes(text).expect("readable");
        assert!(report.self_test.is_good && report.self_test.failed.contains(&Probe::H3));
        assert_eq!(Report::from_bytes(&report.to_bytes()).expect("readable"), report);
        assert_eq!(Orders::from_bytes(b"{}").expect("readable"), Orders::default());
    }

    #[test]
    fn what_is_too_large_is_not_even_read() {
        let large = [b' '; TELEMETRY_BYTES_MAX + 1];
        assert!(matches!(Orders::from_bytes(&large), Err(TelemetryError::Size(_))));
        let one = r#"{"pop":"a","address":"127.0.0.1:1"}"#;
        let many = format!(r#"{{"neighbours":[{}]}}"#, [one; VIEWS_MAX + 1].join(","));
        assert!(matches!(Orders::from_bytes(many.as_bytes()), Err(TelemetryError::Views(_))));
    }
}
