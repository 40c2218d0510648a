//! What HTTP/3 itself costs a small hit: reading the request's header section, writing the response's.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, DATE},
};
use tidegate_edge::{
    cache::fields::Fields,
    listener::{
        config::Limits,
        h3::{
            qpack::{PREFIX, encode_fields},
            request::read_head,
            response::{Follows, head},
        },
        stream::ResponseHead,
    },
};

/// What a browser sends for a segment, as it sends it: in Huffman's code, pseudo-headers first.
fn browser_request() -> Bytes {
    let mut section = PREFIX.to_vec();
    // :method GET, :scheme https from the static table; :authority and :path with its names.
    section.extend([0xd1, 0xd7, 0x50, 14]);
    section.extend(b"media.demo.tst");
    section.extend([0x51, 38]);
    section.extend(b"/v/0197c3a2/1080p/segment-000123.m4s?t");
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("sec-ch-ua-platform", "\"Linux\""),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36",
        ),
        ("sec-ch-ua", "\"Chromium\";v=\"149\", \"Not.A/Brand\";v=\"99\""),
        ("sec-ch-ua-mobile", "?0"),
        ("accept", "*/*"),
        ("origin", "https://player.demo.tst"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
        ("referer", "https://player.demo.tst/"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
        ("priority", "u=1, i"),
    ] {
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    encode_fields(&fields, true, &mut section);
    section.into()
}

fn stored() -> Fields {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("content-type", "video/mp4"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("etag", "\"5f3e-61a2c\""),
        ("last-modified", "Mon, 01 Jun 2026 10:00:00 GMT"),
        ("access-control-allow-origin", "*"),
        ("accept-ranges", "bytes"),
    ] {
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Fields::new(fields)
}

fn header_sections(criterion: &mut Criterion) {
    let request = browser_request();
    let limits = Limits::default();
    assert!(read_head(&request, &limits).is_ok());
    criterion.bench_function("h3/read a browser's request", |bencher| {
        bencher.iter(|| read_head(black_box(&request), &limits).unwrap());
    });
    let stored = stored();
    let own = [
        (DATE, HeaderValue::from_static("Sat, 21 Nov 2026 06:00:00 GMT")),
        (AGE, HeaderValue::from_static("17")),
        (
            HeaderName::from_static("cache-status"),
            HeaderValue::from_static("edge-1; hit; ttl=4711"),
        ),
    ];
    let mut scratch = BytesMut::new();
    criterion.bench_function("h3/write the head of a hit", |bencher| {
        bencher.iter(|| {
            let response = ResponseHead {
                status: StatusCode::OK,
                stored: Some(black_box(&stored)),
                own: &own,
                length: Some(4096),
            };
            head(&mut scratch, &response, Follows::Known(4096))
        });
    });
}

criterion_group!(benches, header_sections);
criterion_main!(benches);
