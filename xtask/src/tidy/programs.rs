//! The borders: programs meet in `contract/` and over the network, and `contract/` touches neither network nor disk.

use toml::{Table, Value};

use crate::{
    repository::{Fault, Repository},
    syntax,
};

/// No crate depends on one of ours except on the two beneath the programs, and those on none. A lab, which is no part
/// of what runs, joins what it watches.
pub(super) fn do_not_import_one_another(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in repository.ending("Cargo.toml") {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                faults.push(Fault::new(path, format!("is no TOML: {error}")));
                continue;
            }
        };
        let name = name_of(&table).unwrap_or_default();
        for dependency in dependencies(&table) {
            let beneath = BENEATH.contains(&dependency.as_str()) && !BENEATH.contains(&name);
            // A fuzz crate is a part of what it fuzzes that cargo-fuzz wants to stand alone.
            let fuzzes = name.strip_suffix("-fuzz") == Some(&dependency);
            let joins = LABS
                .iter()
                .any(|(lab, joined)| *lab == name && joined.contains(&dependency.as_str()));
            if dependency.starts_with(OURS) && !beneath && !fuzzes && !joins {
                faults.push(Fault::new(path, format!("{name} depends on {dependency}")));
            }
        }
    }
    faults
}

/// `contract/` uses no runtime, network, disk, process, thread or log.
pub(super) fn contract_has_no_io(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in repository.texts().filter(|(path, _)| path.starts_with("contract/")) {
        if path == "contract/Cargo.toml" {
            let table: Table = text.parse().unwrap_or_default();
            let bad =
                dependencies(&table).into_iter().filter(|name| IO_CRATES.contains(&name.as_str()));
            faults.extend(bad.map(|name| Fault::new(path, format!("contract depends on {name}"))));
        }
        if !path.starts_with("contract/src/") || !path.ends_with(".rs") {
            continue;
        }
        let Ok(uses) = syntax::uses(text) else { continue };
        for used in uses.paths {
            let written = used.parts.join("::");
            let is_io = |io: &&str| written == **io || written.starts_with(&format!("{io}::"));
            if IO_PATHS.iter().any(is_io) || IO_CRATES.contains(&used.parts[0].as_str()) {
                faults.push(Fault::new(path, format!("contract uses {written}")));
            }
        }
    }
    faults
}

fn name_of(table: &Table) -> Option<&str> {
    table.get("package")?.get("name")?.as_str()
}

/// The names of all dependencies, under whatever name they are used.
fn dependencies(table: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (name, wanted) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
            let package = wanted.get("package").and_then(Value::as_str);
            names.push(package.unwrap_or(name).to_owned());
        }
    }
    let targets = table.get("target").and_then(Value::as_table).into_iter().flatten();
    names.extend(targets.filter_map(|(_, target)| target.as_table()).flat_map(dependencies));
    names
}

const OURS: &str = "tidegate-";
const BENEATH: &[&str] = &["tidegate-contract", "tidegate-chassis"];
/// What watches several programs in one process, and which: simulations and benchmarks.
const LABS: &[(&str, &[&str])] = &[("tidegate-purge-lab", &["tidegate-edge", "tidegate-control"])];
const IO_CRATES: &[&str] =
    &["tokio", "hyper", "reqwest", "axum", "tonic", "object_store", "tracing", "log", "socket2"];
const IO_PATHS: &[&str] =
    &["std::fs", "std::net", "std::process", "std::thread", "std::env", "std::io"];

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    #[test]
    fn a_program_depends_on_the_crates_beneath_alone() {
        let table = [
            (
                "tidegate-edge",
                "[dependencies]\ntidegate-chassis.workspace = true\nserde = \"1\"",
                "",
            ),
            ("tidegate-edge-fuzz", "[dependencies.tidegate-edge]\npath = \"..\"", ""),
            (
                "tidegate-edge",
                "[dev-dependencies]\ntidegate-origin.workspace = true",
                "a/Cargo.toml: tidegate-edge depends on tidegate-origin",
            ),
            (
                "tidegate-edge",
                "[dependencies]\nx = { package = \"tidegate-origin\", path = \"../origin\" }",
                "a/Cargo.toml: tidegate-edge depends on tidegate-origin",
            ),
            (
                "tidegate-edge",
                "[target.'cfg(unix)'.dependencies]\ntidegate-origin.workspace = true",
                "a/Cargo.toml: tidegate-edge depends on tidegate-origin",
            ),
            ("tidegate-purge-lab", "[dependencies]\ntidegate-control = { path = \"../c\" }", ""),
            (
                "tidegate-purge-lab",
                "[dependencies]\ntidegate-origin = { path = \"../o\" }",
                "a/Cargo.toml: tidegate-purge-lab depends on tidegate-origin",
            ),
            (
                "tidegate-chassis",
                "[dependencies]\ntidegate-contract.workspace = true",
                "a/Cargo.toml: tidegate-chassis depends on tidegate-contract",
            ),
        ];
        for (name, rest, expected) in table {
            let repository = Repository::of(&[("a/Cargo.toml", &package(name, rest))]);
            let faults = do_not_import_one_another(&repository);
            let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert_eq!(said.join("\n"), expected);
        }
    }

    #[test]
    fn the_contract_touches_nothing() {
        let table = [
            ("contract/src/id.rs", "use std::{fmt, time::Duration};", true),
            ("contract/src/id.rs", "use std::{fmt, net::{self, TcpStream}};", false),
            ("contract/src/id.rs", "fn f() { std::fs::read(\"x\"); }", false),
            ("contract/src/id.rs", "#[cfg(test)] mod tests { use std::fs; }", true),
            ("contract/Cargo.toml", "[dependencies]\ntokio.workspace = true", false),
            ("edge/src/id.rs", "use std::fs;", true),
        ];
        for (path, text, good) in table {
            let faults = contract_has_no_io(&Repository::of(&[(path, text)]));
            assert_eq!(faults.is_empty(), good, "{path}: {text}");
        }
    }
}
