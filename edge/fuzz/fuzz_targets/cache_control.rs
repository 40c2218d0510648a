//! Whatever an origin writes about caching is judged: nothing that forbids storing is stored, and nothing stale
//! becomes fresh as time goes by.
#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use tidegate_contract::property::CachePolicy;
use tidegate_edge::cache::{
    directive::Directives,
    freshness::{Arrival, judge},
    governing::{Governing, Source},
    kept,
    media_class::MediaClass,
};

/// Lines are the values of these headers, in this order.
const NAMES: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    HeaderName::from_static("surrogate-control"),
    header::AGE,
    header::DATE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::CONNECTION,
    header::CACHE_CONTROL,
];

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for (name, line) in NAMES.iter().zip(bytes.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name.clone(), value);
        }
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let arrival = Arrival {
        method: &Method::GET,
        status: StatusCode::OK,
        headers: &headers,
        is_authorized: false,
        requested_at: now,
        received_at: now,
        class: MediaClass::Other,
    };
    let governing = Governing::of(&headers);
    if let Ok(freshness) = judge(&arrival, &CachePolicy::default()) {
        assert!(!governing.directives.no_store || governing.directives.must_understand);
        assert!(!governing.directives.private);
        let later = now + Duration::from_secs(3600);
        assert!(freshness.is_fresh(now) || !freshness.is_fresh(later));
    }
    if governing.source == Source::CacheControl {
        assert_eq!(governing.directives, Directives::read(&headers));
    }
    let stored = kept::kept(&headers);
    assert!(!stored.contains_key(header::CONNECTION));
    assert!(!kept::public(&stored).contains_key("surrogate-control"));
});
