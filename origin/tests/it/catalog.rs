//! Videos: listed, shown, deleted with all that belongs to them.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tidegate_contract::package_job::JobStage;

use crate::harness::{TestOrigin, content, publication, until};

#[tokio::test]
async fn a_client_sees_its_own_videos_page_by_page_newest_first() {
    let origin = TestOrigin::start().await;
    let mut uploaded = Vec::new();
    for seed in 40..45 {
        uploaded.push(origin.upload(&content(seed, 100)).await);
    }
    let stranger = origin.tus_of("stranger").await;
    assert!(stranger.create_with(3, b"abc", &[]).await.video.is_some());

    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/videos?limit=2{next}");
        let page = origin.authorised(Method::GET, &path).send().await.unwrap();
        assert_eq!(page.headers()["cache-control"], "no-store");
        let page: Value = page.json().await.unwrap();
        let videos = page["videos"].as_array().unwrap();
        assert!(videos.len() <= 2);
        seen.extend(videos.iter().map(|v| v["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(before) => next = format!("&before={before}"),
            None => break,
        }
    }
    uploaded.reverse();
    assert_eq!(seen, uploaded);

    for (path, status) in
        [("?limit=x", 400), ("?before=A", 400), ("?unknown=1", 400), ("?limit=0", 200)]
    {
        let path = format!("/api/v1/videos{path}");
        let answer = origin.authorised(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    assert_eq!(origin.get("/api/v1/videos").await.status(), 401);
}

#[tokio::test]
async fn a_video_that_is_not_there_is_not_found() {
    let origin = TestOrigin::start().await;
    for id in ["unknown", "UPPER", "..%2f.."] {
        assert_eq!(origin.get(&format!("/api/v1/videos/{id}")).await.status(), 404);
        assert_eq!(origin.get(&format!("/api/v1/videos/{id}/events")).await.status(), 404);
    }
}

#[tokio::test]
async fn the_last_video_takes_its_media_along() {
    let origin = TestOrigin::start().await;
    let packager = origin.packager("p1");
    let body = content(46, 1000);
    let (first, second) = (origin.upload(&body).await, origin.upload(&body).await);
    let job = packager.lease().await.unwrap();
    assert_eq!(packager.publish(&job, &publication(1, &["360p"], "x", false)).await, 200);
    let delete = async |id: &str| {
        let path = format!("/api/v1/videos/{id}");
        origin.authorised(Method::DELETE, &path).send().await.unwrap().status().as_u16()
    };

    assert_eq!(delete(&first).await, 204);
    assert_eq!(delete(&first).await, 404);
    assert_eq!(origin.get(&format!("/v/{first}/main.m3u8")).await.status(), 404);
    assert_eq!(origin.get(&format!("/v/{second}/main.m3u8")).await.status(), 200);
    assert_eq!(
        packager.renew(&job, JobStage::Transcoding, 5).await,
        200,
        "the media is still wanted"
    );

    assert_eq!(delete(&second).await, 204);
    assert_eq!(packager.renew(&job, JobStage::Transcoding, 5).await, 409);
    assert_eq!(packager.publish(&job, &publication(1, &["360p"], "x", true)).await, 409);
    origin.clock.advance(Duration::from_secs(3600));
    let media = origin.objects().join(format!("m/{}/1/360p/1.m4s", job.0.media));
    let source = origin.objects().join(&job.0.source_key);
    until("its objects are gone", || async { (!media.exists() && !source.exists()).then_some(()) })
        .await;
    assert!(packager.lease().await.is_none(), "its job is gone");

    let anew = origin.upload(&body).await;
    assert_ne!(origin.video(&anew).await["media"], job.0.media.as_str());
    assert!(packager.lease().await.is_some(), "the content is new again");
}

#[tokio::test]
async fn a_video_is_deleted_by_the_token_that_uploaded_it() {
    let origin = TestOrigin::start().await;
    let stranger = origin.tus_of("stranger").await;
    let theirs = stranger.create_with(3, b"abc", &[]).await.video.unwrap();
    let path = format!("/api/v1/videos/{theirs}");
    let refused = origin.authorised(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let nobody = origin.http.delete(format!("{}{path}", origin.url)).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
}

#[tokio::test]
async fn the_api_describes_itself() {
    let origin = TestOrigin::start().await;
    let api: Value = origin.get("/openapi.json").await.json().await.unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    let methods = |path: &str| -> Vec<String> {
        let Some(item) = api["paths"][path].as_object() else { return Vec::new() };
        item.keys().cloned().collect()
    };
    let sorted = |path: &str| {
        let mut methods = methods(path);
        methods.sort();
        methods.join(" ")
    };
    for (path, expected) in [
        ("/upload", "options post"),
        ("/upload/{upload}", "delete head patch post"),
        ("/api/v1/uploads/{upload}", "get"),
        ("/api/v1/videos", "get"),
        ("/api/v1/videos/{video}", "delete get"),
        ("/api/v1/videos/{video}/events", "get"),
        ("/v/{video}/{name}", "get"),
        ("/m/{media}/{epoch}/{group}/{file}", "get"),
        ("/watch/{video}", "get"),
        ("/assets/{file}", "get"),
    ] {
        assert_eq!(sorted(path), expected, "{path}");
    }
    let view = &api["components"]["schemas"]["VideoView"]["properties"];
    assert!(view["state"].is_object() && view["hls"].is_object(), "{view}");
    assert!(api["paths"].as_object().unwrap().keys().all(|path| !path.contains("internal")));
}

#[tokio::test]
async fn only_the_enabled_roles_are_served() {
    use tidegate_origin::role::Role;
    let origin = TestOrigin::with(|c| c.roles = vec![Role::Delivery, Role::Purge]).await;
    assert_eq!(origin.tus().create(1).await.status, 404);
    assert_eq!(origin.get("/api/v1/videos/x").await.headers()["cache-control"], "no-store");
    assert_eq!(origin.get("/v/x/main.m3u8").await.headers()["cache-control"], "public, max-age=1");
    let lease = format!("{}/internal/v1/jobs/lease", origin.internal);
    let answer =
        origin.http.post(lease).bearer_auth("for packagers").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 404);
}
