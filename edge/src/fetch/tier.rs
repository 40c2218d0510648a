//! Between nodes of one control plane: who asks, what it has purged, and whether a request runs in a circle.
//!
//! Invariant: only a request with a good seal is treated as one from another node; a client cannot make it up.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue};
use tidegate_contract::{
    header,
    id::StreamId,
    snapshot::Snapshot,
    tier::{TierKey, TierRequest},
};

/// This node in `Via`, `Cache-Status` and `CDN-Loop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// `tidegate-<pop>`.
    pub name: String,
    /// With what tells this process from others of its PoP: `tidegate-<pop>; node=<hex>`.
    pub unique: String,
    /// `1.1 tidegate-<pop>`.
    pub via: HeaderValue,
}

impl NodeName {
    /// The name of a process in a PoP.
    #[must_use]
    pub fn new(pop: &str, process: u64) -> Self {
        let name = format!("tidegate-{pop}");
        Self {
            unique: format!("{name}; node={process:016x}"),
            via: HeaderValue::try_from(format!("1.1 {name}"))
                .expect("the id of a PoP is of letters and digits"),
            name,
        }
    }
}

/// The node that asks, when the request carries a good seal.
#[must_use]
pub fn child(headers: &HeaderMap, key: &TierKey, now: SystemTime) -> Option<TierRequest> {
    let value = headers.get(header::TIER)?.to_str().ok()?;
    match key.open(value, unix_s(now)) {
        Ok(child) => Some(child),
        Err(error) => {
            tracing::debug!(%error, "a tier header is not believed");
            None
        }
    }
}

/// The seal for a request to a shield or a sibling.
#[must_use]
pub(super) fn seal(
    snapshot: &Snapshot,
    seen: BTreeMap<StreamId, u64>,
    now: SystemTime,
) -> HeaderValue {
    let request = TierRequest { pop: snapshot.pop.clone(), seen };
    // The seal is of ids and numbers; another node takes an empty one for none.
    HeaderValue::try_from(snapshot.tier_key.seal(&request, unix_s(now)))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether the request passed this process before, or too many nodes (RFC 8586).
#[must_use]
pub fn is_loop(headers: &HeaderMap, node: &NodeName) -> bool {
    let values = headers.get_all(header::CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
    let mut nodes = 0;
    for entry in values.flat_map(|value| value.split(',')) {
        nodes += 1;
        if entry.trim() == node.unique || nodes >= NODES_MAX {
            return true;
        }
    }
    false
}

fn unix_s(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The most nodes that one request may pass.
const NODES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_request_that_passed_this_process_or_very_many_is_a_loop() {
        let node = NodeName::new("fra", 7);
        let other = NodeName::new("fra", 8);
        for (value, expected) in [
            ("other".to_owned(), false),
            (other.unique.clone(), false),
            (node.unique.clone(), true),
            (format!("other; x, {}", node.unique), true),
            (["x"; 15].join(", "), false),
            (["x"; 16].join(", "), true),
        ] {
            assert_eq!(is_loop(&with("cdn-loop", &value), &node), expected, "{value}");
        }
    }

    #[test]
    fn only_a_good_seal_makes_a_child() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(1000);
        let (key, other) = (TierKey::new([1; 32]), TierKey::new([2; 32]));
        let request = TierRequest {
            pop: tidegate_contract::id::PopId::parse("fra").unwrap(),
            seen: BTreeMap::default(),
        };
        let headers = with("tidegate-tier", &key.seal(&request, 1000));
        assert_eq!(child(&headers, &key, now), Some(request));
        assert_eq!(child(&headers, &other, now), None);
        assert_eq!(child(&HeaderMap::new(), &key, now), None);
    }
}
