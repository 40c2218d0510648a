//! Metrics are named alike: by their program, with `_total` behind what only grows, and never labelled with what
//! has no end.

use crate::{
    metric::{self, Kind},
    repository::{Fault, Repository},
};

/// Every declared metric begins with its program, has `_total` if and only if it is a counter, and no label that
/// could take any number of values.
pub(super) fn are_regular(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for metric in metric::declared(repository) {
        let mut fault = |what: &str| {
            faults.push(Fault::new(&metric.file, format!("metric {} {what}", metric.name)));
        };
        if !metric.name.starts_with(&format!("{}_", metric.program)) {
            fault(&format!("does not begin with {}_", metric.program));
        }
        if (metric.kind == Kind::Counter) != metric.name.ends_with("_total") {
            fault("must end in _total if it only grows, and else not");
        }
        for label in metric.labels.iter().filter(|label| ENDLESS.contains(&label.as_str())) {
            fault(&format!("has the label {label}, which has no end of values"));
        }
    }
    faults
}

const ENDLESS: &[&str] = &[
    "url", "uri", "path", "ip", "addr", "client", "id", "video", "media", "upload", "key", "user",
    "token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_held_to_the_rule() {
        let table = [
            ("counter(r, \"edge_hits_total\", \"Hits so far.\")", ""),
            ("gauge_vec(r, \"edge_cache_bytes\", \"Bytes by tier.\", &[\"tier\"])", ""),
            ("counter(r, \"edge_hits\", \"Hits so far.\")", "must end in _total"),
            ("gauge(r, \"edge_open_total\", \"Open now.\")", "must end in _total"),
            ("counter(r, \"hits_so_far_total\", \"Hits so far.\")", "does not begin with edge_"),
            ("counter_vec(r, \"edge_hits_total\", \"Hits by URL.\", &[\"url\"])", "the label url"),
        ];
        for (call, expected) in table {
            let text = format!("//! M.\nfn f() {{ {call}; }}");
            let faults = are_regular(&Repository::of(&[("edge/src/metrics.rs", &text)]));
            let said: String = faults.iter().map(ToString::to_string).collect();
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
        }
    }
}
