//! The disk tier: what survives a restart and what memory has no room for.
//!
//! The layout is a log: files of one size that are written from front to back, closed by a table of their records, and
//! given up oldest first, as a whole. So writes are sequential, nothing is ever overwritten, the index comes back
//! from the tables alone, and a `kill -9` costs at most the record that was being written. Invariant: whatever is
//! wrong with the disk, a client gets what upstream has; a byte from disk is never served unchecked.

mod awaited; // a tier that another process still uses
mod tier; // the log: its parts put together
mod disk_tier; // what a disk tier does, whatever its layout
mod body; // reading a body piece by piece
mod shared; // what readers and the face have in common
mod writer; // the thread that writes, and gives old files up
mod queue; // what waits to be written
mod pool; // the threads that wait for reads
mod reader; // reading records, and checking them
mod index; // what stands where
mod segment; // one file
mod device; // where the disk is waited for
pub mod head_block; // heads as bytes
pub mod record; // the header of a record
mod config; // where and how much

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::cache) use self::device::hold::Held;

pub use self::{
    awaited::AwaitedTier,
    body::{DiskBody, Unreadable},
    config::{Admission, Config},
    disk_tier::{Content, DiskTier, Loaded, OnDisk, OpenError, Opened, Sizes, What},
    index::Place,
    tier::LogTier,
};
