//! The JSON of draining, anycast and health, as the server writes it and the command line reads it.
//!
//! Fields are only ever added. Times are milliseconds since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_contract::{
    anycast::{Level, PopSite},
    id::{AnycastGroupId, NodeId, PopId, PrefixId},
    network::Network,
    telemetry::Report,
};

use crate::{
    anycast::{Assigned, Plan},
    drain::{Drain, Target},
};

/// `POST /v1/pops/{pop}/drain`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// How far; until nothing is announced, unless said otherwise.
    #[serde(default = "off")]
    pub to_level: Target,
    /// How long it waits altogether, like `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Why.
    pub reason: String,
}

/// `DELETE /v1/pops/{pop}/drain`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UndrainRequest {
    /// How long the PoP's share of clients grows, like `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<String>,
}

/// A drain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DrainView {
    /// `permit`, `dns`, `steering`, `goaway`, `prepend`, `gshut`, `flows`, `withdrawn` or `returning`.
    pub stage: String,
    /// Whether it is as far as it shall go.
    pub is_done: bool,
    /// The PoP's share of new clients.
    pub weight_percent: u8,
    /// What was reserved when it began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Plan>,
    /// The record.
    pub drain: Drain,
}

/// `GET /v1/fleet`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FleetList {
    /// Names this state; a reader says `?reader=NAME&seen=REVISION` when it answers clients by it.
    pub revision: u64,
    /// The PoPs.
    pub items: Vec<FleetPop>,
}

/// A PoP as clients are answered by it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FleetPop {
    /// Its id.
    pub pop: PopId,
    /// Where it is and what it can.
    pub site: PopSite,
    /// `good`, `degraded`, `bad` or `unknown`.
    pub health: String,
    /// Why.
    pub why: String,
    /// The stage of its drain; absent: it does not drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Its share of new clients.
    pub weight_percent: u8,
    /// What it sends.
    pub mbps: u64,
}

/// `GET /v1/anycast`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupList {
    /// The groups.
    pub items: Vec<GroupView>,
}

/// `GET /v1/anycast/{group}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupView {
    /// Its id.
    pub group: AnycastGroupId,
    /// Grows with every change.
    pub epoch: u64,
    /// Its prefixes.
    pub prefixes: Vec<PrefixId>,
    /// What is allowed.
    pub interlock: InterlockView,
    /// Its PoPs.
    pub pops: Vec<GroupPop>,
}

/// A PoP of a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupPop {
    /// Its id.
    pub pop: PopId,
    /// How it is.
    pub health: String,
    /// How full it is.
    pub percent: u64,
    /// Whether it goes, or has gone, by a drain.
    pub is_draining: bool,
    /// What it was told; a prefix that is not named is announced normally.
    pub told: BTreeMap<PrefixId, Assigned>,
    /// What its speakers announce, as they say.
    pub announced: BTreeMap<PrefixId, Level>,
    /// Whether its watch holds everything back.
    pub is_gate_closed: bool,
    /// Sessions with neighbours, over its speakers.
    pub sessions: u32,
    /// Of them, established.
    pub established: u32,
}

/// `GET /v1/anycast/{group}/catchment`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatchmentView {
    /// The group.
    pub group: AnycastGroupId,
    /// The geo node that answered.
    pub node: String,
    /// Its prefixes.
    pub prefixes: Vec<CatchmentPrefix>,
    /// Who lands where, as the geo node has it. A PoP that is not in it is one of which nothing was told.
    pub catchment: Value,
    /// Where each PoP's clients are expected without it.
    pub withdrawals: Vec<WithdrawalView>,
}

/// A prefix of a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatchmentPrefix {
    /// Its id.
    pub prefix: PrefixId,
    /// Its addresses.
    pub block: Network,
}

/// What is expected when a PoP withdraws.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WithdrawalView {
    /// The PoP.
    pub pop: PopId,
    /// Where the clients of each prefix are expected that it announces.
    pub lands: Vec<Landing>,
    /// The load that is expected of each PoP then, in percent of its capacity; absent: there is nowhere to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_percent: Option<BTreeMap<PopId, u64>>,
}

/// Where the clients of a prefix are expected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Landing {
    /// The prefix.
    pub prefix: PrefixId,
    /// The PoP; absent: there is nowhere to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PopId>,
}

/// `GET /v1/anycast/{group}/interlock`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterlockView {
    /// PoPs that always announce each prefix.
    pub min_announcing: u32,
    /// The most capacity that is withdrawn at a time.
    pub max_capacity_withdrawn_percent: u8,
    /// Whether nothing may be announced less.
    pub is_frozen: bool,
    /// Whether load is shed by itself.
    pub is_shedding: bool,
}

/// `POST /v1/anycast/{group}/level`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelRequest {
    /// Where.
    pub pop: PopId,
    /// Which prefixes; none means all of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<PrefixId>,
    /// What they shall be.
    pub level: Level,
    /// Why.
    pub reason: String,
}

/// `POST /v1/pops/{pop}/speaker-trial`: with a timeout a trial begins, without one it is confirmed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRequest {
    /// After so long the speaker takes its configuration back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// A trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrialView {
    /// Where.
    pub pop: PopId,
    /// Its number.
    pub id: u64,
    /// Whether it stays.
    pub is_confirmed: bool,
}

/// `GET /v1/health`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthList {
    /// The PoPs.
    pub items: Vec<HealthPop>,
}

/// `GET /v1/health/{pop}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthPop {
    /// The PoP.
    pub pop: PopId,
    /// `good`, `degraded`, `bad` or `unknown`.
    pub health: String,
    /// Why.
    pub why: String,
    /// Other PoPs that reach it.
    pub views_good: u32,
    /// Other PoPs that do not.
    pub views_bad: u32,
    /// Requests of the last second.
    pub requests: u64,
    /// Of them, failed.
    pub errors: u64,
    /// What its nodes say.
    pub nodes: Vec<HealthNode>,
}

/// What a node says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthNode {
    /// The node.
    pub node: NodeId,
    /// When.
    pub heard_unix_ms: u64,
    /// What it sends.
    pub mbps: u64,
    /// Connections cut or refused in the last second.
    pub resets: u64,
    /// All of it.
    pub report: Report,
}

/// `GET /v1/health-history`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    /// The PoP.
    pub pop: PopId,
    /// When.
    pub at_unix_ms: u64,
    /// What it was: `good`, `degraded`, `bad` or `unknown`.
    pub from: String,
    /// What it is since.
    pub to: String,
    /// Why.
    pub why: String,
}

fn off() -> Target {
    Target::Off
}
