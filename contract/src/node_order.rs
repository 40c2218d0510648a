//! One thing that one node shall do once, and what became of it.
//!
//! Invariant: numbers only grow for a node, and a node carries out no number twice, whatever happens to it meanwhile.

use serde::{Deserialize, Serialize};

/// What a node shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Let a new process take over, without a gap.
    Restart,
    /// Go back to the release before the one in use, and take this one never again.
    RollbackLocal,
    /// Of a newer control plane: it is refused.
    #[serde(other)]
    Unknown,
}

/// An order to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOrder {
    /// Its number.
    pub number: u64,
    /// What it shall do.
    pub act: Act,
    /// After this the node does not begin it any more. Milliseconds since 1970.
    pub expires_unix_ms: u64,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was begun.
    Begun,
    /// It was carried out.
    Done,
    /// It was not, or not wholly, and will not be; the detail says why.
    Refused,
}

/// What a node says of the last order that it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReport {
    /// Its number.
    pub number: u64,
    /// What was to be done.
    pub act: Act,
    /// How far it is.
    pub outcome: Outcome,
    /// In a few words; at most [`DETAIL_CHARS_MAX`] characters of it are kept.
    #[serde(default)]
    pub detail: String,
}

impl Act {
    /// Its name, as it travels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::RollbackLocal => "rollback_local",
            Self::Unknown => "unknown",
        }
    }
}

/// The longest detail.
pub const DETAIL_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_a_newer_control_plane_can_be_read_and_names_travel_as_they_are_written() {
        let read = |act: &str| {
            let text = format!(r#"{{"number":7,"act":"{act}","expires_unix_ms":1}}"#);
            serde_json::from_str::<NodeOrder>(&text).expect("readable").act
        };
        assert_eq!(read("fly"), Act::Unknown);
        for act in [Act::Restart, Act::RollbackLocal] {
            assert_eq!(read(act.as_str()), act);
        }
    }
}
