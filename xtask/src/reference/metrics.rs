//! `docs/metrics.md`: every metric of every program, from their declarations.

use std::fmt::Write as _;

use crate::{metric, repository::Repository};

/// The whole document.
pub(super) fn document(repository: &Repository) -> String {
    let mut text = HEAD.to_owned();
    let mut program = String::new();
    for metric in metric::declared(repository) {
        if metric.program != program {
            program.clone_from(&metric.program);
            let title = if program == "process" { "every program" } else { &program };
            let _ =
                write!(text, "\n## {title}\n\n| metric | kind | labels | |\n|---|---|---|---|\n");
        }
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            labels.join(", "),
            metric.help.replace('|', "\\|")
        );
    }
    text
}

const HEAD: &str = "# Metrics

Written by `cargo xtask docs` from the declarations in each program's `metrics.rs`. They are served as `/metrics` on the
admin port, in the text format of Prometheus. A histogram `x` is served as `x_bucket`, `x_sum` and `x_count`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_a_table() {
        let edge =
            "//! M.\nfn f() { counter_vec(r, \"edge_a_total\", \"A | b.\", &[\"x\", \"y\"]); }";
        let text = document(&Repository::of(&[
            (
                "chassis/src/metrics.rs",
                "//! M.\nfn f() { gauge(\"process_fds\", \"Open files.\"); }",
            ),
            ("edge/src/metrics.rs", edge),
        ]));
        assert!(text.contains("\n## edge\n\n| metric | kind | labels | |\n"), "{text}");
        assert!(text.contains("| `edge_a_total` | counter | `x`, `y` | A \\| b. |\n"), "{text}");
        assert!(text.contains("\n## every program\n"), "{text}");
    }
}
