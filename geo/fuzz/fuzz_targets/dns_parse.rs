//! Queries that the fast path reads: the handler reads the same of them, and nothing makes either panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_geo::dns::{
    fast::{
        parse::{LowerName, Query},
        template::wire,
    },
    request,
};

fuzz_target!(|bytes: &[u8]| {
    let read = request::read(bytes);
    let mut name = LowerName::new();
    let Some(query) = Query::read(bytes, &mut name) else { return };
    let request = read.expect("what is common the handler reads too");
    let question = request.question.expect("there is one");
    assert_eq!(wire(&question.name), name.as_bytes());
    assert_eq!(u16::from(question.kind), query.record_type);
    assert!(bytes.starts_with(query.head));
    let Some(edns) = query.edns else {
        assert!(request.edns.is_none());
        return;
    };
    let other = request.edns.expect("both see it");
    assert_eq!((other.version, other.dnssec_ok, other.compact_ok), (0, edns.dnssec_ok, false));
    assert_eq!(other.payload, edns.payload_bytes.max(512));
    assert_eq!(other.subnet, edns.subnet.map(|(subnet, _)| subnet));
    assert_eq!(other.cookie.as_deref(), edns.cookie);
    assert!(!other.wants_nsid);
});
