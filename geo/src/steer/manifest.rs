//! The form of a steering manifest: draft-pantos-content-steering-05, sections 4 and 5.
//!
//! Invariant: it names at least one pathway, each once, and every clone in it has a base that manifests name.

use serde::Serialize;
use tidegate_contract::resource_spec::SteeringPolicySpec;

use super::choose::Order;

/// A steering manifest.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct Manifest<'a> {
    version: u8,
    ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload_uri: Option<&'a str>,
    pathway_priority: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pathway_clones: Vec<PathwayClone<'a>>,
}

/// A pathway that manifests do not name, made from one that they do.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct PathwayClone<'a> {
    base_id: &'a str,
    id: &'a str,
    uri_replacement: UriReplacement<'a>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct UriReplacement<'a> {
    host: &'a str,
}

impl<'a> Manifest<'a> {
    /// Writes down an order. Every pathway in it that has a host is told as a clone each time: a player that comes in
    /// the middle knows none, and one that knows it already ignores it.
    #[must_use]
    pub fn new(policy: &'a SteeringPolicySpec, order: &Order<'a>) -> Self {
        let base = policy.pathways.iter().find(|pathway| pathway.host.is_none());
        let clones = base.into_iter().flat_map(|base| {
            order.pathways.iter().filter_map(|pathway| {
                let host = pathway.host.as_deref()?;
                Some(PathwayClone {
                    base_id: base.id.as_str(),
                    id: pathway.id.as_str(),
                    uri_replacement: UriReplacement { host },
                })
            })
        });
        Self {
            version: VERSION,
            ttl: order.ttl_seconds,
            reload_uri: policy.reload_uri.as_deref(),
            pathway_priority: order.pathways.iter().map(|pathway| pathway.id.as_str()).collect(),
            pathway_clones: clones.collect(),
        }
    }
}

/// The only one there is.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::Outcome;

    #[test]
    fn it_reads_as_the_draft_says() {
        let policy: SteeringPolicySpec = serde_json::from_value(serde_json::json!({
            "ttl": "15s",
            "reload_uri": "/steering/video",
            "pathways": [
                { "id": "main", "pops": [] },
                { "id": "fra", "pops": ["fra"], "host": "fra.cdn.example" },
            ],
        }))
        .expect("good");
        let pathways = policy.pathways.iter().rev().collect();
        let order = Order { pathways, ttl_seconds: 15, outcome: Outcome::Began };
        let text = serde_json::to_string(&Manifest::new(&policy, &order)).expect("plain data");
        assert_eq!(
            text,
            concat!(
                r#"{"VERSION":1,"TTL":15,"RELOAD-URI":"/steering/video","#,
                r#""PATHWAY-PRIORITY":["fra","main"],"#,
                r#""PATHWAY-CLONES":[{"BASE-ID":"main","ID":"fra","#,
                r#""URI-REPLACEMENT":{"HOST":"fra.cdn.example"}}]}"#
            )
        );
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        let policy: SteeringPolicySpec = serde_json::from_value(
            serde_json::json!({ "ttl": "15s", "pathways": [{ "id": "main", "pops": [] }] }),
        )
        .expect("good");
        let order = Order {
            pathways: policy.pathways.iter().collect(),
            ttl_seconds: 15,
            outcome: Outcome::Began,
        };
        let text = serde_json::to_string(&Manifest::new(&policy, &order)).expect("plain data");
        assert_eq!(text, r#"{"VERSION":1,"TTL":15,"PATHWAY-PRIORITY":["main"]}"#);
    }
}
