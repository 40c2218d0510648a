//! H1 heads: a cut changes nothing, and what is taken can be told apart in one way only.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_edge::listener::h1::{
    head,
    scan::{Found, Limits, Scan},
};

const LIMITS: Limits = Limits { line_bytes_max: 1024, bytes_max: 8192, headers_max: 50 };

fuzz_target!(|data: &[u8]| {
    let whole = Scan::default().go_on(data, &LIMITS);
    let mut scan = Scan::default();
    let mut stepwise = Ok(Found::More);
    for end in 0..=data.len() {
        stepwise = scan.go_on(&data[..end], &LIMITS);
        if stepwise != Ok(Found::More) {
            break;
        }
    }
    assert_eq!(stepwise, whole);
    let Ok(Found::Head { begin, end, .. }) = whole else { return };
    let Ok(head) = head::read(&Bytes::copy_from_slice(&data[begin..end])) else { return };
    for name in ["host", "connection", "transfer-encoding", "upgrade", "keep-alive", "te", "expect"]
    {
        assert!(!head.headers.contains_key(name));
    }
    assert!(head.headers.get_all("content-length").iter().count() <= 1);
    assert!(head.target.as_str().starts_with('/') || head.target.as_str() == "*");
    assert!(head.authority.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@'));
});
