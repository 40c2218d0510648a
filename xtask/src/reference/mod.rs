//! The documents that are generated: what can be configured, what is counted, what the command lines take.
//!
//! They come from what the programs themselves use: reference configs (which tests compare with the code), the
//! declarations of metrics, and the help texts of the built programs.

mod config;
mod metrics;
mod cli;

use anyhow::Context;

use crate::repository::{Fault, Repository};

/// Writes the documents. Builds the programs, to ask them for their help.
///
/// # Errors
/// When a program does not build, a reference config does not read, or a file cannot be written.
pub fn write(repository: &Repository) -> anyhow::Result<()> {
    for (path, text) in documents(repository)? {
        std::fs::write(repository.root.join(path), text)
            .with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// The documents that are out of date.
///
/// # Errors
/// As for [`write`].
pub fn stale(repository: &Repository) -> anyhow::Result<Vec<Fault>> {
    let documents = documents(repository)?.into_iter();
    let stale = documents.filter(|(path, text)| repository.text(path) != Some(text));
    Ok(stale
        .map(|(path, _)| Fault::new(path, "is out of date; `cargo xtask docs` writes it"))
        .collect())
}

fn documents(repository: &Repository) -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("docs/config.md", config::document(repository)?),
        ("docs/metrics.md", metrics::document(repository)),
        ("docs/cli.md", cli::document(&repository.root)?),
    ])
}
