//! The cache core: what is kept, under which key, for how long, and when it no longer counts.
//!
//! Nothing here knows of Pingora or of sockets; decisions (`freshness`, `reuse`, `variance`, `key`) are pure
//! functions. Invariant: a body is complete or an error, never silently short.

mod config; // sizes and waits
pub mod store; // the face: look up, begin a fill, refresh, forget
mod filling; // the fills in flight by key
pub mod memory_tier; // complete objects under a byte budget
mod eviction; // which of them leaves next
pub mod body; // reading a body, complete, still arriving or on disk
pub mod disk; // what survives a restart
pub mod in_flight; // one writer, many readers
pub mod variants; // the variants of one resource
pub mod object; // a stored response: head and pieces
pub mod metrics; // what the tiers publish
mod table; // hash tables by key
mod seen; // what was met lately
pub mod reuse; // may it answer now, and what must happen first
pub mod freshness; // may it be stored, how long does it count
pub mod directive; // reading Cache-Control
pub mod kept; // what of a response is kept, and what of that a client sees
pub mod fields; // headers with their encodings
pub mod range; // parts of a representation
pub mod media_class; // what a response is to a player
pub mod variance; // which variant a request gets
pub mod key; // the name of a resource
pub mod budget; // bytes under a limit
pub mod lease; // whether every purge is known here
pub mod purge; // which purges were applied
mod private_folder; // files of our own

pub use config::{Config, ConfigError};
