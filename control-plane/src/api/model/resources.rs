//! Resources, properties and change-sets in the JSON of the API.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_contract::{
    id::PropertyId,
    property::Property,
    resource::{Kind, ResourceKey, ResourceName},
};

use crate::{
    change::{Act, ChangeState, Put},
    resource::Labels,
    rollout::Pace,
};

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
    /// What operators call it by.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
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
    /// Its labels now.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels_before: Labels,
    /// Those that it gets, or keeps.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels_after: Labels,
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

/// The id in a path; kept here so that both sides agree on where things are.
#[must_use]
pub fn property_path(id: &PropertyId) -> String {
    format!("/v1/properties/{id}")
}
