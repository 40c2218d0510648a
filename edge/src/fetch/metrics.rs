//! The numbers of fetches.
//!
//! Invariant: label values are words of enums; no URL, address or id.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, histogram};

/// Handles on every number of fetches; clones count into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    /// Fills that ended, by result.
    pub fills: IntCounterVec,
    /// Time that a finished fill took.
    pub fill_seconds: Histogram,
    /// Responses that were not stored, by reason.
    pub unstorable: IntCounterVec,
    /// Requests that waited for the head of another's answer, by what came of it.
    pub collapsed: IntCounterVec,
    /// Requests that wait for the head of another's answer.
    pub collapsed_waiting: IntGauge,
    /// Requests sent upstream that nobody waits for, by why.
    pub background: IntCounterVec,
    /// Resources whose slices do not fit together.
    pub slices_mixed: IntCounter,
    /// Live playlists that stood still.
    pub stalled: IntCounter,
    /// Prefetches by what became of them.
    pub prefetches: IntCounterVec,
    /// Resources that an unsafe method changed.
    pub invalidated: IntCounter,
    /// Bodies that arrived with purges, by what became of them.
    pub replacements: IntCounterVec,
}

impl Metrics {
    /// Declares every number.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            fills: counter_vec(
                registry,
                "edge_fills_total",
                "Fills that ended, by result: stored, confirmed (304), failed, abandoned (nobody read it any more), \
                 passed (not kept, whole for those who read it).",
                &["result"],
            ),
            fill_seconds: histogram(
                registry,
                "edge_fill_seconds",
                "Seconds from the response's head to the end of its body, of fills that finished.",
                SECONDS,
            ),
            unstorable: counter_vec(
                registry,
                "edge_unstorable_total",
                "Responses that were passed on without being stored, by reason.",
                &["reason"],
            ),
            collapsed: counter_vec(
                registry,
                "edge_collapsed_total",
                "Requests that waited for the head of another's answer, by what came of it: settled, own, failed, \
                 late (asked itself after a waiting period).",
                &["outcome"],
            ),
            collapsed_waiting: gauge(
                registry,
                "edge_collapsed_waiting",
                "Requests that wait for the head of another's answer now.",
            ),
            background: counter_vec(
                registry,
                "edge_background_fetches_total",
                "Requests sent upstream that no client waits for, by why: revalidation, slice, prefetch, \
                 stalled, disk (what the disk did not give), rest (of a body that broke off).",
                &["why"],
            ),
            slices_mixed: counter(
                registry,
                "edge_slices_mixed_total",
                "Sliced resources that were dropped because a slice came from another representation.",
            ),
            stalled: counter(
                registry,
                "edge_live_stalled_total",
                "Live playlists that stood still for more than one and a half target durations.",
            ),
            prefetches: counter_vec(
                registry,
                "edge_prefetches_total",
                "Prefetches by what became of them: begun, useful (asked for later), wasted (not in time), refused \
                 (no place), known (stored already).",
                &["result"],
            ),
            invalidated: counter(
                registry,
                "edge_invalidated_total",
                "Resources that were forgotten because an unsafe method changed them.",
            ),
            replacements: counter_vec(
                registry,
                "edge_replacements_total",
                "Bodies that arrived with purges, by what became of them: stored, unserved (no property has the host), \
                 policy (the property keeps nothing), no-room, outrun (by other purges), or why the rules forbid to \
                 store them. Whatever became of the body, the purge was applied.",
                &["result"],
            ),
        }
    }
}

/// From a small object of a near shield to a large one of a slow origin.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
