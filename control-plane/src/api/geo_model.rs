//! The JSON of the DNS, as the server writes it and the command line reads it.
//!
//! Fields are only ever added. What a geo node answers is passed on as it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::geo::Freeze;

/// `GET /v1/dns/resolve`, `/v1/dns/map`, `/v1/dns/map/diff`, `/v1/steering/manifest`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// The geo node that answered.
    pub node: String,
    /// What it said.
    pub answer: Value,
}

/// `POST /v1/dns/map/freeze`, `/v1/dns/map/thaw`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Why.
    pub reason: String,
}

/// `GET /v1/dns/map/hold`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldView {
    /// Who holds the map, and why; absent: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Freeze>,
}

/// `GET /v1/dns/zones`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneList {
    /// The release that geo nodes are told; 0: none.
    pub version: u64,
    /// The zones, by name.
    pub items: Vec<ZoneView>,
    /// Geo nodes that said what they serve.
    pub asked: Vec<String>,
    /// Geo nodes of which nobody knows.
    pub silent: Vec<ZoneSilence>,
}

/// A zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneView {
    /// Its name, without a dot at its end.
    pub zone: String,
    /// Whether it is a resource that is released; else it is a file of some node alone.
    pub is_released: bool,
    /// The serial number that is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Records that are released.
    pub records: u64,
    /// Names whose addresses come from the map.
    pub steered: u64,
    /// What each geo node has of it; more than one entry of a node where a file stands beside the resource.
    pub nodes: Vec<ZoneAtNode>,
}

/// A zone at a geo node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneAtNode {
    /// The node.
    pub node: String,
    /// Where it has it from, in its words.
    pub source: String,
    /// Whether that is a file of its own, which goes before what it is told.
    pub is_file: bool,
    /// The serial number that serves; absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Records that serve.
    pub records: u64,
    /// Whether its answers are signed; absent: the node did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// Why the newest text is refused; absent: it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A geo node that did not say what it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneSilence {
    /// The node.
    pub node: String,
    /// Why.
    pub why: String,
}

/// `GET /v1/dns/zones/{zone}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneContent {
    /// The release that it is of.
    pub version: u64,
    /// Its name, without a dot at its end.
    pub zone: String,
    /// Its serial number.
    pub serial: u32,
    /// The records that were asked for, in the order of names.
    pub records: Vec<RecordView>,
    /// Records beyond what one answer has.
    pub left_out: u64,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Whose it is, with a dot at its end.
    pub name: String,
    /// How long it may be kept, in seconds.
    pub ttl: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says, as in a master file.
    pub data: String,
}

/// `GET /v1/dns/signing`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SigningList {
    /// What each geo node says; all need the same keys.
    pub items: Vec<NodeSigning>,
}

/// The keys that a geo node signs with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeSigning {
    /// The node.
    pub node: String,
    /// What it said: zones, their keys, what comes next. Absent: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `POST /v1/dns/signing/{zone}/roll`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollRequest {
    /// Which kind of key: `csk`, `ksk` or `zsk`; absent: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The step is that the parent has the DS record of the new key, beside that of the old one.
    #[serde(default)]
    pub ds_seen: bool,
    /// Geo nodes that nobody waits for: they are gone, or answer no client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The step that was shown; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The revision that was shown to be before it; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Why.
    pub reason: String,
}

/// A step of a roll-over of keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RollView {
    /// The zone.
    pub zone: String,
    /// Of which kind of key.
    pub kind: String,
    /// `publish`, `ds`, `activate`, `remove`; `wait` or `ds` where it is not due.
    pub step: String,
    /// The same for people.
    pub text: String,
    /// Whether it is due: taken, or in a dry run to be taken. Else nothing was done.
    pub is_due: bool,
    /// From when on it is due (RFC 3339); absent: now, or nobody knows yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What comes after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The DS records that the parent is to have after it; none where it changes nothing of them.
    pub ds: Vec<String>,
    /// The revision of the zone's keys before it; 0: no step was taken from here.
    pub before: u64,
    /// The revision after it; absent: it is not due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The geo nodes that have the keys before it.
    pub nodes: Vec<String>,
}

impl RecordView {
    /// The record as a line of a master file.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { name, ttl, kind, data } = self;
        format!("{name} {ttl} IN {kind} {data}").trim_end().to_owned()
    }
}
