//! What a Rust file uses: paths, from `use` trees and from code, and macros. Test code does not count.
//!
//! Files are parsed, not searched, so that grouped imports and paths within expressions are found alike. The
//! arguments of macros are no syntax tree; in them `crate::…` is found as text.

use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, UseTree,
    visit::{self, Visit},
};

/// What a file uses outside of test code.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// Paths of more than one part, with the depth of inline modules they stand in.
    pub(crate) paths: Vec<UsedPath>,
    /// The names of macros that are called.
    pub(crate) macros: Vec<String>,
    /// Modules in files of their own that are compiled for tests alone.
    pub(crate) test_modules: Vec<String>,
    depth: usize,
}

/// A path as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedPath {
    pub(crate) parts: Vec<String>,
    /// How many inline modules stand around it.
    pub(crate) depth: usize,
}

/// What the file uses.
///
/// # Errors
/// When it is no Rust.
pub(crate) fn uses(text: &str) -> syn::Result<Uses> {
    let mut uses = Uses::default();
    uses.visit_file(&syn::parse_file(text)?);
    Ok(uses)
}

impl UsedPath {
    /// The path from the crate's root on, for a file that is the module `depth` levels below the root; `None` if it
    /// does not go through the root.
    pub(crate) fn below_root(&self, depth: usize) -> Option<&[String]> {
        if self.parts[0] == "crate" {
            return Some(&self.parts[1..]);
        }
        let supers = self.parts.iter().take_while(|part| *part == "super").count();
        (supers > 0 && supers == depth + self.depth).then(|| &self.parts[supers..])
    }
}

impl Uses {
    fn add(&mut self, parts: Vec<String>) {
        if parts.len() > 1 {
            self.paths.push(UsedPath { parts, depth: self.depth });
        }
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
            UseTree::Name(name) => self.add(with(name.ident.to_string())),
            UseTree::Rename(rename) => self.add(with(rename.ident.to_string())),
            UseTree::Glob(_) => self.add(with("*".to_owned())),
        }
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_test_only) {
            visit::visit_item(self, item);
        } else if let Item::Mod(ItemMod { ident, content: None, .. }) = item {
            self.test_modules.push(ident.to_string());
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, module);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let parts: Vec<String> =
            call.path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.macros.extend(parts.last().cloned());
        // `crate::name!` calls a macro, which stands at the root wherever it is written.
        if parts.len() > 2 {
            self.add(parts);
        }
        let tokens = call.tokens.to_string();
        for after in tokens.split("crate :: ").skip(1) {
            let name: String =
                after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let rest = &after[name.len()..];
            if !name.is_empty() && !rest.trim_start().starts_with('!') {
                self.add(vec!["crate".to_owned(), name]);
            }
        }
    }
}

/// Whether this compiles only for tests.
fn is_test_only(attribute: &Attribute) -> bool {
    let words = match &attribute.meta {
        syn::Meta::Path(path) => return path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
        _ => return false,
    };
    words == "test" || words.starts_with("all (test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_names(text: &str, depth: usize) -> Vec<String> {
        let uses = uses(text).unwrap();
        uses.paths.iter().filter_map(|path| path.below_root(depth)?.first().cloned()).collect()
    }

    #[test]
    fn paths_through_the_root_are_found_wherever_they_are_written() {
        let table: &[(&str, &[&str])] = &[
            ("use crate::a;", &["a"]),
            ("use crate::{a::X, b::{self, Y as Z}, c::*};", &["a", "b", "b", "c"]),
            ("fn f(x: crate::a::X) -> Vec<crate::b::Y> { crate::c::g(); x }", &["a", "b", "c"]),
            ("fn f() { println!(\"{}\", crate::a::NAME); }", &["a"]),
            ("use super::a;", &["a"]),
            ("mod inner { use super::super::a; use super::own; }", &["a"]),
            ("use other::a; use self::b; fn f() { local(); }", &[]),
            ("#[cfg(test)] mod tests { use crate::a; }", &[]),
            ("#[cfg(test)] use crate::a;", &[]),
            ("#[cfg(feature = \"x\")] use crate::a;", &["a"]),
            ("pub(crate) fn f() { crate::say!(1); }", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(root_names(text, 1), *expected, "{text}");
        }
        assert_eq!(root_names("use super::a; use super::super::b;", 2), ["b"]);
    }

    #[test]
    fn test_modules_in_other_files_and_macros_are_named() {
        let uses = uses("#[cfg(test)] mod fake;\nmod real;\nfn f() { std::todo!() }").unwrap();
        assert_eq!(uses.test_modules, ["fake"]);
        assert_eq!(uses.macros, ["todo"]);
    }
}
