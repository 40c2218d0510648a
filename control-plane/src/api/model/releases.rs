//! Releases in the JSON of the API, and how far they are.

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PopId;

use super::NackView;
use crate::rollout::Pace;

/// `POST /v1/releases/rollback`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version whose content everybody gets again.
    pub to: u64,
    /// Why.
    pub reason: String,
}

/// The answer to what makes or moves a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseAnswer {
    /// The newest version.
    pub version: u64,
    /// Whether anything is different from before.
    pub changed: bool,
}

/// `GET /v1/releases/{version}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseView {
    /// Its number.
    pub version: u64,
    /// The root over its resources, in hex.
    pub root: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// From when on no node takes it.
    pub expires_unix_ms: u64,
    /// The oldest build that takes it.
    pub build_min: String,
    /// The number of the key that signed it.
    pub key_number: u64,
    /// Who made it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// The change-set that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The version whose content it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// How it went out.
    pub pace: Pace,
    /// What it holds; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<String>>,
}

/// `GET /v1/releases/status`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusView {
    /// The newest version.
    pub version: u64,
    /// The roll-out under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// Every node.
    pub nodes: Vec<ReleaseNodeView>,
}

/// A roll-out under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RolloutView {
    /// The version that goes out.
    pub target: u64,
    /// The version that everybody else runs.
    pub base: u64,
    /// `canary`, `5%` or `25%`.
    pub stage: String,
    /// Whether it goes on by itself.
    pub pace: Pace,
    /// Whether somebody stopped it.
    pub paused: bool,
    /// Since when the stage lasts.
    pub since_unix_ms: u64,
    /// The PoPs that run the target.
    pub pops: Vec<PopId>,
    /// What happens next.
    pub next: String,
}

/// A node and what it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseNodeView {
    /// `pop/node`.
    pub node: String,
    /// Whether it is connected.
    pub connected: bool,
    /// The version that it shall run.
    pub wanted: u64,
    /// The version that it runs.
    pub version: u64,
    /// The version that it refused last, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nack: Option<NackView>,
}
