//! Uploads that go right, also after they went wrong on the way.

use std::time::Duration;

use crate::harness::{TestOrigin, checksum, content, encode, until};

#[tokio::test]
async fn an_upload_in_chunks_becomes_a_video() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let body = content(1, 300_000);
    let metadata = format!("filename {},title {}", encode("cat.mp4"), encode("A cat"));
    let length = body.len().to_string();

    let created = tus
        .send(
            reqwest::Method::POST,
            "",
            &[("upload-length", &length), ("upload-metadata", &metadata)],
            None,
        )
        .await;
    assert_eq!((created.status, created.offset), (201, Some(0)));
    assert!(created.header("location").starts_with("/upload/"));
    assert!(created.header("upload-expires").ends_with("GMT"));

    let mut offset = 0;
    for chunk in body.chunks(100_000) {
        let patched = tus.patch(&created.upload, offset, chunk).await;
        offset += chunk.len() as u64;
        assert_eq!((patched.status, patched.offset), (204, Some(offset)), "{patched:?}");
        assert_eq!(patched.header("tus-resumable"), "1.0.0");
        assert_eq!(patched.video.is_some(), offset == body.len() as u64);
    }

    let head = tus.head(&created.upload).await;
    assert_eq!((head.status, head.header("upload-length")), (200, length.as_str()));
    assert_eq!(head.header("upload-metadata"), metadata);
    assert_eq!(head.header("cache-control"), "no-store");
    let video = origin.video(&head.video.clone().unwrap()).await;
    assert_eq!((&video["title"], &video["state"]), (&"A cat".into(), &"uploaded".into()));
    let source = origin.objects().join(format!("upload/{}/source", created.upload));
    assert_eq!(std::fs::read(source).unwrap(), body);
    assert_eq!(std::fs::read_dir(origin.spool()).unwrap().count(), 0, "the spool file is gone");
    assert_eq!(origin.metric("origin_upload_bytes_total"), 300_000.0);

    let path = format!("/api/v1/uploads/{}", created.upload);
    let shown = origin.authorised(reqwest::Method::GET, &path).send().await.unwrap();
    let shown: serde_json::Value = shown.json().await.unwrap();
    assert_eq!((&shown["state"], &shown["video"]), (&"finished".into(), &video["id"]));
    assert_eq!(tus.patch(&created.upload, offset, b"").await.status, 204, "done again");
}

#[tokio::test]
async fn what_the_server_can_do_is_told_without_a_token() {
    let origin = TestOrigin::start().await;
    let url = format!("{}/upload", origin.url);
    let options = origin.http.request(reqwest::Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(options.status(), 204);
    for (name, value) in [
        ("tus-version", "1.0.0"),
        ("tus-extension", "creation,creation-with-upload,termination,checksum,expiration"),
        ("tus-checksum-algorithm", "sha256"),
        ("tus-max-size", "4294967296"),
        ("tidegate-chunk-bytes", "5242880"),
    ] {
        assert_eq!(options.headers()[name], value);
    }
    let preflight = origin
        .http
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://studio.example")
        .header("access-control-request-method", "PATCH")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    let methods = preflight.headers()["access-control-allow-methods"].to_str().unwrap();
    assert!(methods.contains("PATCH"));
}

#[tokio::test]
async fn creation_takes_the_first_bytes_and_the_rest_follows() {
    let origin = TestOrigin::start().await;
    let body = content(2, 5000);
    let first = origin.tus().create_with(5000, &body[..2000], &[]).await;
    assert_eq!((first.status, first.offset), (201, Some(2000)));
    let rest = origin.tus().patch(&first.upload, 2000, &body[2000..]).await;
    assert!(rest.video.is_some(), "{rest:?}");
}

#[tokio::test]
async fn a_chunk_with_the_wrong_checksum_counts_for_nothing() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let body = content(3, 4000);
    let upload = tus.create_with(4000, &body[..1000], &[]).await.upload;

    let other = checksum(b"something else");
    let refused =
        tus.patch_with(&upload, 1000, &body[1000..], &[("upload-checksum", &other)]).await;
    assert_eq!((refused.status, refused.problem.as_str()), (460, "checksum-mismatch"));
    assert_eq!(refused.offset, Some(1000));
    assert_eq!(tus.head(&upload).await.offset, Some(1000));

    let right = checksum(&body[1000..]);
    let taken = tus.patch_with(&upload, 1000, &body[1000..], &[("upload-checksum", &right)]).await;
    assert_eq!(taken.status, 204);
    let source = origin.objects().join(format!("upload/{upload}/source"));
    assert_eq!(std::fs::read(source).unwrap(), body);
}

