//! The JSON of the DNS, as the server writes it and the command line reads it.
//!
//! Fields are only ever added. What a geo node answers is passed on as it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::geo::Freeze;

/// `GET /v1/dns/resolve`, `/v1/dns/map`, `/v1/dns/map/diff`
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
