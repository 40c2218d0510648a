//! Very many objects: how long the index takes to come back, and what it takes of memory.

use std::time::Instant;

use super::*;
use crate::cache::disk::{
    record::Kind,
    segment::{Entry, Segment},
};

fn write_tables(folder: &Path, objects: u64, each: u64) {
    for id in 0..objects.div_ceil(each) {
        let segment = Segment::create(folder, id as u32 + 1, IDENTITY).unwrap();
        let entries: Vec<_> = (id * each..((id + 1) * each).min(objects))
            .map(|n| Entry {
                kind: Kind::Object,
                key: key(n),
                fill: n,
                at: (2 + (n % each) * 100) as u32,
                units: 100,
            })
            .collect();
        segment.close(32 + each * 1600, &entries).unwrap();
    }
}

#[test]
fn the_index_of_a_hundred_thousand_objects_is_back_in_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 100_000, 5000);
    let began = Instant::now();
    let bench = open(folder.path(), SMALL);
    let took = began.elapsed();
    assert_eq!(bench.tier.sizes().objects, 100_000);
    assert_eq!(bench.tier.last_fill(), 99_999);
    // Without optimisation, beside other tests and on a slow disk; else it is some twenty milliseconds.
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(bench.metrics.disk_recovery.get() > 0.0);
}

/// A million objects that were really written, by a process that was not ended in good order. Run optimised:
/// `cargo test --release -p tidegate-edge --lib a_million_objects -- --ignored --nocapture`
#[test]
#[ignore = "writes some gigabytes"]
fn a_million_objects_are_back_in_seconds() {
    const OBJECTS: u64 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes_max: 64 << 30, segment_bytes: 256 << 20, objects_max: 4_000_000 };
    let bench = open(folder.path(), limits);
    let began = Instant::now();
    for n in 0..OBJECTS {
        bench.put(n, n, 1024);
        if n % 10_000 == 0 {
            bench.tier.settle();
        }
    }
    bench.tier.settle();
    println!("written: {OBJECTS} objects of 1 KiB in {:?}", began.elapsed());
    assert_eq!(bench.tier.sizes().objects, OBJECTS);
    // Not closed: the last file has no table.
    std::mem::forget(bench);
    let before = resident_bytes();
    let began = Instant::now();
    let bench = open(folder.path(), limits);
    let took = began.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    println!("back: {:?}, {} bytes of memory for each", took, grown / OBJECTS);
    assert_eq!(bench.tier.sizes().objects, OBJECTS);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
