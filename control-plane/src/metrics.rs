//! Every number this program publishes.
//!
//! No label carries an id of a PoP, a node, a property or a token: those are for the API, which asks who is asking.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, gauge_vec, histogram};

/// The metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Time from the first write of a commit to the end of its fsync.
    pub commit_seconds: Histogram,
    /// Writes that shared one commit.
    pub commit_writes: Histogram,
    /// Purges accepted, by kind of target.
    pub purges: IntCounterVec,
    /// Newest offset of the purge log.
    pub purge_head: IntGauge,
    /// Time from the acceptance of a purge to a node's acknowledgement.
    pub purge_ack_seconds: Histogram,
    /// Purge log entries forgotten by age or number.
    pub purges_trimmed: IntCounter,
    /// Nodes told that the log no longer holds what they missed.
    pub purge_gaps: IntCounter,
    /// 1 while this replica leads.
    pub leads: IntGauge,
    /// Open lanes to nodes, by lane.
    pub lanes: IntGaugeVec,
    /// Snapshots sent to nodes.
    pub snapshots: IntCounter,
    /// Snapshots that a node refused.
    pub nacks: IntCounter,
    /// Identities issued or refused, by kind and outcome.
    pub identities: IntCounterVec,
    /// Geo nodes that follow this replica.
    pub geo_followers: IntGauge,
    /// Batches of round trips, by what became of them.
    pub geo_batches: IntCounterVec,
    /// Questions to geo nodes, by outcome.
    pub geo_questions: IntCounterVec,
    /// How long the first one of a kind still lasts, by kind.
    pub ends: IntGaugeVec,
    /// API requests, by method and status class.
    pub requests: IntCounterVec,
    /// TLS handshakes that failed or took too long, by listener.
    pub handshake_failures: IntCounterVec,
}

impl Metrics {
    /// Declares everything in `registry`.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let r = registry;
        Self {
            commit_seconds: histogram(
                r,
                "control_commit_seconds",
                "Time from the first write of a commit to the end of its fsync.",
                SECONDS,
            ),
            commit_writes: histogram(
                r,
                "control_commit_writes",
                "Writes that shared one commit.",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
            ),
            purges: counter_vec(
                r,
                "control_purges_total",
                "Purges accepted, by kind of target.",
                &["kind"],
            ),
            purge_head: gauge(r, "control_purge_head_offset", "Newest offset of the purge log."),
            purge_ack_seconds: histogram(
                r,
                "control_purge_ack_seconds",
                "Time from the acceptance of a purge to a node's acknowledgement.",
                SECONDS,
            ),
            purges_trimmed: counter(
                r,
                "control_purges_trimmed_total",
                "Purge log entries forgotten by age or number.",
            ),
            purge_gaps: counter(
                r,
                "control_purge_gaps_total",
                "Nodes told that the log no longer holds what they missed.",
            ),
            leads: gauge(r, "control_leads", "1 while this replica leads."),
            lanes: gauge_vec(r, "control_lanes", "Open lanes to nodes, by lane.", &["lane"]),
            snapshots: counter(r, "control_snapshots_sent_total", "Snapshots sent to nodes."),
            nacks: counter(r, "control_nacks_total", "Snapshots that a node refused."),
            identities: counter_vec(
                r,
                "control_identities_total",
                "Identities issued or refused, by kind and outcome.",
                &["kind", "outcome"],
            ),
            geo_followers: gauge(r, "control_geo_followers", "Geo nodes that follow this replica."),
            geo_batches: counter_vec(
                r,
                "control_geo_batches_total",
                "Batches of round trips, by outcome: taken, too_often (a node says more than it may), lost (a geo node was too slow for it; counted for each).",
                &["outcome"],
            ),
            geo_questions: counter_vec(
                r,
                "control_geo_questions_total",
                "Questions of operators to geo nodes, by outcome: answered, refused, silent, older, nobody, too_many.",
                &["outcome"],
            ),
            ends: gauge_vec(
                r,
                "control_first_end_seconds",
                "Time to the first end of an authority, a node's certificate or an API token; below 0 when it is past.",
                &["what"],
            ),
            requests: counter_vec(
                r,
                "control_requests_total",
                "API requests, by method and status class.",
                &["method", "status"],
            ),
            handshake_failures: counter_vec(
                r,
                "control_handshake_failures_total",
                "TLS handshakes that failed or took too long, by listener.",
                &["listener"],
            ),
        }
    }

    /// Metrics in a registry of their own.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::new(&Registry::new())
    }
}

const SECONDS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
