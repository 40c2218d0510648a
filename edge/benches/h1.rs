//! What H1 costs for each request beside the system calls: reading a head, writing one.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_edge::{
    cache::fields::Fields,
    listener::{
        h1::{
            head,
            response::{Framing, Persistence, write_head},
            scan::{Found, Limits, Scan},
        },
        stream::ResponseHead,
    },
};

/// A segment as a browser asks for it.
const BROWSER: &[u8] = b"GET /v/0195a1b2/720p/segment-00042.m4s?session=0123456789 HTTP/1.1\r\n\
Host: video.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: */*\r\n\
Accept-Language: en-US,en;q=0.9\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Origin: https://www.example.com\r\n\
Referer: https://www.example.com/\r\n\
Sec-Fetch-Dest: empty\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Site: same-site\r\n\
Connection: keep-alive\r\n\r\n";
/// As a load generator asks.
const SHORT: &[u8] = b"GET /4096 HTTP/1.1\r\nHost: 127.0.0.1:8443\r\n\r\n";
const LIMITS: Limits = Limits { line_bytes_max: 16 << 10, bytes_max: 64 << 10, headers_max: 100 };

fn read(text: &[u8]) -> head::Head {
    let Ok(Found::Head { begin, end, .. }) = Scan::default().go_on(text, &LIMITS) else {
        unreachable!("a whole head")
    };
    head::read(&Bytes::copy_from_slice(text).slice(begin..end)).expect("a good head")
}

fn reading(criterion: &mut Criterion) {
    for (name, text) in [("browser", BROWSER), ("short", SHORT)] {
        let mut group = criterion.benchmark_group("h1_read_head");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(text))));
        group.finish();
    }
}

fn writing(criterion: &mut Criterion) {
    let mut stored = HeaderMap::new();
    for (name, value) in [
        ("content-type", "video/mp4"),
        ("cache-control", "public, max-age=3600"),
        ("etag", "\"5f3e-0123456789abcdef\""),
        ("last-modified", "Sat, 21 Nov 2026 05:51:46 GMT"),
        ("accept-ranges", "bytes"),
    ] {
        stored.insert(name, HeaderValue::from_static(value));
    }
    let stored = Fields::new(stored);
    let own = [
        (
            HeaderName::from_static("date"),
            HeaderValue::from_static("Sat, 21 Nov 2026 05:51:46 GMT"),
        ),
        (HeaderName::from_static("age"), HeaderValue::from_static("17")),
    ];
    criterion.bench_function("h1_write_head", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::with_capacity(1024);
            let head = ResponseHead {
                status: StatusCode::OK,
                stored: Some(&stored),
                own: &own,
                length: Some(black_box(4096)),
            };
            write_head(&mut out, &head, Framing::Length(4096), Persistence::Implied);
            out
        });
    });
}

criterion_group!(benches, reading, writing);
criterion_main!(benches);
