//! Whatever happened to a file: an object is there, byte for byte, or it is not there.

use std::{fs, os::unix::fs::FileExt, path::PathBuf};

use proptest::prelude::*;

use super::*;

const SIZES: [usize; 5] = [0, 500, 60_000, 200_000, 1_500_000];

#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(u8),
    Zero(usize),
    Truncate,
    Grow(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0_u8..8).prop_map(Harm::Flip),
        (1_usize..5000).prop_map(Harm::Zero),
        Just(Harm::Truncate),
        (1_usize..5000).prop_map(Harm::Grow),
    ]
}

/// Where harm is done: anywhere, or where it hurts most.
fn place() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..1.0, 0.0..0.01, 0.99..1.0]
}

fn inflict(path: &PathBuf, harm: Harm, place: f64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let at = ((length as f64 * place) as u64).min(length - 1);
    match harm {
        Harm::Flip(bit) => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
        }
        Harm::Zero(count) => {
            let count = count.min((length - at) as usize);
            file.write_all_at(&vec![0; count], at).unwrap();
        }
        Harm::Truncate => file.set_len(at).unwrap(),
        Harm::Grow(count) => file.write_all_at(&vec![0xa5; count], length).unwrap(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "seg"));
    files.sort();
    files
}

/// Files with objects, one closed for each size, and what is read from them is checked.
fn fixture(folder: &Path, limits: Limits, is_closed: bool) {
    let bench = open(folder, limits);
    for (n, size) in (0..).zip(SIZES) {
        bench.put(n, 1, size);
    }
    bench.tier.settle();
    if !is_closed {
        // As if the process had been killed: the table of the last file is not written.
        let copy = folder.join("copy");
        fs::create_dir(&copy).unwrap();
        for path in files(folder) {
            fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        drop(bench);
        for path in files(&copy) {
            fs::rename(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
}

async fn check(bench: &Bench) -> usize {
    let mut found = 0;
    for (n, size) in (0..).zip(SIZES) {
        if let Some(Ok(body)) = bench.body(n).await {
            assert!(body == body_of(n ^ (1 << 32), size), "{n}");
            found += 1;
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_damaged_file_gives_whole_objects_or_none(
        harms in prop::collection::vec((harm(), place(), any::<prop::sample::Index>()), 1..4),
        is_closed: bool,
        segment_bytes in prop::sample::select(vec![64 << 10, 8 << 20_u64]),
        while_open: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { bytes_max: 64 << 20, segment_bytes, ..SMALL };
        fixture(folder.path(), limits, is_closed);
        let early = while_open.then(|| open(folder.path(), limits));
        for (harm, place, which) in harms {
            inflict(which.get(&files(folder.path())), harm, place);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if let Some(early) = &early {
                check(early).await;
            }
            drop(early);
            let bench = open(folder.path(), limits);
            let found = check(&bench).await;
            // What was damaged is forgotten, and what is whole stays.
            assert_eq!(check(&bench).await, found);
            assert_eq!(bench.tier.sizes().read_bytes, 0);
            // And the tier goes on.
            bench.put(77, 9, 1000);
            bench.tier.settle();
            assert!(bench.body(77).await.unwrap().is_ok());
        });
    }
}

#[tokio::test]
async fn nothing_is_lost_without_damage() {
    for is_closed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        fixture(folder.path(), Limits { bytes_max: 64 << 20, ..SMALL }, is_closed);
        let bench = open(folder.path(), Limits { bytes_max: 64 << 20, ..SMALL });
        assert_eq!(check(&bench).await, SIZES.len(), "{is_closed}");
    }
}

#[tokio::test]
async fn a_foreign_file_is_deleted_and_others_are_left_alone() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fixture(folder.path(), SMALL, true);
    let metrics = Metrics::register(&Registry::new());
    let foreign = LogTier::open_with(other.path(), &Config::default(), SMALL, 99, metrics).unwrap();
    foreign.put(key(50), &object(50, 1, b"foreign"));
    drop(foreign);
    fs::copy(other.path().join("00000001.seg"), folder.path().join("000000ff.seg")).unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let bench = open(folder.path(), SMALL);
    assert!(bench.body(50).await.is_none());
    assert!(!folder.path().join("000000ff.seg").exists());
    assert!(folder.path().join("notes.txt").exists());
    assert_eq!(bench.errors("damaged"), 1);
}

#[tokio::test]
async fn damage_that_shows_in_the_middle_is_an_error_and_the_object_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path(), Limits { bytes_max: 64 << 20, ..SMALL });
    bench.put(1, 1, 3_000_000);
    bench.tier.settle();
    inflict(&files(folder.path())[0], Harm::Flip(3), 0.5);
    assert_eq!(bench.body(1).await, Some(Err(Unreadable)));
    assert_eq!((bench.errors("damaged"), bench.tier.find(&key(1))), (1, None));
    drop(bench);
    assert!(open(folder.path(), SMALL).body(1).await.is_none());
}
