//! What is told of names: zones from master files (RFC 1035) and from the control plane, and which names are steered.
//!
//! Whoever answers takes the newest [`Zones`] from the [`ZoneTable`] and never waits. Invariant: a zone that is wrong never
//! takes the place of one that serves.

mod watch;
mod table;
mod folder;
mod holding;
mod master_file;
mod entry;
mod build;
mod zones;
mod tree;
mod record_set;
mod steered;
mod error;
mod metrics;
pub mod config;

pub use error::{Reason, ZoneError};
pub use holding::{Standing, ZONES_MAX};
pub use record_set::RecordSet;
pub use steered::{Steered, SteeredError};
pub use table::ZoneTable;
pub use tree::{Found, Node, Zone};
pub use watch::watch;
pub use zones::Zones;

#[cfg(test)]
mod tests;
