//! Links between documents lead somewhere, and the walkthroughs of `ARCHITECTURE.md` name files that exist.

use crate::repository::{Fault, Repository};

/// Every relative link of a document leads to a file or folder.
pub(super) fn resolve(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in repository.ending(".md") {
        for target in links(text) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains(':') {
                continue;
            }
            if !join(path, file).is_some_and(|file| file.is_empty() || repository.exists(&file)) {
                faults.push(Fault::new(path, format!("links to {target}, which is not there")));
            }
        }
    }
    faults
}

/// Every path in backticks in `ARCHITECTURE.md` exists.
pub(super) fn walkthroughs_name_files(repository: &Repository) -> Vec<Fault> {
    let text = repository.text(WALKTHROUGHS).unwrap_or_default();
    let spans = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    let paths = spans.map(|span| span.split(':').next().unwrap_or_default());
    paths
        .filter(|path| is_path(path) && !repository.exists(path))
        .map(|path| Fault::new(WALKTHROUGHS, format!("names {path}, which is not there")))
        .collect()
}

/// Whether a span in backticks is meant as a path of this repository: it has a folder, and an ending or a slash
/// at the end.
fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let named = span.ends_with('/') || ENDINGS.iter().any(|ending| span.ends_with(ending));
    span.contains('/') && span.chars().all(plain) && !span.starts_with(['/', '.']) && named
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for line in prose(text) {
        // Code in backticks is no link.
        let shown = line.split('`').step_by(2);
        for after in shown.flat_map(|part| part.split("](").skip(1)) {
            let Some((target, _)) = after.split_once(')') else { continue };
            targets.extend(target.split_whitespace().next());
        }
    }
    targets
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The path that `target` means in the file at `path`; `None` if it leaves the repository.
fn join(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

const WALKTHROUGHS: &str = "ARCHITECTURE.md";
const ENDINGS: &[&str] = &[
    ".rs", ".md", ".toml", ".proto", ".sql", ".sh", ".js", ".mjs", ".ts", ".html", ".yaml", ".json",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_link_must_lead_to_something() {
        let table = [
            ("[a](docs/a.md)", true),
            ("[a](docs/a.md#there \"title\") and [b](docs/)", true),
            ("[a](./docs/../docs/a.md)", true),
            ("[a](https://example.org/a.md) [b](#here) [c](mailto:a@example.org)", true),
            ("```\n[a](gone.md)\n```\nand `[a](gone.md)`", true),
            ("[a](gone.md)", false),
            ("![a](docs/gone.png)", false),
            ("[a](../outside.md)", false),
        ];
        for (text, good) in table {
            let repository =
                Repository::of(&[("README.md", text), ("docs/a.md", "[r](../README.md)")]);
            assert_eq!(resolve(&repository).is_empty(), good, "{text}");
        }
    }

    #[test]
    fn a_path_of_a_walkthrough_must_exist() {
        let table = [
            ("1. `edge/src/lib.rs` is the map, `edge/src/` its folder", true),
            ("`edge/src/lib.rs:12` and `cargo xtask tidy`, `GET /m/{media}/a.m4s`, `a/b`", true),
            ("1. `edge/src/gone.rs` is not", false),
            ("all of `edge/gone/`", false),
        ];
        for (text, good) in table {
            let repository = Repository::of(&[("ARCHITECTURE.md", text), ("edge/src/lib.rs", "")]);
            assert_eq!(walkthroughs_name_files(&repository).is_empty(), good, "{text}");
        }
    }
}
