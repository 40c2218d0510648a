//! `docs/config.md`: every key of every program, from the reference configs.
//!
//! A comment above a key explains it; a comment that is itself `key = value` is a key without a default.

use std::fmt::Write as _;

use anyhow::{Context, bail};

use crate::repository::Repository;

/// The whole document.
pub(super) fn document(repository: &Repository) -> anyhow::Result<String> {
    let mut text = HEAD.to_owned();
    for (path, reference) in repository.ending(".toml") {
        let Some(program) = path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".toml"))
        else {
            continue;
        };
        let sections = read(reference).with_context(|| path.to_owned())?;
        write!(text, "\n## {program}\n")?;
        for section in &sections {
            section.write(&mut text)?;
        }
    }
    Ok(text)
}

/// The keys under one `[name]`.
#[derive(Debug, Default, PartialEq)]
struct Section {
    name: String,
    about: String,
    keys: Vec<Key>,
}

#[derive(Debug, PartialEq)]
struct Key {
    name: String,
    /// As TOML; `None` where there is no default.
    default: Option<String>,
    about: String,
}

impl Section {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        if self.keys.is_empty() {
            return Ok(());
        }
        if !self.name.is_empty() {
            write!(text, "\n### `[{}]`\n", self.name)?;
        }
        if !self.about.is_empty() {
            write!(text, "\n{}\n", self.about)?;
        }
        text.push_str("\n| key | default | |\n|---|---|---|\n");
        for key in &self.keys {
            let default = key.default.as_ref().map(|value| format!("`{}`", cell(value)));
            writeln!(
                text,
                "| `{}` | {} | {} |",
                key.name,
                default.unwrap_or_default(),
                cell(&key.about)
            )?;
        }
        Ok(())
    }
}

/// Reads the lines of a reference config. It is TOML, which is checked; but TOML readers drop comments, and those
/// are what we are after.
fn read(reference: &str) -> anyhow::Result<Vec<Section>> {
    reference.parse::<toml::Table>()?;
    let mut sections = vec![Section::default()];
    let mut about: Vec<&str> = Vec::new();
    let mut lines = reference.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let section = sections.last_mut().context("there is always a section")?;
        if let Some(comment) = line.strip_prefix('#') {
            match key_of(comment.trim()) {
                Some((name, _)) => {
                    section.keys.push(Key { name, default: None, about: take(&mut about) })
                }
                None => about.push(comment.trim()),
            }
        } else if line.is_empty() {
            // A comment that stands alone speaks of the file, not of the next key.
            about.clear();
        } else if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_matches(['[', ']']).to_owned();
            sections.push(Section { name, about: take(&mut about), keys: Vec::new() });
        } else {
            let mut entry = line.to_owned();
            let (name, default) = loop {
                if let Some(key) = key_of(&entry) {
                    break key;
                }
                let Some(next) = lines.next() else { bail!("{entry:?} has no end") };
                entry = format!("{entry} {}", next.trim());
            };
            section.keys.push(Key { name, default: Some(default), about: take(&mut about) });
        }
    }
    Ok(sections)
}

/// The name and the value of a whole `key = value`.
fn key_of(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-\"".contains(c);
    let name = name.trim();
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let table: toml::Table = entry.parse().ok()?;
    let has_comment = toml_value_end(value, &table);
    Some((name.to_owned(), has_comment))
}

/// The value without a comment behind it.
fn toml_value_end(value: &str, table: &toml::Table) -> String {
    let ends = value.match_indices('#').map(|(end, _)| &value[..end]);
    let whole = ends.chain([value]).find(|value| {
        let parsed = format!("x = {value}").parse::<toml::Table>();
        parsed.is_ok_and(|parsed| {
            table.values().next().is_some_and(|all| contains(all, &parsed["x"]))
        })
    });
    whole.unwrap_or(value).trim().to_owned()
}

/// Whether `all` is the value, perhaps under further parts of a dotted key.
fn contains(all: &toml::Value, value: &toml::Value) -> bool {
    all == value
        || all.as_table().is_some_and(|table| table.values().any(|all| contains(all, value)))
}

fn take(about: &mut Vec<&str>) -> String {
    std::mem::take(about).join(" ")
}

/// Text that stays within a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const FOLDER: &str = "deploy/config/";
const HEAD: &str = "# Configuration

Written by `cargo xtask docs` from the reference files in `deploy/config/`, which tests compare with the code.

Each layer goes over the one before: the defaults below, the file named by `--config` (or by `<PREFIX>_CONFIG` in the
environment), the environment (`TIDEGATE_EDGE__LISTEN__HTTP` is the key `listen.http` of `tidegate-edge`), the program's own
flags, `--set key=value`. A key that does not exist is refused. `--check-config` says what is wrong, `--print-config`
shows the result without its secrets.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_with_what_is_said_of_them() {
        let reference = r#"
# About the file.

# What it does;
# in two lines.
roles = ["a", "b"] # both
# Where it lies.
# home = "x"

# Sockets.
[listen]
http = "127.0.0.1:80#1"
list = [
    1,
    2,
]
[[pop]]
"#;
        let key = |name: &str, default: Option<&str>, about: &str| Key {
            name: name.to_owned(),
            default: default.map(str::to_owned),
            about: about.to_owned(),
        };
        let sections = read(reference).unwrap();
        assert_eq!(
            sections[0].keys,
            [
                key("roles", Some("[\"a\", \"b\"]"), "What it does; in two lines."),
                key("home", None, "Where it lies."),
            ]
        );
        assert_eq!((sections[1].name.as_str(), sections[1].about.as_str()), ("listen", "Sockets."));
        assert_eq!(
            sections[1].keys,
            [key("http", Some("\"127.0.0.1:80#1\""), ""), key("list", Some("[ 1, 2, ]"), ""),]
        );
        assert_eq!(sections[2].name, "pop");
    }

    #[test]
    fn the_document_has_a_table_for_each_section() {
        let repository = Repository::of(&[
            ("deploy/config/tidegate-edge.toml", "# Bytes | rows.\nsize = 1\n[empty]\n"),
            ("edge/Cargo.toml", "[package]"),
        ]);
        let text = document(&repository).unwrap();
        assert!(text.starts_with(HEAD));
        assert!(text.contains("## tidegate-edge\n\n| key | default | |\n"), "{text}");
        assert!(text.ends_with("| `size` | `1` | Bytes \\| rows. |\n"), "{text}");
        assert!(read("a = ").is_err());
    }
}
