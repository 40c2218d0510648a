//! A path has one spelling, which counts as itself; an invalidation stays on its host.
#![no_main]

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use tidegate_contract::{property::QueryPolicy, url_path};
use tidegate_edge::cache::{invalidation::targets, key::counted_path, media_class::MediaClass};

fuzz_target!(|input: (&str, &str)| {
    let (path, other) = input;
    let normal = url_path::normal(path).into_owned();
    assert_eq!(url_path::normal(&normal), normal);
    let _ = MediaClass::of(path, Some(other));
    let _ = url_path::is_ambiguous(&normal);
    if path.starts_with('/') && !path.contains('?') {
        for policy in [QueryPolicy::All, QueryPolicy::Sorted, QueryPolicy::Drop] {
            let once = counted_path(path, Some(other), &policy).into_owned();
            let (path, query) = match once.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (&*once, None),
            };
            assert_eq!(counted_path(path, query, &policy), once);
        }
    }
    if let Ok(value) = HeaderValue::from_bytes(other.as_bytes()) {
        let headers = HeaderMap::from_iter([(header::LOCATION, value)]);
        for (host, _) in targets(&Method::PUT, StatusCode::OK, "a.org", path, &headers) {
            assert_eq!(host, "a.org");
        }
    }
});
