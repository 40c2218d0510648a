//! Master files are read or refused; a zone that was read and is written again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::zone::{self, RecordSet};

fuzz_target!(|text: &str| {
    // Without these no file is a zone.
    let text = format!("$TTL 60\n@ SOA ns1 admin 7 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n{text}");
    let Ok(zone) = zone::read("cdn.example", &text) else { return };
    // What is said of steered names is not kept as records.
    if zone.names().any(|(_, node)| node.steered.is_some()) {
        return;
    }
    let sets = zone.names().flat_map(|(_, node)| &node.sets);
    let lines: Vec<_> =
        sets.flat_map(RecordSet::records).map(|record| zone::file_line(&record)).collect();
    let again = zone::read("cdn.example", &lines.join("\n"));
    assert_eq!(again.as_ref().ok(), Some(&zone), "{lines:#?}: {again:?}");
});
