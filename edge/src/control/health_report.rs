//! What a node tells of itself, once a second.
//!
//! A report is read off counters that exist anyway; making one never waits for anything.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::wire;

/// What the node is asked for at every report.
pub type Vitals = Arc<dyn Fn() -> Health + Send + Sync>;

/// One report. Totals count from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether every part of the node is ready.
    pub ready: bool,
    /// Whether the node is finishing what it has and takes nothing new.
    pub draining: bool,
    /// Exchanges that ended.
    pub requests_total: u64,
    /// Exchanges answered from the cache.
    pub hits_total: u64,
    /// Exchanges that failed by our or upstream's fault.
    pub errors_total: u64,
    /// Bytes held in the cache.
    pub cache_bytes: u64,
    /// When the process started.
    pub started: SystemTime,
}

impl From<Health> for wire::Health {
    fn from(health: Health) -> Self {
        let started = health.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            ready: health.ready,
            draining: health.draining,
            requests_total: health.requests_total,
            hits_total: health.hits_total,
            errors_total: health.errors_total,
            cache_bytes: health.cache_bytes,
            started_unix_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
            // What the node's other parts know.
            authorities: Vec::new(),
            signed_by: 0,
        }
    }
}
