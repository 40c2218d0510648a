//! Purges that a change orders, in spite of a control plane that is away or in a bad mood.

use std::time::Duration;

use reqwest::Method;

use crate::harness::{FakeControlPlane, TestOrigin, content, publication, until};

async fn origin_with(control_plane: &FakeControlPlane, folder: &std::path::Path) -> TestOrigin {
    let (url, token_file) = (control_plane.url.clone(), control_plane.write_token(folder));
    TestOrigin::with(|c| {
        c.purge.control_plane = Some(url);
        c.purge.token_file = Some(token_file);
        c.purge.retry_backoff = Duration::from_millis(5);
    })
    .await
}

async fn until_purged(control_plane: &FakeControlPlane, keys: &[&str]) {
    until("all is purged", || async {
        let purged = control_plane.purged();
        keys.iter().all(|key| purged.iter().any(|p| p == key)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_publication_and_a_deletion_order_purges() {
    let (home, control_plane) = (tempfile::tempdir().unwrap(), FakeControlPlane::start().await);
    let origin = origin_with(&control_plane, home.path()).await;
    let packager = origin.packager("p1");
    let body = content(60, 100);
    let (first, second) = (origin.upload(&body).await, origin.upload(&body).await);
    assert!(control_plane.purged().is_empty(), "an upload changes nothing that was delivered");
    let job = packager.lease().await.unwrap();
    let media = &job.0.media;
    assert_eq!(packager.publish(&job, &publication(1, &["360p"], "x", true)).await, 200);
    let keys = [format!("manifest-{media}"), format!("video-{first}"), format!("video-{second}")];
    until_purged(&control_plane, &keys.each_ref().map(String::as_str)).await;
    assert_eq!(control_plane.purged()[0], keys[0], "the manifests come first");

    for id in [&first, &second] {
        let path = format!("/api/v1/videos/{id}");
        origin.authorised(Method::DELETE, &path).send().await.unwrap();
    }
    until_purged(&control_plane, &[&format!("media-{media}")]).await;
}

#[tokio::test]
async fn an_order_is_sent_until_it_is_taken_and_a_bad_one_does_not_block_the_others() {
    let (home, control_plane) = (tempfile::tempdir().unwrap(), FakeControlPlane::start().await);
    control_plane.answer_next(&[503, 401, 429, 400]);
    let origin = origin_with(&control_plane, home.path()).await;
    let packager = origin.packager("p1");
    let video = origin.upload(&content(61, 100)).await;
    let job = packager.lease().await.unwrap();
    packager.publish(&job, &publication(1, &["360p"], "x", true)).await;
    until_purged(&control_plane, &[&format!("video-{video}")]).await;
    let purges = |outcome| origin.metric(&format!("origin_purges_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((purges("retried"), purges("refused")), (3.0, 1.0));
    until("nothing waits", || async {
        (origin.metric("origin_purges_waiting") == 0.0).then_some(())
    })
    .await;
    assert_eq!(control_plane.purged().len(), 1, "what was refused for good is dropped");
}

#[tokio::test]
async fn too_many_waiting_orders_become_one_purge_of_everything() {
    let (home, control_plane) = (tempfile::tempdir().unwrap(), FakeControlPlane::start().await);
    let token_file = control_plane.write_token(home.path());
    let url = control_plane.url.clone();
    let origin = TestOrigin::with(|c| {
        c.purge.control_plane = Some(url);
        c.purge.token_file = Some(token_file);
        c.purge.orders_max = 1;
    })
    .await;
    let packager = origin.packager("p1");
    origin.upload(&content(62, 100)).await;
    let job = packager.lease().await.unwrap();
    packager.publish(&job, &publication(1, &["360p"], "x", true)).await;
    until_purged(&control_plane, &["all"]).await;
    assert_eq!(control_plane.purged(), ["all"]);
}
