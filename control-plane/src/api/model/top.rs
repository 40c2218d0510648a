//! What clients ask for most in the JSON of the API.

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PropertyId;

/// `GET /v1/top`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopView {
    /// Nodes that told what their clients ask for in the last minute, this replica or another.
    pub nodes: usize,
    /// Nodes that there are.
    pub nodes_all: usize,
    /// By how much requests a second may be too low, for what other replicas left out of what they tell; 0 where nothing was.
    #[serde(default)]
    pub low_by_requests_per_s: f64,
    /// By how much Mbit/s may be.
    #[serde(default)]
    pub low_by_mbps: f64,
    /// The busiest first.
    pub items: Vec<TopItem>,
}

/// How much of one thing is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopItem {
    /// The property.
    pub property: PropertyId,
    /// The path, without a query; absent where a whole property is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Requests a second, over the last minute.
    pub requests_per_s: f64,
    /// What is sent.
    pub mbps: f64,
    /// In how many PoPs it is asked for.
    pub pops: usize,
}
