//! What a line of the access log costs the thread that writes it: by a call for each, and many at a time.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::{
    fs::File,
    io::{PipeReader, Read, Write},
    sync::Mutex,
};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_chassis::lines::{FLUSH_BYTES, Lines};
use tracing_subscriber::{fmt, fmt::MakeWriter};

/// About as long as one of the edge.
fn log() {
    tracing::info!(
        target: "access",
        method = "GET",
        host = "video.example.org",
        path = "/m/018f2c3d4e5f/1/720p/17.m4s",
        property = "demo",
        status = 200,
        protocol = "http3",
        client = "192.0.2.0/24",
        cache.status = "hit",
        bytes = 4096_u64,
        duration_ms = 0_u64,
        request_id = "0123456789abcdef0123456789abcdef",
        "exchange"
    );
}

fn with_writer<W>(writer: W, act: impl FnOnce())
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt().json().flatten_event(true).with_writer(writer).finish();
    tracing::subscriber::with_default(lines, act);
}

/// Reads as a collector of logs does, and forgets it.
fn reader(mut pipe: PipeReader) {
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while pipe.read(&mut bytes).is_ok_and(|length| length > 0) {}
    });
}

fn lines(criterion: &mut Criterion) {
    let file = || File::options().append(true).create(true).open(std::env::temp_dir().join(NAME));
    with_writer(std::io::sink, || {
        criterion.bench_function("line/format", |bench| bench.iter(log));
    });
    with_writer(Mutex::new(file().unwrap()), || {
        criterion.bench_function("line/file/each", |bench| bench.iter(log));
    });
    with_writer(Lines::to(file().unwrap(), FLUSH_BYTES).unwrap(), || {
        criterion.bench_function("line/file/many", |bench| bench.iter(log));
    });
    for (name, chunk_max) in [("line/pipe/each", 1), ("line/pipe/many", 4096)] {
        let (read, write) = std::io::pipe().unwrap();
        reader(read);
        let write: Box<dyn Write + Send> = Box::new(write);
        let mut measure = || {
            criterion.bench_function(name, |bench| bench.iter(log));
        };
        if chunk_max == 1 {
            with_writer(Mutex::new(write), &mut measure);
        } else {
            with_writer(Lines::to(write, chunk_max).unwrap(), &mut measure);
        }
    }
    let _ = std::fs::remove_file(std::env::temp_dir().join(NAME));
}

const NAME: &str = "tidegate-bench-lines.log";

criterion_group!(benches, lines);
criterion_main!(benches);
