//! The JSON of the API, as the server writes it and the command line reads it.
//!
//! Fields are only ever added. Times are milliseconds since 1970.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_contract::{
    id::{NodeId, PopId, PropertyId, PurgeId, StreamId},
    property::{Property, Upstream},
    purge::PurgeOrder,
    replacement::Replacement,
    resource::{Kind, ResourceKey, ResourceName},
    snapshot::PopRole,
};

use crate::{
    change::{Act, ChangeState, Put},
    rollout::Pace,
    rotation::{CutOff, Phase, Step},
};

/// `POST /v1/purges`: a purge to order. The order's own fields stand beside these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeRequest {
    /// What is purged, and how.
    #[serde(flatten)]
    pub order: PurgeOrder,
    /// What every PoP serves from then on in the place of what is purged; for a hard purge of a URL alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Replacement>,
    /// Whether the answer waits for confirmations.
    #[serde(default)]
    pub wait: Wait,
    /// The longest wait, `3s` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

/// What the answer to a purge waits for: `none`, `all`, or a share like `99%`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Wait {
    /// Only for the purge to be durable.
    #[default]
    None,
    /// For every node that is not cut off.
    All,
    /// For so many of a hundred nodes, 1 to 99: one slow PoP need not hold up a deployment.
    Percent(u8),
}

impl Wait {
    /// How many of a hundred nodes must not be pending; absent where nobody waits.
    #[must_use]
    pub fn percent(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::All => Some(100),
            Self::Percent(percent) => Some(percent),
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = || text.strip_suffix('%')?.parse::<u8>().ok();
        match text {
            "none" => Ok(Self::None),
            "all" | "100%" => Ok(Self::All),
            _ => match percent() {
                Some(percent @ 1..=99) => Ok(Self::Percent(percent)),
                _ => Err("wait is none, all, or a share from 1% to 100%".to_owned()),
            },
        }
    }
}

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Wait> for String {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::None => "none".to_owned(),
            Wait::All => "all".to_owned(),
            Wait::Percent(percent) => format!("{percent}%"),
        }
    }
}

/// A purge that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeView {
    /// Its id.
    pub id: PurgeId,
    /// The stream that it stands in.
    pub stream: StreamId,
    /// Its place in the stream.
    pub offset: u64,
    /// When it was accepted.
    pub accepted_unix_ms: u64,
    /// What is purged; absent in the answer to the order itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<PurgeOrder>,
    /// What came with it; absent in a plain purge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<ReplacementView>,
    /// How far each node is; absent where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pops: Option<Vec<PurgeNodeView>>,
    /// Whether no node is pending; absent where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Whether as many nodes are not pending as the order wanted to wait for; absent where nobody waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<bool>,
}

/// What came with a purge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplacementView {
    /// BLAKE3 over headers and body, in hex.
    pub digest: String,
    /// The length of its body; absent when it is not kept any more, so that nodes get the purge alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its headers, while they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

/// How far one node is with a purge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeNodeView {
    /// Its PoP.
    pub pop: PopId,
    /// The node.
    pub node: NodeId,
    /// `applied`, `pending` or `uncertain`: cut off or behind for longer than its lease, so that it revalidates.
    pub state: String,
    /// Why it has not applied it, as far as can be told from here: `down`, `cut off`, `draining`, `behind by N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// From acceptance to the node's acknowledgement, when that is known.
    pub ms: Option<u64>,
}

/// `GET /v1/purges`: a page of the log, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeList {
    /// The stream.
    pub stream: StreamId,
    /// The newest offset.
    pub head: u64,
    /// The purges.
    pub purges: Vec<PurgeView>,
}

/// `GET /v1/purges/lag`: how far every node is behind the log, by PoP and node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeLagList {
    /// The stream.
    pub stream: StreamId,
    /// The newest offset.
    pub head: u64,
    /// The nodes.
    pub items: Vec<PurgeLagView>,
}

/// How far one node is behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeLagView {
    /// Its PoP.
    pub pop: PopId,
    /// The node.
    pub node: NodeId,
    /// `up`, `draining`, `not_ready`, `uncertain` or `down`.
    pub state: String,
    /// Its subscriptions to purges that are open here, of two.
    pub subscriptions: usize,
    /// The offset that it applied; absent when nobody can tell.
    pub applied: Option<u64>,
    /// Purges that it has not applied; absent when the log cannot tell: trimmed, or restored since.
    pub lag: Option<u64>,
    /// For how long the oldest of them has been waiting for it.
    pub behind_ms: Option<u64>,
}

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

/// `GET /v1/properties`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PropertyList {
    /// All properties, by id.
    pub properties: Vec<PropertyView>,
}

/// `GET /v1/properties/{id}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyView {
    /// The property, with the fingerprints of its secrets in their place.
    pub property: Property,
    /// The generation of its last change; also its entity tag.
    pub generation: u64,
}

/// The answer to every change of the desired state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeView {
    /// What was changed.
    pub id: String,
    /// Whether anything is different from before.
    pub changed: bool,
    /// Whether it was not there before.
    pub created: bool,
    /// Whether nothing was kept, because only the check was asked for.
    pub dry_run: bool,
    /// The generation of the desired state.
    pub generation: u64,
}

/// A list of anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Items<T> {
    /// Its items, in their order.
    pub items: Vec<T>,
}

/// `GET /v1/resources/{kind}/{name}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResourceView {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ResourceName,
    /// The release that changed it last; also its entity tag.
    pub generation: u64,
    /// What it shall be, without secrets.
    pub spec: Value,
}

/// `POST /v1/changes` and `POST /v1/validate`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// What it is.
    #[serde(default)]
    pub title: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The version that it was made on; absent: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// What is made or replaced.
    #[serde(default)]
    pub puts: Vec<Put>,
    /// What is taken away.
    #[serde(default)]
    pub deletes: Vec<ResourceKey>,
}

/// `GET /v1/changes/{id}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeSetView {
    /// Its id.
    pub id: String,
    /// What it is.
    pub title: String,
    /// Why.
    pub reason: String,
    /// Who drafted it.
    pub author: String,
    /// When.
    pub created_unix_ms: u64,
    /// The version that it was drafted on.
    pub base: u64,
    /// `open`, `approved`, `published` or `abandoned`.
    pub state: ChangeState,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The release that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The resources that it names.
    pub resources: Vec<String>,
    /// In which order caches and what steers to them get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<String>,
    /// What it would do now; empty in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepView>,
    /// Why it can not be published as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<String>,
}

/// What happens to one resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepView {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ResourceName,
    /// `create`, `update` or `delete`.
    pub act: Act,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// `POST /v1/changes/{id}/publish`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// `canary`, `staged` or `fast`.
    pub stage: Pace,
    /// Why; the change-set's own reason when empty.
    #[serde(default)]
    pub reason: String,
}

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

/// The id in a path; kept here so that both sides agree on where things are.
#[must_use]
pub fn property_path(id: &PropertyId) -> String {
    format!("/v1/properties/{id}")
}

/// As [`property_path`], of a PoP.
#[must_use]
pub fn pop_path(id: &PopId) -> String {
    format!("/v1/pops/{id}")
}

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
