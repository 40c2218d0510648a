//! Numbers of the door.
//!
//! Invariant: label values are words of [`Reason`] and of this file; no token, client or path.

use prometheus::{IntCounter, IntCounterVec, Registry};
use tidegate_chassis::metrics::counter_vec;

use super::verdict::Reason;

/// Handles on the metrics; clones count into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    refusals: IntCounterVec,
    answers: IntCounterVec,
    /// Tokens that were read, their signature included.
    pub read: IntCounter,
    /// Tokens that were known from a request before.
    pub known: IntCounter,
    /// Tokens that were renewed.
    pub renewed: IntCounter,
    /// Cookies that were handed over for a token in a URL.
    pub sessions: IntCounter,
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        let tokens = counter_vec(
            registry,
            "edge_guard_tokens_total",
            "Playback tokens by what was done: read (signature checked), known (from a request before), renewed, \
             session (handed over as a cookie).",
            &["result"],
        );
        let result = |word| tokens.with_label_values(&[word]);
        let metrics = Self {
            refusals: counter_vec(
                registry,
                "edge_guard_refusals_total",
                "Requests refused at the door, by reason.",
                &["reason"],
            ),
            answers: counter_vec(
                registry,
                "edge_guard_answers_total",
                "Requests answered at the door without being refused: preflight, renewal (redirect with a new token).",
                &["kind"],
            ),
            read: result("read"),
            known: result("known"),
            renewed: result("renewed"),
            sessions: result("session"),
        };
        for reason in Reason::ALL {
            metrics.of(reason).inc_by(0);
        }
        metrics
    }

    /// Counts a request that is answered at the door.
    pub fn count(&self, reason: Reason) {
        self.of(reason).inc();
    }

    fn of(&self, reason: Reason) -> IntCounter {
        let family = if reason.is_refusal() { &self.refusals } else { &self.answers };
        family.with_label_values(&[reason.as_str()])
    }
}
