//! Every source file opens with what it is for, so that a reader of any file knows where he is.

use crate::repository::{Fault, Repository};

/// Every `.rs` file begins with `//!` and words behind it.
pub(super) fn open_with_their_purpose(repository: &Repository) -> Vec<Fault> {
    repository
        .ending(".rs")
        .filter(|(_, text)| !opens_with_purpose(text))
        .map(|(path, _)| Fault::new(path, "does not open with a `//!` paragraph"))
        .collect()
}

fn opens_with_purpose(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("//!").is_some_and(|words| words.trim().len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_open_with_a_paragraph() {
        let table = [
            ("//! The cache.\n\nuse a::b;", true),
            ("\n//! The cache.", false),
            ("//!\n//! The cache.", false),
            ("// The cache.", false),
            ("", false),
        ];
        for (text, good) in table {
            let repository = Repository::of(&[("edge/src/cache.rs", text), ("README.md", "")]);
            assert_eq!(open_with_their_purpose(&repository).is_empty(), good, "{text:?}");
        }
    }
}
