//! Everything that can be wrong with an upload request, and the documented error each time.

use reqwest::Method;

use crate::harness::{Answer, TestOrigin, TusClient};

const TYPE: (&str, &str) = ("content-type", "application/offset+octet-stream");

fn expect(answer: &Answer, status: u16, problem: &str, what: &str) {
    assert_eq!((answer.status, answer.problem.as_str()), (status, problem), "{what}");
}

#[tokio::test]
async fn a_creation_that_breaks_a_rule_is_refused_with_the_reason() {
    let origin = TestOrigin::with(|c| {
        c.upload.upload_bytes_max = bytesize::ByteSize::kib(100);
        c.upload.chunk_bytes_max = bytesize::ByteSize::kib(10);
        c.upload.chunk_bytes = bytesize::ByteSize::kib(1);
    })
    .await;
    let tus = origin.tus();
    let long = "x".repeat(5000);
    for (what, headers, status, problem) in [
        ("no length", vec![], 400, "upload-length"),
        ("no number", vec![("upload-length", "ten")], 400, "header"),
        ("deferred length", vec![("upload-defer-length", "1")], 400, "upload-length"),
        ("too long", vec![("upload-length", "102401")], 413, "upload-too-large"),
        (
            "other version",
            vec![("upload-length", "1"), ("tus-resumable", "0.2.2")],
            412,
            "tus-version",
        ),
        ("no version", vec![("upload-length", "1"), ("tus-resumable", "")], 412, "tus-version"),
        ("no token", vec![("upload-length", "1"), ("authorization", "")], 401, "unauthorized"),
        (
            "unknown token",
            vec![("upload-length", "1"), ("authorization", "Bearer x")],
            401,
            "unauthorized",
        ),
        (
            "other scheme",
            vec![("upload-length", "1"), ("authorization", "Basic x")],
            401,
            "unauthorized",
        ),
        (
            "metadata",
            vec![("upload-length", "1"), ("upload-metadata", "title !")],
            400,
            "upload-metadata",
        ),
        (
            "long metadata",
            vec![("upload-length", "1"), ("upload-metadata", &long)],
            400,
            "upload-metadata",
        ),
        (
            "checksum",
            vec![("upload-length", "1"), ("upload-checksum", "md5 x")],
            400,
            "upload-checksum",
        ),
    ] {
        let answer = tus.send(Method::POST, "", &headers, None).await;
        expect(&answer, status, problem, what);
    }
    for (what, length, body, content_type, status, problem) in [
        ("another type", "5", 5, "video/mp4", 415, "content-type"),
        ("more than announced", "5", 6, TYPE.1, 413, "chunk-too-large"),
        ("more than one request takes", "20000", 10_241, TYPE.1, 413, "chunk-too-large"),
    ] {
        let headers = [("upload-length", length), ("content-type", content_type)];
        let answer = tus.send(Method::POST, "", &headers, Some(vec![0; body])).await;
        expect(&answer, status, problem, what);
    }
    assert_eq!(std::fs::read_dir(origin.spool()).unwrap().count(), 0, "none of them left a file");
}

#[tokio::test]
async fn a_chunk_that_breaks_a_rule_is_refused_with_the_reason() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let upload = tus.create_with(100, &[1; 10], &[]).await.upload;
    for (what, headers, body, status, problem) in [
        ("wrong place", vec![("upload-offset", "9"), TYPE], 1, 409, "upload-offset"),
        ("behind the end", vec![("upload-offset", "200"), TYPE], 1, 409, "upload-offset"),
        ("no place", vec![TYPE], 1, 400, "upload-offset"),
        ("no number", vec![("upload-offset", "-1"), TYPE], 1, 400, "header"),
        (
            "another type",
            vec![("upload-offset", "10"), ("content-type", "text/plain")],
            1,
            415,
            "content-type",
        ),
        ("no type", vec![("upload-offset", "10")], 1, 415, "content-type"),
        ("too many bytes", vec![("upload-offset", "10"), TYPE], 91, 413, "chunk-too-large"),
        (
            "no token",
            vec![("upload-offset", "10"), TYPE, ("authorization", "")],
            1,
            401,
            "unauthorized",
        ),
        (
            "other version",
            vec![("upload-offset", "10"), TYPE, ("tus-resumable", "2")],
            1,
            412,
            "tus-version",
        ),
    ] {
        let answer = tus.send(Method::PATCH, &upload, &headers, Some(vec![0; body])).await;
        expect(&answer, status, problem, what);
        assert_eq!(tus.head(&upload).await.offset, Some(10), "{what}");
    }
    let refused = tus.patch(&upload, 9, b"x").await;
    assert_eq!(refused.offset, Some(10), "a refusal says where it stands");
    for id in ["unknown", "..%2f..%2fetc", "UPPER"] {
        expect(&tus.patch(id, 0, b"x").await, 404, "not-found", id);
    }
}

