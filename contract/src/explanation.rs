//! What a node of the edge knows of one resource, and why: the answer of its admin port to `GET /explain`.

use serde::{Deserialize, Serialize};

/// What a node knows of a resource, for a request with given headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The host that was asked for, in lower case.
    pub host: String,
    /// The path as it is part of the key, with the query parameters that count.
    pub path: String,
    /// The property that serves the host.
    pub property: String,
    /// The name of the resource in the cache, in hex.
    pub key: String,
    /// What it is to a player: manifest, init, segment, part, other.
    pub class: String,
    /// What would happen to such a request now: `serve`, `serve-stale`, `revalidate`, `fetch`, `pass`.
    pub decision: String,
    /// Why it passes, why what is stored does not answer (`purged`, `soft-purged`, `suspect`, `no-cache`, `stale`, `request`,
    /// `uncertain`: the node is cut off; `vary-miss`: only other variants were seen), or why its last answer was not
    /// stored, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether upstream is being asked for it right now.
    pub is_being_asked_for: bool,
    /// What is stored; absent when nothing is that fits the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredResponse>,
}

/// A stored response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// Where it is: memory, disk, in_flight.
    pub tier: String,
    /// Its status.
    pub status: u16,
    /// The length of its body, in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether it stands in slices, and of how many bytes each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_bytes: Option<u64>,
    /// How old it is, in seconds.
    pub age_s: u64,
    /// How long it stays fresh, in seconds; negative when it is stale.
    pub ttl_s: i64,
    /// How long after that it may be served while it is revalidated, in seconds.
    pub stale_while_revalidate_s: u64,
    /// How long after that it may be served when upstream answers with an error, in seconds.
    pub stale_if_error_s: u64,
    /// What purges say of it: `valid`, `soft`, `suspect`, `hard`.
    pub verdict: String,
    /// By how many names it can be purged: its URL, its folders, its property and its surrogate keys.
    pub names: usize,
    /// Its surrogate keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surrogate_keys: Vec<String>,
    /// Whether it came with a purge instead of from upstream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub came_with_purge: bool,
    /// The request headers by which it varies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_not_written_and_reads_as_absent() {
        let nothing = Explanation {
            host: "a.org".into(),
            path: "/x".into(),
            property: "demo".into(),
            key: "00".into(),
            class: "other".into(),
            decision: "fetch".into(),
            reason: None,
            is_being_asked_for: false,
            stored: None,
        };
        let text = serde_json::to_string(&nothing).expect("plain data");
        assert!(!text.contains("stored") && !text.contains("reason"));
        assert_eq!(serde_json::from_str::<Explanation>(&text).expect("its own text"), nothing);
    }
}
