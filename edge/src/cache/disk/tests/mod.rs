//! The disk tier's stories, on real files.

mod crash; // kill -9 in the middle
mod damage; // files that are short, torn, flipped or foreign
mod many; // very many objects

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use bytesize::ByteSize;
use prometheus::Registry;

use super::{writer::Limits, *};
use crate::cache::{
    budget::Budget,
    key::Key,
    metrics::Metrics,
    object::{Object, PIECE_BYTES, Pieces, tests::head},
    variants::{Variants, tests::vary},
};

const IDENTITY: u64 = 0x1234_5678_9abc_def0;

const SMALL: Limits = Limits { bytes_max: 4 << 20, segment_bytes: 256 << 10, objects_max: 100_000 };

struct Bench {
    tier: LogTier,
    metrics: Metrics,
}

fn open(folder: &Path, limits: Limits) -> Bench {
    let config = Config {
        write_queue: ByteSize::mib(64),
        read_buffers: ByteSize::mib(8),
        read_threads: 2,
        ..Config::default()
    };
    let metrics = Metrics::register(&Registry::new());
    let tier = LogTier::open_with(folder, &config, limits, IDENTITY, metrics.clone()).unwrap();
    Bench { tier, metrics }
}

fn key(n: u64) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..16]);
    Key(key)
}

/// Bytes that only this object has.
fn body_of(n: u64, length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    let mut reader = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
    reader.fill(&mut body);
    body
}

fn object(n: u64, fill: u64, body: &[u8]) -> Arc<Object> {
    let pieces = body.chunks(PIECE_BYTES).map(Bytes::copy_from_slice).collect();
    let room = Budget::new(u64::MAX).reserve(0).unwrap();
    let mut head = head();
    head.born = n;
    head.length = Some(body.len() as u64);
    let pieces = Arc::new(Pieces::new(pieces, room));
    Arc::new(Object::new(Arc::new(head), pieces, fill, key(n)))
}

impl Bench {
    fn put(&self, n: u64, fill: u64, length: usize) {
        self.tier.put(key(n), &object(n, fill, &body_of(n ^ (fill << 32), length)));
    }

    async fn open(&self, n: u64) -> Option<OnDisk> {
        match self.tier.open(key(n)).await? {
            Opened::Object(opened) => Some(opened),
            Opened::Variants(_) => panic!("not an object"),
        }
    }

    /// The whole body; `None` when it is not there, an error when it is not whole.
    async fn body(&self, n: u64) -> Option<Result<Vec<u8>, Unreadable>> {
        let opened = self.open(n).await?;
        assert_eq!(opened.head.born, n, "another object's head");
        assert_eq!(opened.head.length, Some(opened.bytes));
        Some(read(opened.content).await)
    }

    fn errors(&self, kind: &str) -> u64 {
        self.metrics.disk_errors.with_label_values(&[kind]).get()
    }
}

async fn read(content: Content) -> Result<Vec<u8>, Unreadable> {
    match content {
        Content::Whole(pieces, _) => Ok(pieces.concat()),
        Content::Stream(mut body) => {
            let mut all = Vec::new();
            while let Some(bytes) = body.read(all.len() as u64, None).await? {
                all.extend_from_slice(&bytes);
            }
            Ok(all)
        }
    }
}

#[tokio::test]
async fn objects_of_all_sizes_read_as_they_were_written_before_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes_max: 64 << 20, segment_bytes: 1 << 20, ..SMALL };
    let sizes = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 1_000_000, 3_000_000];
    let mut bench = open(folder.path(), limits);
    for (n, size) in (0..).zip(sizes) {
        bench.put(n, 1, size);
    }
    bench.tier.settle();
    for _ in 0..2 {
        assert_eq!(bench.tier.sizes().objects, sizes.len() as u64);
        for (n, size) in (0..).zip(sizes) {
            let body = bench.body(n).await.unwrap().unwrap();
            assert!(body == body_of(n ^ (1 << 32), size), "{size}");
        }
        drop(bench);
        bench = open(folder.path(), limits);
    }
    assert_eq!((bench.tier.last_fill(), bench.tier.sizes().read_bytes), (1, 0));
}

#[tokio::test]
async fn any_part_of_a_large_body_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), Limits { bytes_max: 64 << 20, ..SMALL });
    bench.put(1, 1, 3_000_000);
    bench.tier.settle();
    let whole = body_of(1 ^ (1 << 32), 3_000_000);
    let Content::Stream(mut body) = bench.open(1).await.unwrap().content else { panic!("small") };
    for (start, end) in [(2_999_999, 3_000_000), (0, 1), (96 * 1024 - 1, 300_000), (5, 700_000)] {
        let mut at = start;
        while at < end {
            let bytes = body.read(at as u64, Some(end as u64)).await.unwrap().unwrap();
            let length = bytes.len().min(end - at);
            assert!(bytes[..length] == whole[at..at + length], "{start} {at}");
            at += length;
        }
    }
    assert_eq!(body.read(3_000_000, None).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_replaced_or_removed_is_gone_now_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), SMALL);
    bench.put(1, 1, 100);
    bench.put(2, 2, 100);
    bench.tier.settle();
    bench.put(1, 3, 200);
    bench.tier.remove(&key(2));
    assert_eq!(bench.tier.find(&key(2)), None, "at once");
    bench.tier.settle();
    drop(bench);
    let bench = open(folder.path(), SMALL);
    assert_eq!(bench.body(1).await.unwrap().unwrap(), body_of(1 ^ (3 << 32), 200));
    assert!(bench.body(2).await.is_none());
    assert_eq!(bench.tier.sizes().objects, 1);
}

