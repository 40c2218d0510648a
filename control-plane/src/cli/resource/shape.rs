//! What a spec looks like, read from the very types that validation reads specs as: their fields, the words they take,
//! and what their authors wrote above them.
//!
//! The contract's sources are part of this program for that, so nobody keeps a second list. A test holds what is read here
//! against what serde says it expects, field by field. Invariant: no text outside of these sources describes a field.

use std::collections::BTreeMap;

/// A type of the contract, as far as people write it.
#[derive(Debug)]
pub(super) enum Shape {
    /// A table of fields.
    Table(Vec<Field>),
    /// One of some words.
    Words(Vec<Word>),
    /// A table, or the name of a resource that holds one.
    NameOr(String),
}

/// One field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// As it stands in the source.
    pub(super) kind: String,
    pub(super) doc: String,
    /// Whether a spec without it is refused.
    pub(super) is_needed: bool,
}

/// One word that a field takes.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) name: String,
    /// What stands behind it, as in `{ keep = ["a"] }`.
    pub(super) holds: Option<String>,
    pub(super) doc: String,
}

/// All types of the contract that specs are made of, by their names.
pub(super) fn shapes() -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::new();
    for source in SOURCES {
        read(source, &mut shapes);
    }
    shapes
}

/// The type behind `Option`, `Vec` and `Box`, and whether it is a list of them.
pub(super) fn core(kind: &str) -> (&str, bool) {
    for (outer, is_list) in [("Option<", false), ("Box<", false), ("Vec<", true)] {
        if let Some(inner) = kind.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>')) {
            let (found, is_inner_list) = core(inner);
            return (found, is_list || is_inner_list);
        }
    }
    (kind, false)
}

/// What was said above a line: the documentation, and the attributes for serde.
#[derive(Default)]
struct Above {
    doc: Vec<String>,
    serde: String,
    is_in_attribute: bool,
}

impl Above {
    /// Takes a line that belongs to what follows; false when it is that itself.
    fn take(&mut self, line: &str) -> bool {
        if let Some(text) = line.strip_prefix("///") {
            self.doc.push(text.trim().to_owned());
        } else if self.is_in_attribute || line.starts_with("#[") {
            self.is_in_attribute = !line.ends_with(']');
            if self.is_in_attribute || line.starts_with("#[serde") || self.serde.ends_with(',') {
                self.serde.push_str(line);
            }
        } else {
            return false;
        }
        true
    }

    fn doc(&self) -> String {
        plain(&self.doc.join(" "))
    }

    fn has_default(&self) -> bool {
        let mut words = self.serde.split(['(', ')', ',', ' ', '=']);
        words.any(|word| word == "default")
    }
}

/// Reads the tables and enums of one source. It knows the form that `rustfmt` gives them, no other.
fn read(source: &str, shapes: &mut BTreeMap<String, Shape>) {
    let mut lines = source.lines();
    let mut above = Above::default();
    while let Some(line) = lines.next() {
        if above.take(line) {
            continue;
        }
        let begins = |what: &str| line.strip_prefix(what)?.strip_suffix(" {");
        let inside = lines.clone().take_while(|line| *line != "}");
        if let Some(name) = begins("pub struct ").filter(|_| !is_text(&above)) {
            shapes.insert(name.to_owned(), Shape::Table(fields(inside, above.has_default())));
        } else if let Some(name) = begins("pub enum ").filter(|_| !is_text(&above)) {
            let words = words(inside, above.serde.contains("snake_case"));
            let table = words.iter().find(|word| word.name == "Inline");
            let shape = match table.and_then(|word| word.holds.clone()) {
                Some(table) if above.serde.contains("untagged") => Shape::NameOr(table),
                _ => Shape::Words(words),
            };
            shapes.insert(name.to_owned(), shape);
        }
        above = Above::default();
    }
}