#[tokio::test]
async fn what_arrived_before_the_line_broke_counts() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let body = content(4, 50_000);
    let upload = tus.create(50_000).await.upload;

    let broken = tus.begin_patch(&upload, 0, 50_000, &body[..20_000], &[]).await;
    origin.until_written_to().await;
    drop(broken);
    let offset = until("the broken request has ended", || async {
        let head = tus.head(&upload).await;
        head.offset.filter(|offset| *offset > 0)
    })
    .await;
    assert!(offset <= 20_000);
    let rest = tus.patch(&upload, offset, &body[offset as usize..]).await;
    assert_eq!(rest.status, 204, "{rest:?}");
    let source = origin.objects().join(format!("upload/{upload}/source"));
    assert_eq!(std::fs::read(source).unwrap(), body);
}

#[tokio::test]
async fn a_broken_chunk_with_a_checksum_counts_for_nothing() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let body = content(5, 20_000);
    let upload = tus.create(20_000).await.upload;
    let sum = checksum(&body);
    let more = [("upload-checksum", sum.as_str())];
    drop(tus.begin_patch(&upload, 0, 20_000, &body[..10_000], &more).await);
    let whole = until("the lock is free", || async {
        let answer = tus.patch_with(&upload, 0, &body, &more).await;
        (answer.status != 423).then_some(answer)
    })
    .await;
    assert_eq!((whole.status, whole.offset), (204, Some(20_000)));
}

#[tokio::test]
async fn an_upload_has_one_writer_at_a_time() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let body = content(6, 1000);
    let upload = tus.create(1000).await.upload;

    let writing = tus.begin_patch(&upload, 0, 1000, &body[..10], &[]).await;
    origin.until_written_to().await;
    let refused = tus.patch(&upload, 0, b"x").await;
    assert_eq!((refused.status, refused.problem.as_str()), (423, "upload-locked"));
    assert_eq!(tus.delete(&upload).await.status, 423);

    let mut writing = writing;
    tokio::io::AsyncWriteExt::write_all(&mut writing, &body[10..]).await.unwrap();
    assert_eq!(crate::harness::TusClient::read_status(writing).await, 204);
    assert!(tus.head(&upload).await.video.is_some());
}

#[tokio::test]
async fn a_body_that_halts_is_cut_off_and_what_came_counts() {
    let origin = TestOrigin::with(|c| c.upload.body_idle_timeout = Duration::from_secs(2)).await;
    let tus = origin.tus();
    let upload = tus.create(1000).await.upload;
    let halted = tus.begin_patch(&upload, 0, 1000, &[7; 100], &[]).await;
    assert_eq!(crate::harness::TusClient::read_status(halted).await, 408);
    assert_eq!(tus.head(&upload).await.offset, Some(100));
}

#[tokio::test]
async fn an_upload_can_be_taken_back() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let upload = tus.create_with(100, &[1; 50], &[]).await.upload;
    assert_eq!(tus.delete(&upload).await.status, 204);
    for gone in
        [tus.head(&upload).await, tus.patch(&upload, 50, b"x").await, tus.delete(&upload).await]
    {
        assert_eq!(gone.status, 410);
    }
    assert_eq!(std::fs::read_dir(origin.spool()).unwrap().count(), 0);

    let finished = tus.create_with(3, b"abc", &[]).await;
    let refused = tus.delete(&finished.upload).await;
    assert_eq!((refused.status, refused.problem.as_str()), (409, "upload-finished"));
}

