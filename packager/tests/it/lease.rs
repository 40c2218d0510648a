//! Who may work on a job, and what happens when that changes.

use std::{fs::File, time::Duration};

use tidegate_contract::package_job::FailureReason;

use crate::harness::{FakeOrigin, Renewals, TestPackager, start_packager, wait_for};

/// Whether a worker lives: it holds a lock on its upload.
fn has_worker(origin: &FakeOrigin) -> bool {
    let upload = File::open(origin.source()).expect("the upload");
    upload.try_lock().is_err()
}

#[tokio::test]
async fn a_lost_lease_ends_the_worker() {
    let origin = FakeOrigin::start().await;
    origin.set_lease(Duration::from_secs(3));
    let packager = TestPackager::new().start(&origin);
    origin.upload(b"hang");
    wait_for("a worker", || has_worker(&origin)).await;

    origin.lease_to_somebody_else();
    wait_for("the worker's end", || !has_worker(&origin)).await;
    wait_for("the metric", || packager.count("packager_jobs_total", "lease_lost") > 0.0).await;
    assert!(origin.failures().is_empty(), "a job that is somebody else's is not failed");
}

#[tokio::test]
async fn a_packager_that_cannot_renew_gives_up_by_itself() {
    let origin = FakeOrigin::start().await;
    origin.set_lease(Duration::from_secs(3));
    origin.set_renewals(Renewals::Unavailable);
    let packager = TestPackager::new().start(&origin);
    origin.upload(b"hang");
    wait_for("a worker", || has_worker(&origin)).await;
    wait_for("the metric", || packager.count("packager_jobs_total", "lease_lost") > 0.0).await;
    wait_for("the worker's end", || !has_worker(&origin)).await;
}

#[tokio::test]
async fn what_a_zombie_publishes_is_refused() {
    let origin = FakeOrigin::start().await;
    origin.set_renewals(Renewals::Unavailable); // it does not hear that it lost its lease
    let packager = TestPackager::new().start(&origin);
    std::fs::create_dir_all(origin.source().parent().expect("a folder")).expect("a folder");
    std::fs::write(origin.source(), b"").expect("written");
    let gate = File::open(origin.source()).expect("the upload");
    gate.lock().expect("a lock");
    origin.upload(b"clip sound seconds=3");
    wait_for("the lease", || origin.leases() == 1).await;

    origin.lease_to_somebody_else();
    gate.unlock().expect("unlocked");
    wait_for("the metric", || packager.count("packager_jobs_total", "lease_lost") > 0.0).await;
    assert!(origin.refused() > 0);
    assert!(origin.publications().is_empty());
}

#[tokio::test]
async fn a_draining_packager_gives_its_job_back() {
    let origin = FakeOrigin::start().await;
    let packager = TestPackager::new().start(&origin);
    origin.upload(b"hang");
    wait_for("a worker", || has_worker(&origin)).await;
    packager.drain().await;
    let failure = origin.failed().await;
    assert!(failure.reason.is_retryable(), "{failure:?}");
    wait_for("the worker's end", || !has_worker(&origin)).await;
}

#[tokio::test]
async fn a_killed_packagers_job_is_finished_by_another_under_a_new_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = FakeOrigin::start().await;
    origin.upload(b"hang sound seconds=3");
    let mut first = start_packager(&origin, folder.path());
    wait_for("a worker", || has_worker(&origin)).await;
    first.kill().expect("killed");
    first.wait().expect("its end");
    wait_for("the worker's end", || !has_worker(&origin)).await;

    std::fs::write(origin.source(), b"clip sound seconds=3").expect("written");
    origin.expire_lease();
    let _second = TestPackager::new().start(&origin);
    let last = origin.completed().await;
    assert_eq!((last.epoch, origin.leases()), (2, 2));
    assert!(origin.object("m/m1/2/360p/init.mp4").is_file());
    assert!(!origin.object("m/m1/1/360p/init.mp4").exists());
}

#[tokio::test]
async fn a_stuck_worker_meets_its_deadline() {
    for upload in ["hang-before-probe", "hang"] {
        let origin = FakeOrigin::start().await;
        let mut packager = TestPackager::new();
        packager.worker.deadline_base = Duration::from_millis(700);
        packager.worker.deadline_factor = 0;
        let _packager = packager.start(&origin);
        origin.upload(upload.as_bytes());
        assert_eq!(origin.failed().await.reason, FailureReason::Deadline, "{upload}");
        wait_for("the worker's end", || !has_worker(&origin)).await;
    }
}
