//! What HTTP/2 itself costs a small hit: reading the request's header section, writing the response's.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, DATE},
};
use tidegate_edge::{
    cache::fields::Fields,
    listener::{
        config::Limits,
        h2::{
            hpack::{Decoder, encode_fields},
            request::read_head,
            response::put_head,
        },
        stream::ResponseHead,
    },
};

/// What a browser sends for a segment: pseudo-headers first, then fields in Huffman's code; with `is_kept` so that the
/// table takes them.
fn browser_request(is_kept: bool) -> Vec<u8> {
    // :method GET and :scheme https from the static table; :authority and :path with its names.
    let mut section = vec![0x82, 0x87, 0x41, 14];
    section.extend(b"media.demo.tst");
    section.extend([0x04, 38]);
    section.extend(b"/v/0197c3a2/1080p/segment-000123.m4s?t");
    for (name, value) in FIELDS {
        let mut line = Vec::new();
        let map: HeaderMap = [(HeaderName::from_static(name), HeaderValue::from_static(value))]
            .into_iter()
            .collect();
        encode_fields(&map, true, &mut line);
        if is_kept && line[0] == 0 {
            line[0] = 0x40;
        }
        section.extend(line);
    }
    section
}

/// The same once the table has what it takes: the newest entry has the lowest number.
fn again(kept: usize) -> Vec<u8> {
    let mut section = vec![0x82, 0x87, 0x80 | (62 + kept as u8 - 1), 0x04, 38];
    section.extend(b"/v/0197c3a2/1080p/segment-000124.m4s?t");
    section.extend((0..kept as u8 - 1).rev().map(|place| 0x80 | (62 + place)));
    section
}

const FIELDS: &[(&str, &str)] = &[
    ("sec-ch-ua-platform", "\"Linux\""),
    ("sec-ch-ua", "\"Chromium\";v=\"149\", \"Not.A/Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    ("origin", "https://player.demo.tst"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("referer", "https://player.demo.tst/"),
    ("priority", "u=1, i"),
];

fn header_sections(criterion: &mut Criterion) {
    let limits = Limits::default();
    let whole = browser_request(false);
    criterion.bench_function("h2/read a browser's first request", |bencher| {
        bencher.iter(|| read_head(&mut Decoder::default(), black_box(&whole), &limits).unwrap());
    });
    let mut decoder = Decoder::default();
    read_head(&mut decoder, &browser_request(true), &limits).unwrap();
    let next = again(FIELDS.len() + 1);
    let head = read_head(&mut decoder, &next, &limits).unwrap();
    assert_eq!(head.headers.len(), FIELDS.len());
    criterion.bench_function("h2/read a browser's next request", |bencher| {
        bencher.iter(|| read_head(&mut decoder, black_box(&next), &limits).unwrap());
    });
    let mut map = HeaderMap::new();
    for (name, value) in [
        ("content-type", "video/mp4"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("etag", "\"5f3e-61a2c\""),
        ("last-modified", "Mon, 01 Jun 2026 10:00:00 GMT"),
        ("access-control-allow-origin", "*"),
        ("accept-ranges", "bytes"),
    ] {
        map.insert(name, HeaderValue::from_static(value));
    }
    let stored = Fields::new(map);
    let own = [
        (DATE, HeaderValue::from_static("Sat, 21 Nov 2026 06:00:00 GMT")),
        (AGE, HeaderValue::from_static("17")),
        (
            HeaderName::from_static("cache-status"),
            HeaderValue::from_static("edge-1; hit; ttl=4711"),
        ),
    ];
    let mut out = Vec::with_capacity(4096);
    criterion.bench_function("h2/write the head of a hit", |bencher| {
        bencher.iter(|| {
            out.clear();
            let head = ResponseHead {
                status: StatusCode::OK,
                stored: Some(black_box(&stored)),
                own: &own,
                length: Some(4096),
            };
            put_head(&mut out, 1, &head, head.length, false, false);
        });
    });
}

criterion_group!(benches, header_sections);
criterion_main!(benches);
