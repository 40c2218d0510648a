//! PoPs and their nodes in the JSON of the API.

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::{NodeId, PopId},
    node_order::Act,
    property::Upstream,
    snapshot::PopRole,
};

/// `GET /v1/pops`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PopList {
    /// All PoPs, by id.
    pub pops: Vec<PopView>,
}

/// `GET /v1/pops/{pop}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PopView {
    /// Its id.
    pub pop: PopId,
    /// What it is to its neighbours.
    pub role: PopRole,
    /// How edges reach it, when it is a shield.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield_upstream: Option<Upstream>,
    /// `up`, `draining`, `not_ready`, `uncertain`, `down`, or `empty` when it has no node.
    pub state: String,
    /// The generation that its nodes shall run.
    pub generation: u64,
    /// The newest purge offset.
    pub purge_head: u64,
    /// Its nodes, by id.
    pub nodes: Vec<NodeView>,
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub node: NodeId,
    /// `up`, `draining`, `not_ready`, `uncertain` or `down`.
    pub state: String,
    /// Whether both of its lanes are open.
    pub connected: bool,
    /// Its build, as it says.
    pub build: String,
    /// The generation that it runs; 0 when it has none.
    pub generation: u64,
    /// The generation that it refused last, until it accepts one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nack: Option<NackView>,
    /// The purge offset that it applied; absent when nobody can tell.
    pub purge_applied: Option<u64>,
    /// How many purges it is behind.
    pub purge_lag: Option<u64>,
    /// When it last said anything.
    pub heard_unix_ms: Option<u64>,
    /// When its certificate ends.
    pub certificate_expires_unix_ms: u64,
    /// What it last said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthView>,
}

/// A generation that a node refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NackView {
    /// The generation.
    pub generation: u64,
    /// Why, in the node's words.
    pub error: String,
}

/// What a node says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthView {
    /// Whether it can serve.
    pub ready: bool,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Requests since it started.
    pub requests_total: u64,
    /// Hits since it started.
    pub hits_total: u64,
    /// Errors since it started.
    pub errors_total: u64,
    /// Bytes in its cache.
    pub cache_bytes: u64,
    /// When it started.
    pub started_unix_ms: u64,
}

/// `PUT /v1/pops/{pop}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopRequest {
    /// What it is to its neighbours.
    pub role: PopRole,
    /// How edges reach it, when it is a shield.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield_upstream: Option<Upstream>,
}

/// `POST /v1/pops/{pop}/enrolment-tokens`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnrolmentTokenView {
    /// The token, shown this once.
    pub token: String,
    /// The PoP whose nodes it enrols: one node, once.
    pub pop: PopId,
    /// When it ends.
    pub expires_unix_ms: u64,
}

/// `POST /v1/pops/{pop}/nodes/{node}/order`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeOrderRequest {
    /// `restart` or `rollback_local`.
    pub act: Act,
    /// Why.
    pub reason: String,
}

/// An order to one node, or what one would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOrderView {
    /// The node, as POP/NODE.
    pub node: String,
    /// Grows with every order; absent in a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// `restart` or `rollback_local`.
    pub act: Act,
    /// `planned`, `waiting`, `begun`, `done`, `refused` or `unanswered`.
    pub state: String,
    /// What the node says of it; of a plan, what would happen.
    pub detail: String,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_unix_ms: Option<u64>,
    /// When the node last said something else of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_unix_ms: Option<u64>,
}

/// As [`property_path`], of a PoP.
#[must_use]
pub fn pop_path(id: &PopId) -> String {
    format!("/v1/pops/{id}")
}
