//! The rules of the repository's structure. Each looks at the whole repository and lists what breaks it.
//!
//! They run as `cargo xtask tidy` and as a test. A rule stands in `CONTRIBUTING.md`, its check stands here.

mod module_order;
mod programs;
mod files;
mod words;
mod links;
mod metric_names;

use crate::repository::{Fault, Repository};

/// Everything that breaks a rule, sorted by file.
#[must_use]
pub fn check(repository: &Repository) -> Vec<Fault> {
    let mut faults: Vec<Fault> = RULES.iter().flat_map(|rule| rule(repository)).collect();
    faults.sort();
    faults.dedup();
    faults
}

const RULES: &[fn(&Repository) -> Vec<Fault>] = &[
    files::open_with_their_purpose,
    module_order::is_top_down,
    programs::do_not_import_one_another,
    programs::contract_has_no_io,
    words::are_finished,
    words::name_no_machine,
    links::resolve,
    links::walkthroughs_name_files,
    metric_names::are_regular,
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let repository = Repository::read(root).unwrap();
        assert!(repository.ending(".rs").count() > 20, "the repository was not found");
        let faults: Vec<String> = check(&repository).iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}
