//! Every metric of this program: name, labels, help.
//!
//! Label values come from enums and the names of roles; no URL, id or address is ever a label.

use std::sync::Arc;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, histogram_vec};

/// The metrics; clones share the numbers.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Numbers>);

/// The numbers themselves.
#[derive(Debug)]
pub struct Numbers {
    /// Requests answered, by role and status class.
    pub requests: IntCounterVec,
    /// Seconds until the head of an answer, by role.
    pub request_seconds: HistogramVec,
    /// Open connections, all listeners together.
    pub connections: IntGauge,
    /// Upload bytes that are on disk and acknowledged.
    pub upload_bytes: IntCounter,
    /// Uploads that are being written to.
    pub upload_writers: IntGauge,
    /// Uploads that ended, by outcome: finished, terminated, expired.
    pub uploads: IntCounterVec,
    /// Upload requests refused, by kind of problem.
    pub upload_refusals: IntCounterVec,
    /// Videos added, by content: new, known, retried.
    pub videos: IntCounterVec,
    /// Answers with a body from the object store, by kind of object.
    pub deliveries: IntCounterVec,
    /// What happened to jobs: leased, taken_over, published, completed, failed, given_up, fenced.
    pub jobs: IntCounterVec,
    /// Purge orders, by outcome: accepted, refused, retried.
    pub purges: IntCounterVec,
    /// Purge orders that wait to be sent.
    pub purges_waiting: IntGauge,
    /// Open event streams.
    pub event_streams: IntGauge,
}

impl Metrics {
    /// Declares all of them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self(Arc::new(Numbers {
            requests: counter_vec(
                registry,
                "origin_requests_total",
                "Requests answered, by role and status class.",
                &["role", "status"],
            ),
            request_seconds: histogram_vec(
                registry,
                "origin_request_seconds",
                "Seconds until the head of an answer, by role.",
                &["role"],
                &REQUEST_SECONDS_BUCKETS,
            ),
            connections: gauge(
                registry,
                "origin_connections",
                "Open connections, all listeners together.",
            ),
            upload_bytes: counter(
                registry,
                "origin_upload_bytes_total",
                "Upload bytes that are on disk and acknowledged.",
            ),
            upload_writers: gauge(
                registry,
                "origin_upload_writers",
                "Uploads that are being written to.",
            ),
            uploads: counter_vec(
                registry,
                "origin_uploads_total",
                "Uploads that ended, by outcome: finished, terminated, expired.",
                &["outcome"],
            ),
            upload_refusals: counter_vec(
                registry,
                "origin_upload_refusals_total",
                "Upload requests refused, by kind of problem.",
                &["kind"],
            ),
            videos: counter_vec(
                registry,
                "origin_videos_total",
                "Videos added, by content: new, known, retried.",
                &["content"],
            ),
            deliveries: counter_vec(
                registry,
                "origin_deliveries_total",
                "Answers with a body from the object store, by kind of object.",
                &["kind"],
            ),
            jobs: counter_vec(
                registry,
                "origin_jobs_total",
                "What happened to jobs: leased, taken_over, published, completed, failed, given_up, fenced.",
                &["event"],
            ),
            purges: counter_vec(
                registry,
                "origin_purges_total",
                "Purge orders, by outcome: accepted, refused, retried.",
                &["outcome"],
            ),
            purges_waiting: gauge(
                registry,
                "origin_purges_waiting",
                "Purge orders that wait to be sent.",
            ),
            event_streams: gauge(registry, "origin_event_streams", "Open event streams."),
        }))
    }
}

impl std::ops::Deref for Metrics {
    type Target = Numbers;
    fn deref(&self) -> &Numbers {
        &self.0
    }
}

const REQUEST_SECONDS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];
