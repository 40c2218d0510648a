//! CMCD from strangers, in a header and in the query: what comes next stays on this host.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_edge::exchange::cmcd::Cmcd;

fuzz_target!(|text: &str| {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert("cmcd-request", value);
    }
    let query = format!("a=1&CMCD={text}");
    for cmcd in [
        Cmcd::read(&headers, None, "/v/1/720p/3.m4s"),
        Cmcd::read(&HeaderMap::new(), Some(&query), "/v/1/720p/3.m4s"),
    ] {
        for next in cmcd.ok().flatten().map(|cmcd| cmcd.next).unwrap_or_default() {
            let path = next.target.split('?').next().unwrap_or_default();
            assert!(path.starts_with('/') && !path.starts_with("//"), "{path}");
            assert!(!path.split('/').any(|segment| segment == ".."), "{path}");
        }
    }
});