#[tokio::test]
async fn a_body_in_pieces_cannot_be_longer_than_the_upload() {
    let origin = TestOrigin::start().await;
    let tus = origin.tus();
    let upload = tus.create(10).await.upload;
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(vec![1; 8]), Ok(vec![2; 8])]);
    let response = origin
        .authorised(Method::PATCH, &format!("/upload/{upload}"))
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", "0")
        .header(TYPE.0, TYPE.1)
        .body(reqwest::Body::wrap_stream(pieces))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(tus.head(&upload).await.offset, Some(0));
}

#[tokio::test]
async fn a_big_refused_body_does_not_hide_the_refusal() {
    let origin = TestOrigin::start().await;
    let upload = origin.tus().create(10).await.upload;
    // More than the sockets hold: the client is still sending when it is refused.
    let answer = origin.tus().patch(&upload, 0, &vec![0; 8 << 20]).await;
    expect(&answer, 413, "chunk-too-large", "8 MiB");
}

#[tokio::test]
async fn an_upload_belongs_to_the_token_that_began_it() {
    let origin = TestOrigin::start().await;
    let upload = origin.tus().create(10).await.upload;
    let other = origin.tus_of("other").await;
    assert_eq!(other.head(&upload).await.status, 403);
    expect(&other.patch(&upload, 0, b"x").await, 403, "forbidden", "patch");
    expect(&other.delete(&upload).await, 403, "forbidden", "delete");
}

#[tokio::test]
async fn a_token_has_its_share_of_unfinished_uploads() {
    let origin = TestOrigin::with(|c| c.upload.uploads_per_client_max = 2).await;
    let tus = origin.tus();
    let first = tus.create(10).await;
    assert_eq!(tus.create(10).await.status, 201);
    expect(&tus.create(10).await, 429, "uploads-per-client", "the third");
    assert_eq!(std::fs::read_dir(origin.spool()).unwrap().count(), 2);
    assert_eq!(tus.patch(&first.upload, 0, &[0; 10]).await.status, 204);
    assert_eq!(tus.create(10).await.status, 201, "a finished one makes room");
}

#[tokio::test]
async fn all_tokens_together_have_a_share() {
    let origin = TestOrigin::with(|c| c.upload.uploads_max = 1).await;
    assert_eq!(origin.tus().create(10).await.status, 201);
    expect(&origin.tus().create(10).await, 503, "uploads-full", "the second");
}

#[tokio::test]
async fn a_full_disk_takes_no_bytes() {
    let origin =
        TestOrigin::with(|c| c.upload.disk_free_min = bytesize::ByteSize(u64::MAX / 2)).await;
    let answer = origin.tus().create(10).await;
    expect(&answer, 507, "disk-full", "create");
    assert_eq!(answer.header("retry-after"), "60");
}

#[tokio::test]
async fn an_empty_upload_is_a_video_that_failed() {
    let origin = TestOrigin::start().await;
    let created = origin.tus().create(0).await;
    let video = origin.video(&created.video.clone().expect("finished at once")).await;
    assert_eq!((&video["state"], &video["failure"]["reason"]), (&"failed".into(), &"empty".into()));
    assert!(origin.packager("p1").lease().await.is_none(), "there is nothing to package");
}

#[tokio::test]
async fn every_other_path_and_method_is_a_problem_document() {
    let origin = TestOrigin::start().await;
    let nowhere = origin.get("/nowhere").await;
    assert_eq!(nowhere.status(), 404);
    assert_eq!(nowhere.headers()["content-type"], "application/problem+json");
    let url = format!("{}/api/v1/videos/x", origin.url);
    let put = origin.http.put(url).send().await.unwrap();
    assert_eq!(
        (put.status().as_u16(), put.headers()["content-type"].as_bytes()),
        (405, &b"application/problem+json"[..])
    );
    let no_client = TusClient::new(&origin.url, "");
    assert_eq!(no_client.head("x").await.status, 401);
}
