//! Jobs: leased, renewed, published, taken over, given up.

use std::time::Duration;

use tidegate_contract::package_job::{FailureReason, JobStage};

use crate::harness::{TestOrigin, content, publication, until};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_job_goes_from_upload_to_complete() {
    let origin = TestOrigin::start().await;
    let packager = origin.packager("p1");
    assert!(packager.lease().await.is_none());
    let body = content(20, 5000);
    let video = origin.upload(&body).await;
    let job = packager.lease().await.expect("a new media has a job");
    assert_eq!((job.0.epoch, job.0.source_bytes, job.0.lease), (1, 5000, LEASE));
    assert_eq!(std::fs::read(origin.objects().join(&job.0.source_key)).unwrap(), body);
    assert!(packager.lease().await.is_none(), "it is leased once");

    let state = async || origin.video(&video).await["state"].clone();
    assert_eq!(state().await, "uploaded");
    assert_eq!(packager.renew(&job, JobStage::Probing, 0).await, 200);
    assert_eq!(state().await, "probing");
    assert_eq!(packager.renew(&job, JobStage::Transcoding, 100).await, 200);
    assert_eq!(state().await, "transcoding");
    assert_eq!(origin.get(&format!("/v/{video}/main.m3u8")).await.status(), 404);

    assert_eq!(
        packager.publish(&job, &publication(1, &["audio", "360p"], "first", false)).await,
        200
    );
    let shown = origin.video(&video).await;
    assert_eq!((&shown["state"], &shown["is_final"]), (&"playable".into(), &false.into()));
    assert_eq!(shown["renditions"].as_array().unwrap().len(), 2);
    assert_eq!(shown["hls"], format!("/v/{video}/main.m3u8"));
    assert_eq!(shown["duration_ms"], 4000);

    let all = publication(1, &["audio", "360p", "720p"], "last", true);
    assert_eq!(packager.publish(&job, &all).await, 200);
    assert_eq!(packager.publish(&job, &all).await, 200, "said again after the answer was lost");
    let shown = origin.video(&video).await;
    assert_eq!((&shown["state"], &shown["progress_permille"]), (&"complete".into(), &1000.into()));
    let text = origin.get(&format!("/v/{video}/main.m3u8")).await.text().await.unwrap();
    assert!(text.contains("last"));
    assert!(packager.lease().await.is_none());
    assert_eq!(packager.renew(&job, JobStage::Transcoding, 5).await, 409, "the job has ended");
}

#[tokio::test]
async fn a_dead_packagers_job_is_taken_over_and_its_ghost_is_fenced() {
    let origin = TestOrigin::start().await;
    let (ghost, heir) = (origin.packager("ghost"), origin.packager("heir"));
    let video = origin.upload(&content(21, 100)).await;
    let lost = ghost.lease().await.unwrap();
    assert_eq!(ghost.publish(&lost, &publication(1, &["360p"], "of the ghost", false)).await, 200);
    origin.clock.advance(LEASE - Duration::from_secs(1));
    assert_eq!(ghost.renew(&lost, JobStage::Transcoding, 500).await, 200);
    origin.clock.advance(LEASE - Duration::from_secs(1));
    assert!(heir.lease().await.is_none(), "a renewed lease is as long as a new one");
    origin.clock.advance(Duration::from_secs(1));

    let held = heir.lease().await.expect("the lease ran out");
    assert_eq!((held.0.job.clone(), held.0.epoch), (lost.0.job.clone(), 2));
    assert_eq!(origin.video(&video).await["state"], "playable", "what is playable stays so");
    let old = publication(1, &["360p", "720p"], "of the ghost", true);
    assert_eq!(ghost.renew(&lost, JobStage::Transcoding, 900).await, 409);
    assert_eq!(ghost.publish(&lost, &old).await, 409);
    assert_eq!(ghost.fail(&lost, FailureReason::Damaged, "").await, 409);
    assert_eq!(heir.publish(&held, &publication(2, &["360p"], "of the heir", true)).await, 200);
    assert_eq!(ghost.publish(&lost, &old).await, 409);

    let text = origin.get(&format!("/v/{video}/main.m3u8")).await.text().await.unwrap();
    assert!(text.contains("of the heir"));
    assert_eq!(origin.video(&video).await["state"], "complete");
    assert_eq!(origin.metric("origin_jobs_total{event=\"taken_over\"}"), 1.0);
    assert_eq!(origin.metric("origin_jobs_total{event=\"fenced\"}"), 4.0);
}

#[tokio::test]
async fn a_late_packager_goes_on_if_nobody_took_over() {
    let origin = TestOrigin::start().await;
    let packager = origin.packager("p1");
    origin.upload(&content(22, 100)).await;
    let job = packager.lease().await.unwrap();
    origin.clock.advance(LEASE * 3);
    assert_eq!(packager.publish(&job, &publication(1, &["360p"], "late", true)).await, 200);
}

