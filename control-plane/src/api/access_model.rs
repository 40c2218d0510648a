//! The JSON of tokens, roles, approvals, the audit log and the status page.
//!
//! Fields are only ever added. A token's text stands in one answer alone, the one that makes it.

use serde::{Deserialize, Serialize};

use super::model::Items;
use crate::access::{Approval, ChainBreak, Entry, Head, Role, Row};

/// `POST /v1/tokens`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Whose it is; tokens of one label are one person's.
    pub label: String,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// By which roles it may do more.
    #[serde(default)]
    pub roles: Vec<String>,
    /// How long it is good, as `90d`; absent when it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// Why it is made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// One token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenView {
    /// Its public id.
    pub id: String,
    /// Whose it is.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// By which roles it may do more.
    pub roles: Vec<String>,
    /// When it was made.
    pub created_unix_ms: u64,
    /// The token that made it; absent when it was made on the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it ends; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// The whole token, in the answer that makes it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `GET /v1/roles`
pub type RoleList = Items<Role>;

/// `GET /v1/approvals`
pub type ApprovalList = Items<Approval>;

/// `GET /v1/whoami`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WhoamiView {
    /// The token's public id.
    pub id: String,
    /// Whose it is.
    pub label: String,
    /// Everything that it may do, its roles' scopes included.
    pub scopes: Vec<String>,
}

/// `POST /v1/can-i`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanIRequest {
    /// The verb, as it stands in a scope.
    pub verb: String,
    /// `kind/name`, or empty for everything.
    #[serde(default)]
    pub target: String,
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CanIView {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The scopes that allow it.
    pub by: Vec<String>,
}

/// `GET /v1/audit`: rows in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditList {
    /// The rows.
    pub items: Vec<AuditView>,
    /// Where the log ends.
    pub head: Head,
}

/// One row of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditView {
    /// What is hashed, and the hashes.
    #[serde(flatten)]
    pub entry: Entry,
    /// What the row says; absent when this program cannot read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Row>,
}

/// `GET /v1/audit/verify`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// Whether every row that was looked at is as it was written.
    pub ok: bool,
    /// The first row that was looked at.
    pub from: u64,
    /// The last row that was looked at; below the head when there are more than one call looks at.
    pub to: u64,
    /// The hash of that row.
    pub hash: String,
    /// Where the log ends.
    pub head: Head,
    /// The first row that is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<ChainBreak>,
}

/// `GET /v1/status`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusPageView {
    /// When it was so.
    pub at_unix_ms: u64,
    /// The newest purge.
    pub purge_head: u64,
    /// Every PoP.
    pub pops: Vec<PopStatus>,
    /// What is released.
    pub release: ReleaseStatus,
    /// How much waits for a second person.
    pub approvals_pending: usize,
    /// Where the audit log ends.
    pub audit: Head,
}

/// One PoP on the status page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PopStatus {
    /// Its id.
    pub pop: String,
    /// `edge` or `shield`.
    pub role: String,
    /// `up`, `draining`, `not_ready`, `uncertain`, `down` or `empty`.
    pub state: String,
    /// Its nodes.
    pub nodes: usize,
    /// Those that are up.
    pub nodes_up: usize,
    /// The release that its nodes shall run.
    pub release: u64,
    /// The oldest that one of them runs.
    pub release_oldest: Option<u64>,
    /// How many purges its last node is behind.
    pub purge_lag: Option<u64>,
    /// Hits of all requests since its nodes started, from 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Where it is, when its spec says so.
    pub place: Option<PlaceView>,
}

/// A place on the globe, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlaceView {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

/// What is released.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// The newest version.
    pub version: u64,
    /// How far a roll-out is; absent when none is under way.
    pub stage: Option<String>,
    /// What it waits for.
    pub next: Option<String>,
}
