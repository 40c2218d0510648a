//! Which build this is, for the log line at start and the `build_info` metric.
//!
//! The commit is known only when the build sets `TIDEGATE_COMMIT`; a build never asks git, so that the same source
//! gives the same binary.

/// The version of the workspace.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build named it.
pub(crate) const COMMIT: &str = match option_env!("TIDEGATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
