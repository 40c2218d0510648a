//! Zones of the DNS: master files (RFC 1035 5) in, what they tell of names out, or the line that is wrong and why.
//!
//! The control plane reads every zone before it releases it and every node of the DNS before it serves it, both with
//! [`read`], so what the one lets through the other serves. Pure. Invariant: no text makes anybody read another file, and a
//! [`Zone`] kept every rule of one.

mod reader; // entries become records
mod rules; // records become a zone, if they keep the rules of one
mod tree; // a zone: its names, and what is at them
mod data; // what a record says
mod steered; // the text that steers a name
mod record_set; // records of one name and type
mod entry; // lines that belong together, and their words
mod error; // why a zone is refused

pub use data::{file_line, kind, line};
pub use error::{Reason, ZoneError};
pub use record_set::RecordSet;
pub use steered::{Steered, SteeredError};
pub use tree::{Node, Zone};

/// The most zones of one source: a control plane, a folder.
pub const ZONES_MAX: usize = 1000;
/// The most bytes of a zone's text: some two hundred thousand records.
pub const ZONE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads a zone by its name, which is written without a dot at its end.
///
/// # Errors
/// [`ZoneError`]: the first thing that is wrong.
pub fn read(name: &str, text: &str) -> Result<Zone, ZoneError> {
    reader::read(name, text)
}

#[cfg(test)]
mod tests;
