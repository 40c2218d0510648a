//! What keeps the repository as it was meant: checks of its structure, and documents generated from its sources.
//!
//! A rule of `CONTRIBUTING.md` that can be checked is checked here, so that nobody has to remember it in a review.
//! Modules stand top-down; a module may use only modules listed below it.

#![forbid(unsafe_code)]

pub mod reference; // docs/config.md, docs/metrics.md, docs/cli.md
pub mod tidy; // the rules, each over the whole repository
mod metric; // the metrics that the sources declare
mod syntax; // what a Rust file uses
pub mod repository; // the files, read once