/// Whether a type travels as text, whatever it is inside.
fn is_text(above: &Above) -> bool {
    above.serde.contains("into = \"String\"")
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>, are_optional: bool) -> Vec<Field> {
    let mut found = Vec::new();
    let mut above = Above::default();
    for line in lines.map(str::trim) {
        if above.take(line) {
            continue;
        }
        let field = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": "));
        if let Some((name, kind)) = field {
            let kind = kind.trim_end_matches(',').to_owned();
            // What has a form of its own is not known to be absent.
            let may_be_absent = kind.starts_with("Option<") && !above.serde.contains("with =");
            let is_needed = !are_optional && !above.has_default() && !may_be_absent;
            found.push(Field { name: name.to_owned(), kind, doc: above.doc(), is_needed });
        }
        above = Above::default();
    }
    found
}

fn words<'a>(lines: impl Iterator<Item = &'a str>, are_lower: bool) -> Vec<Word> {
    let mut found = Vec::new();
    let mut above = Above::default();
    for line in lines.map(str::trim) {
        if above.take(line) {
            continue;
        }
        let text = line.trim_end_matches(',');
        let (name, holds) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => {
                let kind = rest.trim_end_matches(')');
                // An attribute may stand before the type.
                (name, Some(kind.rsplit("] ").next().unwrap_or(kind).to_owned()))
            }
        };
        if name.starts_with(|first: char| first.is_ascii_uppercase()) {
            let name = if are_lower { snake(name) } else { name.to_owned() };
            found.push(Word { name, holds, doc: above.doc() });
        }
        above = Above::default();
    }
    found
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// Documentation as people read it: without links, quotes of code and the names of types before those of fields.
fn plain(doc: &str) -> String {
    let bare = doc.replace("[`", "").replace("`]", "").replace('`', "");
    let own = |word: &str| match word.rsplit_once("::") {
        Some((path, name)) if path.starts_with(|first: char| first.is_ascii_uppercase()) => {
            name.to_owned()
        }
        _ => word.to_owned(),
    };
    bare.split(' ').map(own).collect::<Vec<_>>().join(" ")
}

const SOURCES: [&str; 8] = [
    include_str!("../../../../contract/src/resource_spec.rs"),
    include_str!("../../../../contract/src/property.rs"),
    include_str!("../../../../contract/src/cache_policy.rs"),
    include_str!("../../../../contract/src/guard_policy.rs"),
    include_str!("../../../../contract/src/token_policy.rs"),
    include_str!("../../../../contract/src/upstream.rs"),
    include_str!("../../../../contract/src/anycast.rs"),
    include_str!("../../../../contract/src/snapshot.rs"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_a_field_is_read_with_it() {
        let source = "/// One.\n#[serde(deny_unknown_fields)]\npub struct One {\n    /// How long.\n    \
                      /// In `ms`, as in [`Two`].\n    #[serde(\n        default,\n        with = \"x\"\n    )]\n    \
                      pub a: Option<Duration>,\n    pub b: Vec<Two>,\n    pub c: Option<u8>,\n}\n\
                      #[serde(rename_all = \"snake_case\")]\npub enum Two {\n    /// Never.\n    NotNow,\n    \
                      Some(#[serde(with = \"y\")] Duration),\n}\n";
        let mut shapes = BTreeMap::new();
        read(source, &mut shapes);
        let Some(Shape::Table(fields)) = shapes.get("One") else { panic!("{shapes:?}") };
        let needed: Vec<_> = fields.iter().map(|field| (&*field.name, field.is_needed)).collect();
        assert_eq!(needed, [("a", false), ("b", true), ("c", false)]);
        assert_eq!(fields[0].doc, "How long. In ms, as in Two.");
        assert_eq!(
            (core(&fields[0].kind), core(&fields[1].kind)),
            (("Duration", false), ("Two", true))
        );
        let Some(Shape::Words(words)) = shapes.get("Two") else { panic!("{shapes:?}") };
        assert_eq!((&*words[0].name, &*words[0].doc), ("not_now", "Never."));
        assert_eq!(words[1].holds.as_deref(), Some("Duration"));
    }
}
