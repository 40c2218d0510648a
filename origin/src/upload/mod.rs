//! Resumable uploads: tus 1.0 with creation, creation-with-upload, termination, checksum and expiration.
//!
//! Bytes go to a spool file, are synced, and then count: the offset in the database is the truth, and what lies
//! behind it in the file is cut off. **Invariant.** What was acknowledged is on disk; nobody but the one writer
//! that holds an upload's lock touches its file.

mod api;
mod append;
mod config;
mod disk;
mod finish;
mod jobs;
mod model;
mod parts;
mod refusal;
mod spool;
mod store;
mod tus;
mod writers;

pub use api::routes;
pub use config::Config;
pub use jobs::{remove_orphans, sweep_uploads};
pub use parts::Parts;
