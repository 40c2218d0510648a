//! Uploads and workers that mean harm: each ends in a reason, none is tried again for ever.

use std::time::Duration;

use bytesize::ByteSize;
use tidegate_contract::package_job::FailureReason;

use crate::harness::{FakeOrigin, TestPackager};

async fn check(upload: &[u8], expected: FailureReason) {
    let origin = FakeOrigin::start().await;
    let mut packager = TestPackager::new();
    packager.limits.duration_max = Duration::from_secs(60);
    packager.limits.output_bytes_max = ByteSize::mib(1);
    packager.segment.samples_max = 1000;
    let _packager = packager.start(&origin);
    origin.upload(upload);
    let failure = origin.failed().await;
    let text = String::from_utf8_lossy(upload);
    assert_eq!(failure.reason, expected, "{text}: {}", failure.detail);
    assert!(!failure.detail.is_empty() && failure.detail.len() <= 1024, "{text}");
    assert!(origin.publications().is_empty(), "{text}");
}

#[tokio::test]
async fn uploads_that_are_no_video() {
    check(b"", FailureReason::Empty).await;
    check(b"unsupported", FailureReason::UnsupportedContainer).await;
    check(b"clip 8k", FailureReason::TooLarge).await;
    check(b"clip seconds=61", FailureReason::TooLong).await;
}

#[tokio::test]
async fn workers_that_die() {
    check(b"abort", FailureReason::WorkerKilled).await;
    check(b"exit", FailureReason::Internal).await;
    check(b"half-frame", FailureReason::Internal).await;
}

#[tokio::test]
async fn workers_that_break_the_protocol() {
    for upload in [
        "sample-before-probe",
        "huge-frame",
        "unknown-frame",
        "track-out-of-plan",
        "sample-before-track",
        "done-too-soon",
        "not-avc",
    ] {
        check(upload.as_bytes(), FailureReason::WorkerKilled).await;
    }
}

#[tokio::test]
async fn samples_that_cannot_be_played() {
    for upload in ["no-sync", "backwards", "endless-segment"] {
        check(upload.as_bytes(), FailureReason::WorkerKilled).await;
    }
    check(b"empty-track", FailureReason::Damaged).await;
}
