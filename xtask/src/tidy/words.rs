//! Words that must not be committed: promises of later work, and places of one machine.

use crate::{
    repository::{Fault, Repository},
    syntax,
};

/// No note of unfinished work, and no macro that stands for it.
pub(super) fn are_finished(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in repository.texts().filter(|(path, _)| is_code(path)) {
        for (number, line) in text.lines().enumerate() {
            if let Some(note) = NOTES.iter().find(|note| has_word(line, note)) {
                faults.push(Fault::new(path, format!("line {} says {note}", number + 1)));
            }
        }
        if !path.ends_with(".rs") {
            continue;
        }
        let macros = syntax::uses(text).map(|uses| uses.macros).unwrap_or_default();
        for name in macros.iter().filter(|name| STUBS.contains(&name.as_str())) {
            faults.push(Fault::new(path, format!("calls {name}!")));
        }
    }
    faults
}

/// No absolute path of somebody's machine.
pub(super) fn name_no_machine(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in repository.texts().filter(|(path, _)| !is_lock(path)) {
        for (number, line) in text.lines().enumerate() {
            if let Some(place) = PLACES.iter().find(|place| begins_a_path(line, place)) {
                faults.push(Fault::new(path, format!("line {} names {place}", number + 1)));
            }
        }
    }
    faults
}

fn is_code(path: &str) -> bool {
    let end = path.rsplit(['.', '/']).next().unwrap_or_default();
    CODE.contains(&end) && !is_lock(path)
}

/// Written by package managers.
fn is_lock(path: &str) -> bool {
    path.ends_with("Cargo.lock") || path.ends_with("package-lock.json")
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part)
    })
}

/// Whether `place` stands in the line as the beginning of a path, not within a longer one.
fn begins_a_path(line: &str, place: &str) -> bool {
    let within = |c: char| c.is_alphanumeric() || "/.-_~}>".contains(c);
    line.match_indices(place).any(|(start, _)| !line[..start].ends_with(within))
}

const CODE: &[&str] = &[
    "rs", "toml", "proto", "sql", "sh", "js", "mjs", "ts", "css", "html", "py", "yml", "yaml",
    "Makefile",
];
const STUBS: &[&str] = &["todo", "unimplemented"];
// In two parts, so that this file does not say them itself.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

#[cfg(test)]
mod tests {
    use super::*;

    fn good(rule: fn(&Repository) -> Vec<Fault>, path: &str, text: &str) -> bool {
        rule(&Repository::of(&[(path, text)])).is_empty()
    }

    #[test]
    fn notes_of_unfinished_work_are_found_in_code() {
        let note = NOTES[0];
        let table = [
            ("edge/src/a.rs", format!("//! A.\n// {note}: later"), false),
            ("deploy/run.sh", format!("# {note}(me)"), false),
            ("Makefile", format!("# {note}"), false),
            ("edge/src/a.rs", format!("//! A.\nconst {note}_LIST: u8 = 1;"), true),
            ("CONTRIBUTING.md", format!("No {note}."), true),
            ("edge/src/a.rs", "//! A.\nfn f() { todo!() }".to_owned(), false),
            ("edge/src/a.rs", "//! A.\nfn f() { std::unimplemented!() }".to_owned(), false),
            ("edge/src/a.rs", "//! A.\nfn todo() { f() }".to_owned(), true),
        ];
        for (path, text, expected) in table {
            assert_eq!(good(are_finished, path, &text), expected, "{text}");
        }
    }

    #[test]
    fn places_of_one_machine_are_found() {
        let place = PLACES[0];
        let table = [
            (format!("run {place}main/x"), false),
            (format!("\"{place}main\""), false),
            (format!("https://example.org{place}x"), true),
            (format!("crates{place}src"), true),
            ("/workers/1".to_owned(), true),
        ];
        for (text, expected) in table {
            assert_eq!(good(name_no_machine, "README.md", &text), expected, "{text}");
        }
        assert!(good(name_no_machine, "Cargo.lock", place));
    }
}
