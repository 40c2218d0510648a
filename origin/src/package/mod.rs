//! Jobs of packagers: leased, renewed, published, ended.
//!
//! One job per media, in the database. A lease has a number, the epoch; everything a packager says carries it.
//! **Invariant.** What a packager with an old epoch says changes nothing, and no manifest becomes visible before
//! the objects that it names and in one step with all others of its publication.

mod api;
mod config;
mod jobs;
mod lease;
pub mod model;
mod publish;
pub mod store;

pub use api::routes;
pub use config::Config;
pub use jobs::end_hopeless_jobs;
