//! What clients ask for most in the JSON of the API.

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PropertyId;

/// `GET /v1/top`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopView {
    /// Nodes that told this replica what their clients ask for in the last minute.
    pub nodes: usize,
    /// Nodes that there are.
    pub nodes_all: usize,
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
