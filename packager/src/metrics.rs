//! Every metric of this program.
//!
//! Labels hold only words from this program's own lists: an outcome, a reason, a kind; never an id or a path.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, histogram};

/// The packager's metrics; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Jobs that ended, by outcome: `complete`, `lease_lost`, `drained` or a failure reason.
    pub jobs: IntCounterVec,
    /// Jobs running now.
    pub jobs_running: IntGauge,
    /// Seconds from lease to end of a job that completed.
    pub job_seconds: Histogram,
    /// Seconds from lease to the first publication: how long a viewer waits.
    pub playable_seconds: Histogram,
    /// Worker runs that ended, by how: `done`, `failed`, `killed`, `exited`, `deadline`, `protocol`.
    pub workers: IntCounterVec,
    /// HEVC runs that failed while the H.264 renditions stayed published.
    pub hevc_failures: IntCounter,
    /// Objects written to the object store.
    pub objects: IntCounter,
    /// Their bytes.
    pub object_bytes: IntCounter,
    /// Requests to origin that failed and were tried again.
    pub origin_retries: IntCounter,
}

impl Metrics {
    /// Declares them in the process's registry.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            jobs: counter_vec(
                registry,
                "packager_jobs_total",
                "Jobs that ended, by outcome.",
                &["outcome"],
            ),
            jobs_running: gauge(registry, "packager_jobs_running", "Jobs running now."),
            job_seconds: histogram(
                registry,
                "packager_job_seconds",
                "Seconds from lease to completion of a job.",
                SECONDS,
            ),
            playable_seconds: histogram(
                registry,
                "packager_playable_seconds",
                "Seconds from lease to the first publication.",
                SECONDS,
            ),
            workers: counter_vec(
                registry,
                "packager_workers_total",
                "Worker runs that ended, by how.",
                &["end"],
            ),
            hevc_failures: counter(
                registry,
                "packager_hevc_failures_total",
                "HEVC runs that failed while H.264 stayed published.",
            ),
            objects: counter(registry, "packager_objects_total", "Objects written."),
            object_bytes: counter(
                registry,
                "packager_object_bytes_total",
                "Bytes of the objects written.",
            ),
            origin_retries: counter(
                registry,
                "packager_origin_retries_total",
                "Requests to origin that failed and were tried again.",
            ),
        }
    }
}

const SECONDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
