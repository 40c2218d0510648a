//! What nodes say when they are asked, in the JSON of the API.

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::{NodeId, PopId},
    node_question::{Check, LogLine, LogPlace},
};

/// `GET /v1/pops/{pop}/log`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogList {
    /// The PoP.
    pub pop: PopId,
    /// Its nodes, by id.
    pub nodes: Vec<NodeLogView>,
}

/// Lines of one node's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLogView {
    /// The node.
    pub node: NodeId,
    /// `answered`, `refused`, `away` (it has no lane open) or `silent` (it did not answer in time).
    pub state: String,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<LogPlace>,
    /// Lines behind the place that was asked for that the node does not keep any more.
    pub lost: u64,
    /// Whether more stand behind `place` already.
    pub is_more: bool,
    /// Older lines that are wanted as well and do not fit into one answer.
    pub older: u64,
    /// In the order of the log.
    pub lines: Vec<LogLine>,
}

/// `GET /v1/pops/{pop}/check`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckList {
    /// The PoP.
    pub pop: PopId,
    /// Its nodes, by id.
    pub nodes: Vec<NodeCheckView>,
}

/// What one node found when it looked at itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCheckView {
    /// The node.
    pub node: NodeId,
    /// As of [`NodeLogView`].
    pub state: String,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it looked at.
    pub checks: Vec<Check>,
}

/// `DELETE /v1/pops/{pop}/nodes`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedView {
    /// The PoP.
    pub pop: PopId,
    /// The nodes whose identities are worthless, or would be.
    pub nodes: Vec<NodeId>,
    /// Whether nothing was done.
    pub dry_run: bool,
}
