//! Modules stand in `lib.rs` in the order a request meets them, and import only what stands below.
//!
//! That keeps a crate free of circles, and its `lib.rs` a true map. Tests may look wherever they want.

use std::collections::BTreeMap;

use syn::{Item, UseTree, Visibility};

use crate::{
    repository::{Fault, Repository},
    syntax,
};

/// Every file under `src/` uses only top-level modules listed below its own.
pub(super) fn is_top_down(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in repository.ending("src/lib.rs") {
        let folder = path.strip_suffix("lib.rs").unwrap_or_default();
        match Map::read(text) {
            Ok(map) => check_crate(repository, folder, &map, &mut faults),
            Err(error) => faults.push(Fault::new(path, format!("is no Rust: {error}"))),
        }
    }
    faults
}

/// What a `lib.rs` says.
#[derive(Debug, Default)]
struct Map {
    /// Top-level modules, the first on top.
    modules: Vec<String>,
    /// Names that `lib.rs` takes out of a module, and the module.
    exports: BTreeMap<String, String>,
}

impl Map {
    fn read(text: &str) -> syn::Result<Self> {
        let mut map = Self::default();
        for item in syn::parse_file(text)?.items {
            match item {
                Item::Mod(module) => map.modules.push(module.ident.to_string()),
                Item::Use(item) if !matches!(item.vis, Visibility::Inherited) => {
                    map.export(None, &item.tree);
                }
                _ => {}
            }
        }
        Ok(map)
    }

    fn export(&mut self, module: Option<&str>, tree: &UseTree) {
        match (tree, module) {
            (UseTree::Path(path), None) => {
                let name = path.ident.to_string();
                let through = name == "self" || name == "crate";
                self.export((!through).then_some(&name), &path.tree);
            }
            (UseTree::Path(path), module) => self.export(module, &path.tree),
            (UseTree::Group(group), module) => {
                for tree in &group.items {
                    self.export(module, tree);
                }
            }
            (UseTree::Name(name), Some(module)) => {
                self.exports.insert(name.ident.to_string(), module.to_owned());
            }
            (UseTree::Rename(name), Some(module)) => {
                self.exports.insert(name.rename.to_string(), module.to_owned());
            }
            _ => {}
        }
    }

    fn place(&self, module: &str) -> Option<usize> {
        self.modules.iter().position(|known| known == module)
    }

    /// Where the module stands that `name` is, or comes from.
    fn place_of_name(&self, name: &str) -> Option<usize> {
        self.place(name).or_else(|| self.place(self.exports.get(name)?))
    }
}

fn check_crate(repository: &Repository, folder: &str, map: &Map, faults: &mut Vec<Fault>) {
    let mut files = Vec::new();
    let mut test_only = Vec::new();
    for (path, text) in repository.ending(".rs") {
        let Some(inner) = path.strip_prefix(folder) else { continue };
        match syntax::uses(text) {
            Ok(uses) => {
                let here = path.strip_suffix("mod.rs").or_else(|| path.strip_suffix("lib.rs"));
                let here = here.map_or_else(|| path.replace(".rs", "/"), str::to_owned);
                test_only.extend(uses.test_modules.iter().map(|module| format!("{here}{module}")));
                files.push((path, inner, uses));
            }
            Err(error) => faults.push(Fault::new(path, format!("is no Rust: {error}"))),
        }
    }
    files.retain(|(path, ..)| {
        let is_in = |module: &String| path.strip_prefix(module.as_str());
        !test_only.iter().filter_map(is_in).any(|rest| rest == ".rs" || rest.starts_with('/'))
    });
    for (path, inner, uses) in files {
        let parts: Vec<&str> = inner.split('/').collect();
        if inner == "lib.rs" || inner == "main.rs" || parts[0] == "bin" {
            continue;
        }
        let own = parts[0].trim_end_matches(".rs");
        let Some(place) = map.place(own) else {
            faults.push(Fault::new(path, format!("module {own} is not listed in lib.rs")));
            continue;
        };
        let depth = if inner.ends_with("/mod.rs") { parts.len() - 1 } else { parts.len() };
        for used in uses.paths.iter().filter_map(|used| used.below_root(depth)?.first()) {
            match map.place_of_name(used) {
                Some(below) if below >= place => {}
                Some(_) => faults.push(Fault::new(
                    path,
                    format!("{own} uses crate::{used}, which lib.rs lists above it"),
                )),
                None => faults.push(Fault::new(
                    path,
                    format!("{own} uses crate::{used}, which is no module of lib.rs"),
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Map.\nmod run;\nmod cache;\nmod error;\n#[cfg(test)]\nmod fake;\n\
                       pub use cache::Cache;\npub use error::{Blame, Why as Reason};";

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![("edge/src/lib.rs", LIB)];
        all.extend(files);
        let repository = Repository::of(&all);
        is_top_down(&repository).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn looking_down_is_fine_looking_up_is_not() {
        let table = [
            ("edge/src/run.rs", "use crate::{cache::Key, error};", ""),
            ("edge/src/cache/mod.rs", "use crate::cache::key;", ""),
            ("edge/src/cache/key.rs", "use super::Tier; use crate::Blame;", ""),
            ("edge/src/error.rs", "use crate::{error, cache::Key};", "error uses crate::cache"),
            ("edge/src/error.rs", "fn f() { crate::Cache::new() }", "error uses crate::Cache"),
            ("edge/src/cache/key.rs", "use super::super::run;", "cache uses crate::run"),
            ("edge/src/cache/mod.rs", "use super::run;", "cache uses crate::run"),
            ("edge/src/cache.rs", "use crate::elsewhere;", "which is no module of lib.rs"),
            ("edge/src/stray.rs", "", "module stray is not listed"),
            ("edge/src/cache.rs", "fn (", "is no Rust"),
        ];
        for (path, text, expected) in table {
            let faults = faults(&[(path, text)]).join("\n");
            assert!(
                faults.contains(expected) && faults.is_empty() == expected.is_empty(),
                "{faults}"
            );
        }
    }

    #[test]
    fn tests_binaries_and_other_crates_look_where_they_want() {
        let files = [
            ("edge/src/error.rs", "#[cfg(test)] mod tests { use crate::cache::Key; }"),
            ("edge/src/cache/mod.rs", "#[cfg(test)] mod harness;"),
            ("edge/src/cache/harness.rs", "use crate::run;"),
            ("edge/src/fake/mod.rs", "use crate::run;"),
            ("edge/src/main.rs", "use crate::anything;"),
            ("edge/src/bin/tool.rs", "use crate::anything;"),
            ("edge/tests/it/main.rs", "use crate::anything;"),
        ];
        assert_eq!(faults(&files), Vec::<String>::new());
    }
}
