//! Whatever the journal of purges holds: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = tidegate_edge::cache::purge::is_readable(bytes);
});
