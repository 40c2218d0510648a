//! A disk that fails while viewers read from it: they get the rest from upstream.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytesize::ByteSize;
use tempfile::TempDir;
use tidegate_contract::property::CachePolicy;
use tidegate_edge::cache::disk::Admission;

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, client::Ask, reply};

/// Bytes that stand nowhere else.
fn unique(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// An edge whose memory has room for a few objects, and whose disk for all.
async fn edge(origin: &FakeOrigin, folder: &TempDir, slice: Option<ByteSize>) -> TestEdge {
    let memory = if slice.is_some() { ByteSize::mib(4) } else { ByteSize::mib(8) };
    TestEdge::before(origin)
        .policy(CachePolicy { slice, ..CachePolicy::default() })
        .config(|config| {
            config.cache.memory = memory;
            config.cache.disk.path = Some(folder.path().to_owned());
            config.cache.disk.write_queue = ByteSize(memory.as_u64() / 4);
            config.cache.disk.admission = Admission::All;
        })
        .start()
        .await
}

/// Fetches something and drives it out of memory, so that it is on disk alone.
async fn on_disk(origin: &FakeOrigin, edge: &TestEdge, body: &[u8]) {
    origin.on("/m.mp4", movie("\"a\"", body));
    edge.get("/m.mp4").await.expect_status(200).expect_body(body);
    edge.handles.store.settle();
    for n in 0..16 {
        let path = format!("/other{n}.mp4");
        let other = unique(100 + n, 700_000);
        origin.on(&path, movie("\"o\"", &other));
        // More than once, so that it is worth the room.
        for _ in 0..3 {
            edge.get(&path).await.expect_body(&other);
        }
        edge.handles.store.settle();
    }
}

fn movie(tag: &str, body: &[u8]) -> crate::harness::origin::Reply {
    reply(200).cache_control("max-age=600").etag(tag).body(body).ranged()
}

/// Changes one byte of a body on disk.
fn damage(folder: &Path, body: &[u8], byte: usize) {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_file = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "seg");
    let mut damaged = 0;
    for path in files.filter(is_file) {
        let text = std::fs::read(&path).unwrap();
        let around = &body[byte..byte + 32];
        for at in text.windows(32).enumerate().filter(|(_, found)| *found == around) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[body[byte] ^ 1], at.0 as u64).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "the body is on disk once");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_to_its_end_goes_on_from_upstream() {
    let body = unique(1, LARGE);
    for protocol in PROTOCOLS {
        let (origin, folder) = (FakeOrigin::start().await, tempfile::tempdir().unwrap());
        let edge = edge(&origin, &folder, None).await;
        on_disk(&origin, &edge, &body).await;
        damage(folder.path(), &body, 1_500_000);
        edge.get_by(protocol, "/m.mp4")
            .await
            .expect_status(200)
            .expect_cache("hit")
            .expect_body(&body);
        edge.expect_metric("edge_background_fetches_total", &["disk"], 1.0).await;
        let range = origin.last("/m.mp4").header("range").unwrap().to_owned();
        let from: usize = range["bytes=".len()..].split('-').next().unwrap().parse().unwrap();
        assert!((1..=1_500_000).contains(&from), "only the rest: {range}");
        edge.get_by(protocol, "/m.mp4").await.expect_status(200).expect_body(&body);
    }
}

#[tokio::test]
async fn a_body_on_a_failing_disk_is_not_completed_with_another_version() {
    let (body, other) = (unique(1, LARGE), unique(2, LARGE));
    for protocol in PROTOCOLS {
        let (origin, folder) = (FakeOrigin::start().await, tempfile::tempdir().unwrap());
        let edge = edge(&origin, &folder, None).await;
        on_disk(&origin, &edge, &body).await;
        damage(folder.path(), &body, 1_500_000);
        origin.on("/m.mp4", movie("\"b\"", &other));
        edge.get_by(protocol, "/m.mp4").await.expect_broken();
        edge.get_by(protocol, "/m.mp4").await.expect_status(200).expect_body(&other);
    }
}

#[tokio::test]
async fn a_slice_that_cannot_be_read_is_fetched_again() {
    let body = unique(1, 900_000);
    let ask = Ask::get("/m.mp4").header("range", "bytes=0-899999");
    for protocol in PROTOCOLS {
        let (origin, folder) = (FakeOrigin::start().await, tempfile::tempdir().unwrap());
        let edge = edge(&origin, &folder, Some(ByteSize::kib(256))).await;
        origin.on("/m.mp4", movie("\"a\"", &body));
        edge.ask(protocol, &ask).await.expect_status(206).expect_body(&body);
        on_disk(&origin, &edge, &body).await;
        damage(folder.path(), &body, 400_000);
        let before = origin.count("/m.mp4");
        edge.ask(protocol, &ask).await.expect_status(206).expect_body(&body);
        assert_eq!(origin.count("/m.mp4"), before + 1, "that slice alone");
        assert_eq!(origin.last("/m.mp4").header("range"), Some("bytes=262144-524287"));
    }
}

/// More than is read from disk at once.
const LARGE: usize = 1_900_000;