#[tokio::test]
async fn variants_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), SMALL);
    let vary = vary(&[http::header::ACCEPT]);
    bench.tier.put_variants(key(1), &Arc::new(Variants::new(vary.clone(), vec![[1; 16]])));
    bench.tier.settle();
    drop(bench);
    let bench = open(folder.path(), SMALL);
    assert_eq!(bench.tier.find(&key(1)), Some(What::Variants));
    let Some(Opened::Variants(variants)) = bench.tier.open(key(1)).await else { panic!() };
    assert_eq!((&variants.vary, variants.list.as_slice()), (&vary, &[[1; 16]][..]));
}

#[tokio::test]
async fn the_oldest_goes_first_but_not_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), SMALL);
    for n in 0..2000 {
        bench.put(n, n, 10_000);
        if n % 10 == 0 {
            bench.tier.settle();
            assert!(bench.body(0).await.is_some(), "what is read stays: {n}");
        }
    }
    bench.tier.settle();
    let sizes = bench.tier.sizes();
    assert!(sizes.bytes <= SMALL.bytes_max + SMALL.segment_bytes, "{}", sizes.bytes);
    let files: u64 = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(files, sizes.bytes, "what is counted is what is there");
    assert!(bench.body(1999).await.is_some() && bench.body(1).await.is_none());
    assert!(sizes.objects > 300, "{}", sizes.objects);

    drop(bench);
    let bench = open(folder.path(), SMALL);
    assert_eq!(bench.tier.sizes().objects, sizes.objects);
    assert_eq!(bench.body(0).await.unwrap().unwrap(), body_of(0, 10_000));
}

#[tokio::test]
async fn there_are_never_more_objects_than_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { objects_max: 500, segment_bytes: 16 << 10, ..SMALL };
    let bench = open(folder.path(), limits);
    for n in 0..2000 {
        bench.put(n, n, 100);
    }
    bench.tier.settle();
    let objects = bench.tier.sizes().objects;
    assert!((300..=500).contains(&objects), "{objects}");
    assert!(bench.body(1999).await.is_some());
}

#[tokio::test]
async fn a_full_disk_costs_what_was_to_be_written_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), SMALL);
    bench.put(1, 1, 10_000);
    bench.tier.settle();
    // The next file has no room for a single byte.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("00000002.seg")).unwrap();
    bench.put(2, 2, 300_000);
    bench.put(3, 3, 100);
    bench.tier.settle();
    assert_eq!(bench.errors("full"), 1);
    assert_eq!(bench.metrics.disk_dropped.with_label_values(&["pause"]).get(), 1);
    assert!(bench.body(2).await.is_none() && bench.body(3).await.is_none());
    assert!(!object(3, 3, &[]).is_on_disk());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_still_serves_what_it_has() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cache");
    std::fs::create_dir(&folder).unwrap();
    let bench = open(&folder, SMALL);
    bench.put(1, 1, 200_000);
    bench.tier.settle();
    std::fs::rename(&folder, parent.path().join("away")).unwrap();
    bench.put(2, 2, 200_000);
    bench.tier.settle();
    assert_eq!(bench.errors("write"), 1);
    assert!(bench.body(2).await.is_none());
    assert_eq!(bench.body(1).await.unwrap().unwrap(), body_of(1 ^ (1 << 32), 200_000));
}

#[tokio::test]
async fn readers_beyond_the_budget_are_told_that_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), Limits { bytes_max: 64 << 20, ..SMALL });
    bench.put(1, 1, 3_000_000);
    bench.tier.settle();
    let mut readers = Vec::new();
    while let Some(opened) = bench.open(1).await {
        readers.push(opened);
        assert!(readers.len() < 1000);
    }
    assert!(bench.errors("busy") == 1 && bench.tier.sizes().read_bytes <= 8 << 20);
    drop(readers);
    assert!(bench.open(1).await.is_some());
}

#[tokio::test]
async fn a_queue_that_is_full_drops_writes_and_never_shows_anything_older() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { write_queue: ByteSize::kib(64), read_threads: 1, ..Config::default() };
    let metrics = Metrics::register(&Registry::new());
    let tier =
        LogTier::open_with(folder.path(), &config, SMALL, IDENTITY, metrics.clone()).unwrap();
    let bench = Bench { tier, metrics };
    bench.put(1, 1, 100);
    bench.tier.settle();
    bench.put(1, 2, 100_000);
    assert_eq!(bench.metrics.disk_dropped.with_label_values(&["queue"]).get(), 1);
    assert!(bench.body(1).await.is_none());
    drop(bench);
    assert!(open(folder.path(), SMALL).body(1).await.is_none());
}

#[test]
fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cache");
    let _lock = crate::cache::private_folder::enter(&folder).unwrap();
    let bench = open(&folder, SMALL);
    bench.put(1, 1, 100);
    bench.tier.settle();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert!(crate::cache::private_folder::enter(&folder).is_err(), "one process at a time");
}
