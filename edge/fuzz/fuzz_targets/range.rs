//! Whatever ranges a client asks for, it gets bytes that are there; a Content-Range reads as it was written.
#![no_main]

use http::{HeaderMap, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use tidegate_edge::cache::range::{
    ContentRange, RANGES_MAX, Selection, aligned, asked, enclosed, select,
};

fuzz_target!(|input: (u64, u64, &[u8])| {
    let (length, slice_bytes, bytes) = input;
    if let Some(range) = ContentRange::parse(bytes) {
        assert_eq!(ContentRange::parse(range.format().as_bytes()), Some(range));
        if let (Some(span), Some(total)) = (range.span, range.total) {
            assert!(span.start < span.end && span.end <= total);
        }
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let request = HeaderMap::from_iter([(header::RANGE, value.clone())]);
    let _ = asked(&Method::GET, &request);
    let spans = match select(&Method::GET, &request, &HeaderMap::new(), length) {
        Selection::Whole | Selection::Unsatisfiable => vec![],
        Selection::One(span) => vec![span],
        Selection::Many(spans) => spans,
    };
    assert!(spans.len() <= RANGES_MAX);
    for span in spans {
        assert!(span.start < span.end && span.end <= length);
        assert!(aligned(span, slice_bytes).contains(&span));
    }
    let _ = enclosed(&HeaderMap::from_iter([(header::CONTENT_RANGE, value)]));
});
