//! The watch page: one page for every video, assets that never change, a clear answer without them.

use crate::harness::TestOrigin;

#[tokio::test]
async fn every_video_has_the_same_page() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("assets")).unwrap();
    std::fs::write(root.path().join("index.html"), "<!doctype html><title>watch</title>").unwrap();
    std::fs::write(root.path().join("assets/page-a1b2.js"), "play()").unwrap();
    let path = root.path().to_owned();
    let origin = TestOrigin::with(|c| c.watch.web_root = Some(path)).await;

    let page = origin.get("/watch/some-video").await;
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].as_bytes()),
        (200, &b"text/html"[..])
    );
    assert_eq!(page.headers()["cache-control"], "public, max-age=60");
    assert!(page.text().await.unwrap().contains("<title>watch"));
    assert_eq!(origin.get("/watch/NO-ID").await.status(), 404);

    let asset = origin.get("/assets/page-a1b2.js").await;
    assert_eq!(asset.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(asset.headers()["x-content-type-options"], "nosniff");
    assert!(asset.headers()["content-type"].to_str().unwrap().contains("javascript"));
    for path in
        ["/assets/none.js", "/assets/..%2findex.html", "/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd"]
    {
        let missing = origin.get(path).await;
        assert_eq!(missing.status(), 404, "{path}");
        assert_eq!(missing.headers()["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn without_a_built_page_the_answer_says_so() {
    let origin = TestOrigin::start().await;
    let missing = origin.get("/watch/some-video").await;
    assert_eq!(missing.status(), 404);
    let problem: serde_json::Value = missing.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("watch.web_root"));
}
