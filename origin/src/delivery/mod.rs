//! Manifests and immutable objects, as the edge fetches them.
//!
//! **Invariant.** A path names one resource for ever or is marked as changing: objects are immutable, manifests
//! carry a short TTL and the surrogate keys by which they are purged.

mod api;
mod steering; // players are told where to fetch from
mod config;
mod model;

pub use api::routes;
pub use config::{Config, Steering};