#[tokio::test]
async fn an_upload_expires_and_is_forgotten_later() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let upload = tus.create_with(100, &[1; 50], &[]).await.upload;
    origin.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(tus.patch(&upload, 50, b"x").await.status, 204, "a byte moves the expiry");
    origin.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(tus.head(&upload).await.status, 200);
    origin.clock.advance(Duration::from_secs(3600));
    let late = tus.patch(&upload, 51, b"x").await;
    assert_eq!((late.status, late.problem.as_str()), (410, "upload-gone"));

    until("the spool file is gone", || async {
        (std::fs::read_dir(origin.spool()).unwrap().count() == 0).then_some(())
    })
    .await;
    until("it is written down as expired", || async {
        (origin.metric("origin_uploads_total{outcome=\"expired\"}") == 1.0).then_some(())
    })
    .await;
    assert_eq!(tus.head(&upload).await.status, 410);
    origin.clock.advance(Duration::from_secs(8 * 24 * 3600));
    until("it is forgotten", || async { (tus.head(&upload).await.status == 404).then_some(()) })
        .await;
}

#[tokio::test]
async fn the_same_content_is_a_second_video_over_the_same_media() {
    let origin = TestOrigin::start().await;
    let body = content(7, 10_000);
    let first = origin.upload(&body).await;
    let packager = origin.packager("p1");
    assert!(packager.lease().await.is_some());

    let second = origin.upload(&body).await;
    let (first, second) = (origin.video(&first).await, origin.video(&second).await);
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["media"], second["media"]);
    assert!(packager.lease().await.is_none(), "nothing is packaged twice");
    assert_eq!(origin.metric("origin_videos_total{content=\"known\"}"), 1.0);
    let sources = std::fs::read_dir(origin.objects().join("upload")).unwrap();
    let kept = sources.filter(|d| d.as_ref().unwrap().path().join("source").exists()).count();
    assert_eq!(kept, 1, "one copy of the bytes is enough");
}

#[tokio::test]
async fn an_upload_that_could_not_be_finished_is_finished_later() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    // A file where the store needs a folder.
    std::fs::write(origin.objects().join("upload"), b"in the way").unwrap();
    let upload = tus.create(3).await.upload;
    let failed = tus.patch(&upload, 0, b"abc").await;
    assert_eq!((failed.status, failed.problem.as_str()), (500, "internal"));
    let head = tus.head(&upload).await;
    assert_eq!((head.offset, head.video), (Some(3), None), "acknowledged bytes stay");

    std::fs::remove_file(origin.objects().join("upload")).unwrap();
    until("it became a video", || async { tus.head(&upload).await.video }).await;
}

#[tokio::test]
async fn a_client_that_can_only_post_names_the_method() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let upload = tus.create(3).await.upload;
    let headers = [
        ("x-http-method-override", "PATCH"),
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
    ];
    let patched = tus.send(reqwest::Method::POST, &upload, &headers, Some(b"abc".to_vec())).await;
    assert_eq!((patched.status, patched.offset), (204, Some(3)));
}

#[tokio::test]
async fn a_drain_lets_an_upload_in_flight_end() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let upload = tus.create(2000).await.upload;
    let mut writing = tus.begin_patch(&upload, 0, 2000, &[1; 1000], &[]).await;
    origin.until_written_to().await;
    let stopping = tokio::spawn(origin.stop());
    tokio::io::AsyncWriteExt::write_all(&mut writing, &[2; 1000]).await.unwrap();
    assert_eq!(crate::harness::TusClient::read_status(writing).await, 204);
    stopping.await.unwrap();
}
