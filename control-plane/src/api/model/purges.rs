//! Purges in the JSON of the API: what is ordered, how far it is, what was ordered before.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::{NodeId, PopId, PropertyId, PurgeId, StreamId},
    purge::PurgeOrder,
    replacement::Replacement,
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

/// What a purge would do: the answer to a dry run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgePlanView {
    /// What would be purged.
    pub order: PurgeOrder,
    /// The length of the body that would take its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement_bytes: Option<u64>,
    /// The properties that it is of, by the newest release; absent for a key, which anything may carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Vec<PropertyId>>,
    /// Where it would go.
    pub pops: Vec<PurgePlanPop>,
    /// The limits that it would count against, at the replica that was asked.
    pub limits: Vec<PurgeLimitView>,
    /// Whether it would wait for a second person, when no approval is shown.
    pub needs_approval: bool,
    /// Always true: nothing was purged.
    pub dry_run: bool,
}

/// One PoP that a purge would go to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgePlanPop {
    /// The PoP.
    pub pop: PopId,
    /// Its nodes.
    pub nodes: u64,
    /// Those of them that would hear it at once; the others get it when they are back, and revalidate meanwhile.
    pub connected: u64,
}

/// One limit of a token's purges, as it stands now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeLimitView {
    /// Its name in the configuration, below `api.`.
    pub limit: String,
    /// Purges a second in the long run.
    pub per_second: f64,
    /// Purges at once.
    pub burst: f64,
    /// Purges that it would let pass now.
    pub left: u64,
    /// How long until it lets the next one pass; 0 while one is left.
    pub wait_ms: u64,
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
