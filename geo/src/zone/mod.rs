//! What is told of names: zones from master files (RFC 1035) and from the control plane, and which names are steered.
//!
//! Whoever answers takes the newest [`Zones`] from the [`ZoneTable`] and never waits. Invariant: a zone that is wrong never
//! takes the place of one that serves.

mod watch; // follows the files
mod table; // the newest zones, from all sources
mod folder; // the files of a folder
mod holding; // the zones of one source
mod zones; // all zones, by name
mod find; // what a zone knows of a name
mod error; // why a text is refused
mod metrics; // what is counted of zones
pub mod config; // the section [zones]

pub use error::{Reason, Refused};
pub use find::{Found, find, glue};
pub use holding::Standing;
pub use table::ZoneTable;
pub use tidegate_contract::zone::{Node, RecordSet, Steered, Zone};
pub use watch::watch;
pub use zones::Zones;

#[cfg(test)]
mod tests;