#[tokio::test]
async fn a_bad_upload_fails_with_its_reason_and_is_not_tried_again() {
    let origin = TestOrigin::start().await;
    let packager = origin.packager("p1");
    let body = content(23, 100);
    let video = origin.upload(&body).await;
    let job = packager.lease().await.unwrap();
    assert_eq!(packager.fail(&job, FailureReason::NoVideo, "audio only").await, 204);
    let shown = origin.video(&video).await;
    assert_eq!((&shown["state"], &shown["is_final"]), (&"failed".into(), &true.into()));
    assert_eq!(shown["failure"]["reason"], "no_video");
    assert_eq!(shown["failure"]["detail"], "audio only");

    let again = origin.upload(&body).await;
    assert_eq!(origin.video(&again).await["failure"]["reason"], "no_video");
    origin.clock.advance(Duration::from_secs(3600));
    assert!(packager.lease().await.is_none());
}

#[tokio::test]
async fn our_own_fault_is_tried_again_until_it_is_given_up() {
    let origin = TestOrigin::with(|c| c.package.attempts_max = 2).await;
    let packager = origin.packager("p1");
    let body = content(24, 100);
    let video = origin.upload(&body).await;
    let first = packager.lease().await.unwrap();
    assert_eq!(packager.fail(&first, FailureReason::Internal, "disk").await, 204);
    assert!(packager.lease().await.is_none(), "not at once");
    assert!(origin.video(&video).await["failure"].is_null());
    origin.clock.advance(Duration::from_secs(5));
    let second = packager.lease().await.unwrap();
    assert_eq!(second.0.epoch, 2);
    assert_eq!(packager.fail(&second, FailureReason::Internal, "disk").await, 204);
    assert_eq!(origin.video(&video).await["failure"]["reason"], "internal");

    let again = origin.upload(&body).await;
    let third = packager.lease().await.expect("a new upload of the content is worth an attempt");
    assert_eq!(third.0.epoch, 3, "epochs only grow");
    assert_eq!(packager.publish(&third, &publication(3, &["360p"], "x", true)).await, 200);
    for id in [&video, &again] {
        assert_eq!(origin.video(id).await["state"], "complete");
    }
}

#[tokio::test]
async fn a_job_whose_packagers_all_die_is_given_up_without_another() {
    let origin = TestOrigin::with(|c| c.package.attempts_max = 1).await;
    let video = origin.upload(&content(25, 100)).await;
    assert!(origin.packager("p1").lease().await.is_some());
    origin.clock.advance(LEASE);
    let shown = until("it is given up", || async {
        let shown = origin.video(&video).await;
        (shown["state"] == "failed").then_some(shown)
    })
    .await;
    assert_eq!(shown["failure"]["reason"], "internal");
    assert!(origin.packager("p2").lease().await.is_none());
}

#[tokio::test]
async fn a_publication_that_breaks_a_rule_changes_nothing() {
    let origin = TestOrigin::start().await;
    let packager = origin.packager("p1");
    let video = origin.upload(&content(26, 100)).await;
    let job = packager.lease().await.unwrap();
    let good = publication(1, &["360p"], "good", false);
    assert_eq!(packager.publish_only(&job, &good).await, 422, "its objects are not there yet");
    packager.write_objects(&job, &good);
    let mut bad = good.clone();
    bad.manifests[0].name = "../../etc.m3u8".to_owned();
    assert_eq!(packager.publish_only(&job, &bad).await, 422);
    let mut bad = good.clone();
    bad.images = vec!["not-there.jpg".to_owned()];
    assert_eq!(packager.publish_only(&job, &bad).await, 422);
    let mut bad = good.clone();
    bad.manifests[0].body = "x".repeat(17 << 20);
    assert_eq!(packager.publish_only(&job, &bad).await, 413);
    assert_eq!(origin.video(&video).await["state"], "uploaded");
    let manifests = origin.objects().join(format!("manifest/{}", job.0.media));
    assert!(!manifests.exists(), "nothing was written");
    assert_eq!(packager.publish_only(&job, &good).await, 200);
}

#[tokio::test]
async fn messages_that_are_none_are_refused() {
    let origin = TestOrigin::start().await;
    let jobs = format!("{}/internal/v1/jobs", origin.internal);
    let post = async |path: &str, body: &str| {
        let request = origin.http.post(format!("{jobs}/{path}")).bearer_auth("for packagers");
        request.body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("lease", "{").await, 400);
    assert_eq!(post("lease", r#"{"packager":""}"#).await, 400);
    assert_eq!(post("lease", r#"{"packager":"two words"}"#).await, 400);
    let renewal = r#"{"epoch":1,"stage":"probing","progress_permille":0}"#;
    assert_eq!(post("unknown/renew", renewal).await, 409);
    assert_eq!(post("UPPER/renew", renewal).await, 409);
    let huge = r#"{"epoch":18446744073709551615,"stage":"probing","progress_permille":65535}"#;
    assert_eq!(post("unknown/renew", huge).await, 409);
}
