//! What a run needs to know: the scenario, what its files held, and which part of the schedule is this machine's.
//!
//! Invariant: a plan is whole. No file of the scenario is read after it was made but those of `[net]`, so that it can be
//! sent to another machine.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::scenario::Scenario;

/// A run of a part of a scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunPlan {
    pub scenario: Scenario,
    pub inputs: Inputs,
    /// Of so many machines, which one this is.
    pub part: u64,
    pub of: u64,
    /// Whether this machine injects the faults and purges.
    pub has_faults: bool,
    /// The scenario's text, for the results.
    pub scenario_text: String,
}

/// What the scenario's files and feed held.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// The catalogue.
    pub videos: Vec<Url>,
    /// The log of a replay: times since its beginning, and paths.
    pub log: Vec<(Duration, String)>,
    /// Traces of the links that have one, as text.
    pub traces: BTreeMap<usize, String>,
    /// BLAKE3 hashes by URL path, in hexadecimal.
    pub hashes: BTreeMap<String, String>,
    pub token: Option<String>,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("videos", &self.videos.len())
            .field("log", &self.log.len())
            .field("traces", &self.traces.len())
            .field("hashes", &self.hashes.len())
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

/// Why a run could not be.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{what} {path}: {reason}")]
    File { what: &'static str, path: String, reason: String },
    #[error("the feed: {0}")]
    Feed(String),
    #[error("connections: {0}")]
    Net(String),
    #[error("worker {worker}: {reason}")]
    Worker { worker: u32, reason: String },
}
