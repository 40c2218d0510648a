//! Replicas, and whose word counts, in the JSON of the API.

use serde::{Deserialize, Serialize};

use crate::rotation::{CutOff, Phase, Step};

/// A replica of the control plane that lives. One that has its store to itself is not listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Its id, anew at each start.
    pub id: String,
    /// Whether it leads.
    pub leads: bool,
    /// Where it listens.
    pub listens: String,
    /// Its number; grows with each time it began to live.
    pub epoch: u64,
}

/// `GET /v1/authority`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthorityView {
    /// Where a rotation stands.
    pub phase: Phase,
    /// PEM of everybody who counts.
    pub bundle_pem: String,
    /// Who that is.
    pub authorities: Vec<AuthorityItem>,
    /// The nodes that the next step would cut off.
    pub lacking: Vec<CutOff>,
}

/// An authority whose certificates count.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthorityItem {
    /// SHA-256 of its PEM.
    pub sha256: String,
    /// `signs`, `next` or `old`.
    pub role: String,
    /// When it ends.
    pub ends_unix_ms: u64,
}

/// `POST /v1/authority/rotation`
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationRequest {
    /// Which step.
    pub step: Step,
}
